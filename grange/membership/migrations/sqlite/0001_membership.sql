-- One row per cluster with at least one join. The incarnation is random and never changes: another one is another table.
CREATE TABLE grange_membership_version (
    cluster text PRIMARY KEY,
    incarnation text NOT NULL,
    version integer NOT NULL
) WITHOUT ROWID;

-- One row per silo. The etag is the table version that wrote the row. The column `member` is the whole row as JSON; status
-- and times stand beside it for the statements that need them. Times are ISO 8601 in UTC with six decimals, so they sort.
CREATE TABLE grange_membership_silo (
    cluster text NOT NULL,
    address text NOT NULL,
    etag integer NOT NULL,
    status text NOT NULL,
    member text NOT NULL,
    started text NOT NULL,
    alive text NOT NULL,
    PRIMARY KEY (cluster, address)
) WITHOUT ROWID;
