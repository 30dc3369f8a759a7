-- The payload keeps its text. jsonb sorts the members of objects, drops repeated ones, and rewrites numbers: 1e16 becomes
-- an integer, -0.0 becomes 0.0. So a state would not read back equal (ADR 0057).
--
-- This rewrites the table under an exclusive lock. For a table of gigabytes, run the ALTER TABLE yourself in a quiet
-- hour, before the upgrade: silos of the earlier version read and write such a column too. It is then left out here.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'grange_state'::regclass AND attname = 'payload' AND atttypid = 'jsonb'::regtype
    ) THEN
        ALTER TABLE grange_state ALTER COLUMN payload TYPE json USING payload::text::json;
    END IF;
EXCEPTION
    -- An index, a view or a check of the operators uses jsonb.
    WHEN undefined_object OR undefined_function OR feature_not_supported THEN
        RAISE EXCEPTION 'column payload of grange_state cannot become json: %', SQLERRM
        USING HINT = 'Drop your own indexes and views on this column, start a silo, and make them again on (payload::jsonb).';
END
$$;

-- The function of 0002_fences.sql, except for the type of the payload. Silos of the earlier version call it too, with the
-- same parameters.
CREATE OR REPLACE FUNCTION grange_store(
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
        SET payload = change.payload::json, etag = held.etag + 1, schema = coalesce(change.schema, held.schema),
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
            SELECT of_service, change.grain_type, change.grain_key, change.state, change.payload::json, 1,
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
