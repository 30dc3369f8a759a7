-- One row of the audit of a silo. `silo` is its host:port@generation, `number` that of the row in this silo: a row that
-- is sent again, because a reply was lost, is found there. `begun` is the number of the row before the act or call that
-- this row ends, 0 for none. The time is in seconds since 1970.
CREATE TABLE grange_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    cluster TEXT NOT NULL,
    silo TEXT NOT NULL,
    number INTEGER NOT NULL,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    via TEXT NOT NULL,
    level TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL,
    text TEXT NOT NULL,
    trace TEXT NOT NULL,
    begun INTEGER NOT NULL,
    UNIQUE (cluster, silo, number)
) STRICT;

-- SQLite has no roles, so the table itself refuses what changes or removes a row.
CREATE TRIGGER grange_audit_keeps_values BEFORE UPDATE ON grange_audit
BEGIN
    SELECT RAISE(ABORT, 'grange_audit is append-only: no row of it is changed');
END;
CREATE TRIGGER grange_audit_keeps_rows BEFORE DELETE ON grange_audit
BEGIN
    SELECT RAISE(ABORT, 'grange_audit is append-only: no row of it is removed');
END;
