-- One row per cluster with at least one join. The incarnation is random and never changes: another one is another table.
CREATE TABLE grange_membership_version (
    cluster text PRIMARY KEY,
    incarnation text NOT NULL,
    version bigint NOT NULL
);

-- One row per silo. The etag is the table version that wrote the row. The column `member` is the whole row; status
-- and times stand beside it for the statements that need them.
CREATE TABLE grange_membership_silo (
    cluster text NOT NULL,
    address text NOT NULL,
    etag bigint NOT NULL,
    status text NOT NULL,
    member jsonb NOT NULL,
    started timestamptz NOT NULL,
    alive timestamptz NOT NULL,
    PRIMARY KEY (cluster, address)
);
