-- One row of the audit of a silo. `silo` is its host:port@generation, `number` that of the row in this silo: a row that
-- is sent again, because a reply was lost, is found there. `begun` is the number of the row before the act or call that
-- this row ends, 0 for none. The time is in seconds since 1970, as the silo's clock had it; `added` is the database's.
CREATE TABLE grange_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    added timestamptz NOT NULL DEFAULT now(),
    cluster text NOT NULL,
    silo text NOT NULL,
    number bigint NOT NULL,
    time double precision NOT NULL,
    kind text NOT NULL,
    actor text NOT NULL,
    via text NOT NULL,
    level text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    reason text NOT NULL,
    outcome text NOT NULL,
    text text NOT NULL,
    trace text NOT NULL,
    begun bigint NOT NULL,
    UNIQUE (cluster, silo, number)
);

-- A role that only writes the audit needs SELECT on grange_schema and INSERT on this table. This trigger refuses also
-- the owner, who removes old rows in a transaction that disables it.
CREATE FUNCTION grange_audit_is_append_only() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'grange_audit is append-only: no row of it is changed or removed'
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER grange_audit_keeps_rows BEFORE UPDATE OR DELETE OR TRUNCATE ON grange_audit
FOR EACH STATEMENT EXECUTE FUNCTION grange_audit_is_append_only();
