-- The last change of the row: its silo as host:port@generation, and its number in that silo. Null in rows that were
-- written before this version, or by tools.
ALTER TABLE grange_state ADD COLUMN writer text, ADD COLUMN write_number bigint;

-- Silos that were declared dead: a write by this generation of the endpoint, or by an earlier one, is not stored.
CREATE TABLE grange_dead_silos (
    service text NOT NULL,
    endpoint text NOT NULL,
    generation bigint NOT NULL,
    recorded timestamptz NOT NULL,
    PRIMARY KEY (service, endpoint)
);

-- The lock of one endpoint: changes by its silos hold it shared, a fence holds it exclusively.
CREATE FUNCTION grange_writer_lock(of_service text, of_endpoint text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT hashtextextended(of_service || ' ' || of_endpoint, 7453301760996566117) $$;

-- Store each change that names the stored etag, unless the writer is dead. This is a function because each statement in
-- it sees all commits before that statement, not only those before the function. So once the shared lock is held, a
-- fence either has been committed and is seen, or waits until this change is committed. A single statement would use a
-- snapshot from before its lock.
CREATE FUNCTION grange_store(
    of_service text, by_endpoint text, by_generation bigint, numbers bigint[],
    types text[], keys text[], states text[], payloads text[], schemas integer[], etags bigint[]
) RETURNS TABLE (stored_type text, stored_key text, stored_state text, stored_etag bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    writer_name CONSTANT text := by_endpoint || '@' || by_generation;
BEGIN
    IF by_endpoint IS NOT NULL AND pg_advisory_xact_lock_shared(grange_writer_lock(of_service, by_endpoint)) IS NULL THEN
        RETURN; -- never reached: the function waits until it has the lock
    END IF;
    RETURN QUERY
        UPDATE grange_state AS held
        SET payload = change.payload::jsonb, etag = held.etag + 1, schema = coalesce(change.schema, held.schema),
            writer = writer_name, write_number = change.number
        FROM unnest(types, keys, states, payloads, schemas, etags, numbers)
          AS change (grain_type, grain_key, state, payload, schema, etag, number)
        WHERE held.service = of_service AND held.grain_type = change.grain_type AND held.grain_key = change.grain_key
          AND held.state = change.state AND held.etag = change.etag
          AND NOT EXISTS (
              SELECT FROM grange_dead_silos AS dead
              WHERE dead.service = of_service AND dead.endpoint = by_endpoint AND dead.generation >= by_generation
          )
        RETURNING held.grain_type, held.grain_key, held.state, held.etag;
    IF 0 = ANY (etags) THEN
        RETURN QUERY
            INSERT INTO grange_state AS held
                (service, grain_type, grain_key, state, payload, etag, schema, writer, write_number)
            SELECT of_service, change.grain_type, change.grain_key, change.state, change.payload::jsonb, 1,
                   change.schema, writer_name, change.number
            FROM unnest(types, keys, states, payloads, schemas, etags, numbers)
              AS change (grain_type, grain_key, state, payload, schema, etag, number)
            WHERE change.etag = 0
              AND NOT EXISTS (
                  SELECT FROM grange_dead_silos AS dead
                  WHERE dead.service = of_service AND dead.endpoint = by_endpoint AND dead.generation >= by_generation
              )
            ON CONFLICT DO NOTHING
            RETURNING held.grain_type, held.grain_key, held.state, held.etag;
    END IF;
END
$$;

-- Record one death. When this is committed, every change by that writer was committed before, or is never stored.
CREATE FUNCTION grange_fence(of_service text, of_endpoint text, of_generation bigint) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(grange_writer_lock(of_service, of_endpoint));
    INSERT INTO grange_dead_silos AS held (service, endpoint, generation, recorded)
    VALUES (of_service, of_endpoint, of_generation, now())
    ON CONFLICT (service, endpoint) DO UPDATE
        SET generation = greatest(held.generation, excluded.generation), recorded = excluded.recorded;
END
$$;
