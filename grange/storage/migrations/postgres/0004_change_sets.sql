-- The newest claim of the record: only writes that name it are stored. `indexed`: the record has rows in grange_index, or
-- had some, so a write has to look for them.
ALTER TABLE grange_state ADD COLUMN claim bigint, ADD COLUMN indexed boolean;

-- Lists come in order of code points, so the key has this order. It is also the fastest, and no new version of the
-- system's C library changes it. This makes the index of the key anew under an exclusive lock; for a table of gigabytes,
-- run the ALTER TABLE yourself in a quiet hour, before the upgrade. It is then left out here.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'grange_state'::regclass AND attname IN ('service', 'grain_type', 'grain_key', 'state')
          AND attcollation <> (SELECT oid FROM pg_collation WHERE collname = 'C' AND collnamespace = 'pg_catalog'::regnamespace)
    ) THEN
        ALTER TABLE grange_state
            ALTER COLUMN service TYPE text COLLATE "C", ALTER COLUMN grain_type TYPE text COLLATE "C",
            ALTER COLUMN grain_key TYPE text COLLATE "C", ALTER COLUMN state TYPE text COLLATE "C";
    END IF;
EXCEPTION
    -- A view uses these columns. Lists are then slower, and otherwise the same.
    WHEN feature_not_supported THEN
        RAISE WARNING 'the key of grange_state keeps its order: %', SQLERRM
        USING HINT = 'Drop your own views on this table, run the ALTER TABLE of 0004_change_sets.sql, and make them again.';
END
$$;

-- The kept answers of calls with an idempotency key.
CREATE TABLE grange_inbox (
    service text COLLATE "C" NOT NULL,
    grain_type text COLLATE "C" NOT NULL,
    grain_key text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    result json NOT NULL,
    writer text,
    write_number bigint,
    expires timestamptz NOT NULL,
    PRIMARY KEY (service, grain_type, grain_key, id)
);
CREATE INDEX grange_inbox_expires ON grange_inbox (service, expires);

-- Reminders. `due` is in microseconds of Unix time, null: never. `slot` is the arc of the hash ring of the grain.
CREATE TABLE grange_reminder (
    service text COLLATE "C" NOT NULL,
    grain_type text COLLATE "C" NOT NULL,
    grain_key text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    slot integer NOT NULL,
    due bigint,
    entry json NOT NULL,
    etag text NOT NULL,
    PRIMARY KEY (service, grain_type, grain_key, name)
);
CREATE INDEX grange_reminder_due ON grange_reminder (service, slot, due);

-- The values of indexed fields: one row for each field of a record, with a text or a number.
CREATE TABLE grange_index (
    service text COLLATE "C" NOT NULL,
    grain_type text COLLATE "C" NOT NULL,
    grain_key text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    field text COLLATE "C" NOT NULL,
    text_value text COLLATE "C",
    number_value float8,
    is_unique boolean NOT NULL,
    PRIMARY KEY (service, grain_type, grain_key, state, field),
    CHECK ((text_value IS NULL) <> (number_value IS NULL))
);
CREATE INDEX grange_index_text ON grange_index (service, grain_type, state, field, text_value, grain_key)
    WHERE text_value IS NOT NULL;
CREATE INDEX grange_index_number ON grange_index (service, grain_type, state, field, number_value, grain_key)
    WHERE number_value IS NOT NULL;
CREATE UNIQUE INDEX grange_unique_text ON grange_index (service, grain_type, state, field, text_value)
    WHERE is_unique AND text_value IS NOT NULL;
CREATE UNIQUE INDEX grange_unique_number ON grange_index (service, grain_type, state, field, number_value)
    WHERE is_unique AND number_value IS NOT NULL;

-- Apply a batch of change sets. No two sets of it name the same record, answer or reminder.
--
-- `endpoints` (sorted) and `generations` are the writers of the batch. The arrays of writes hold one element for each
-- write: `writers` its place in `endpoints`, `sets` the number of its set, null for a set of one write without index
-- entries. `others` is JSON text with all other items, null without any.
--
-- Answers with (place, new etag) for each write that was stored; a set of one write that lost its race is missing. When a
-- writer is dead, it stores nothing and answers with (0, place of the writer) only. When an item of another set does not
-- hold, it raises GR001 with the numbers of these sets, so nothing is stored (see grange_commit).
--
-- Each statement in a function sees all commits before that statement, so after the shared lock is held, a fence either
-- has been committed and is seen, or waits until this batch is committed.
CREATE FUNCTION grange_apply(
    of_service text, endpoints text[], generations bigint[], writers integer[], numbers bigint[],
    types text[], keys text[], states text[], payloads text[], schemas integer[], etags bigint[], claims bigint[],
    sets integer[], others text
) RETURNS TABLE (place bigint, new_etag bigint)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    writer_endpoint text;
    stored bigint[];
    stored_etags bigint[];
    had_index boolean;
    inserted bigint[];
    refused integer[];
    items jsonb := others;
BEGIN
    FOREACH writer_endpoint IN ARRAY endpoints LOOP
        PERFORM pg_advisory_xact_lock_shared(grange_writer_lock(of_service, writer_endpoint));
    END LOOP;
    RETURN QUERY
        SELECT 0::bigint, silo.place
        FROM unnest(endpoints, generations) WITH ORDINALITY AS silo (endpoint, generation, place)
        JOIN grange_dead_silos AS dead
          ON dead.service = of_service AND dead.endpoint = silo.endpoint AND dead.generation >= silo.generation;
    IF FOUND THEN
        RETURN;
    END IF;

    IF cardinality(types) > 0 THEN
        WITH changed AS (
            UPDATE grange_state AS held
            SET payload = change.payload::json, etag = held.etag + 1, schema = coalesce(change.schema, held.schema),
                writer = endpoints[change.writer] || '@' || generations[change.writer], write_number = change.number,
                claim = coalesce(change.claim, held.claim)
            FROM unnest(types, keys, states, payloads, schemas, etags, claims, writers, numbers) WITH ORDINALITY
              AS change (grain_type, grain_key, state, payload, schema, etag, claim, writer, number, place)
            WHERE held.service = of_service AND held.grain_type = change.grain_type AND held.grain_key = change.grain_key
              AND held.state = change.state AND held.etag = change.etag
              AND (change.claim IS NULL OR held.claim = change.claim)
            RETURNING change.place, held.etag, held.indexed
        )
        SELECT array_agg(changed.place), array_agg(changed.etag), bool_or(changed.indexed)
        INTO stored, stored_etags, had_index FROM changed;
    END IF;
    IF 0 = ANY (etags) THEN
        WITH added AS (
            INSERT INTO grange_state
                (service, grain_type, grain_key, state, payload, etag, schema, writer, write_number, claim)
            SELECT of_service, change.grain_type, change.grain_key, change.state, change.payload::json, 1, change.schema,
                   endpoints[change.writer] || '@' || generations[change.writer], change.number, change.claim
            FROM unnest(types, keys, states, payloads, schemas, etags, claims, writers, numbers) WITH ORDINALITY
              AS change (grain_type, grain_key, state, payload, schema, etag, claim, writer, number, place)
            WHERE change.etag = 0
            ORDER BY change.place
            ON CONFLICT DO NOTHING
            RETURNING grain_type, grain_key, state
        )
        SELECT array_agg(change.place) INTO inserted
        FROM added JOIN unnest(types, keys, states) WITH ORDINALITY AS change (grain_type, grain_key, state, place)
          USING (grain_type, grain_key, state);
        stored := coalesce(stored, '{}') || coalesce(inserted, '{}');
        stored_etags := coalesce(stored_etags, '{}') || array_fill(1::bigint, ARRAY[coalesce(cardinality(inserted), 0)]);
    END IF;

    IF sets IS NOT NULL AND coalesce(cardinality(stored), 0) < cardinality(types) THEN
        refused := ARRAY(
            SELECT change.set_number FROM unnest(sets) WITH ORDINALITY AS change (set_number, place)
            WHERE change.set_number IS NOT NULL
              AND NOT EXISTS (SELECT FROM unnest(stored) AS done (place) WHERE done.place = change.place)
        );
    END IF;
    IF items ? 'checks' THEN
        refused := refused || grange_refused_checks(of_service, items -> 'checks');
    END IF;
    IF items ? 'received' THEN
        refused := refused || grange_refused_answers(of_service, endpoints, generations, items -> 'received');
    END IF;
    IF items ? 'reminders' THEN
        refused := refused || grange_refused_reminders(of_service, items -> 'reminders');
    END IF;
    IF items ? 'entries' OR had_index THEN
        refused := refused || grange_refused_entries(
            of_service, types, keys, states, sets, stored, coalesce(items -> 'entries', '[]')
        );
    END IF;
    IF refused <> '{}' THEN
        RAISE EXCEPTION USING ERRCODE = 'GR001', MESSAGE = array_to_string(refused, ',');
    END IF;
    RETURN QUERY SELECT * FROM unnest(stored, stored_etags);
END
$$;

-- A record that is there is locked until the end, so it stays as it is. It does not wait for a lock: two batches that each
-- check what the other one writes would wait until the server finds the deadlock, which takes a second. Where there must be no record, one is inserted
-- and removed again: a transaction that inserts it meanwhile waits.
CREATE FUNCTION grange_refused_checks(of_service text, checks jsonb) RETURNS integer[]
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    held_places bigint[];
    free_places bigint[];
BEGIN
    WITH locked AS (
        SELECT item.place
        FROM ROWS FROM (jsonb_to_recordset(checks)
            AS (grain_type text, grain_key text, state text, etag bigint, claim bigint)) WITH ORDINALITY
          AS item (grain_type, grain_key, state, etag, claim, place)
        JOIN grange_state AS held
          ON held.service = of_service AND held.grain_type = item.grain_type AND held.grain_key = item.grain_key
         AND held.state = item.state AND held.etag = item.etag AND (item.claim IS NULL OR held.claim = item.claim)
        FOR SHARE OF held NOWAIT
    )
    SELECT array_agg(locked.place) INTO held_places FROM locked;
    WITH free AS (
        INSERT INTO grange_state AS held (service, grain_type, grain_key, state, etag, schema)
        SELECT of_service, item.grain_type, item.grain_key, item.state, 0, 1
        FROM jsonb_to_recordset(checks) AS item (grain_type text, grain_key text, state text, etag bigint)
        WHERE item.etag = 0
        ON CONFLICT DO NOTHING
        RETURNING grain_type, grain_key, state
    )
    SELECT array_agg(item.place) INTO free_places
    FROM ROWS FROM (jsonb_to_recordset(checks) AS (grain_type text, grain_key text, state text)) WITH ORDINALITY
      AS item (grain_type, grain_key, state, place)
    JOIN free USING (grain_type, grain_key, state);
    IF free_places IS NOT NULL THEN
        DELETE FROM grange_state AS held
        USING jsonb_to_recordset(checks) AS item (grain_type text, grain_key text, state text, etag bigint)
        WHERE item.etag = 0 AND held.service = of_service AND held.grain_type = item.grain_type
          AND held.grain_key = item.grain_key AND held.state = item.state AND held.etag = 0;
    END IF;
    RETURN ARRAY(
        SELECT item.set_number
        FROM ROWS FROM (jsonb_to_recordset(checks) AS (set_number integer)) WITH ORDINALITY AS item (set_number, place)
        WHERE NOT EXISTS (
            SELECT FROM unnest(held_places || free_places) AS done (place) WHERE done.place = item.place
        )
    );
END
$$;

-- An answer whose time is over is replaced. Each batch with answers also removes some others whose time is over.
CREATE FUNCTION grange_refused_answers(of_service text, endpoints text[], generations bigint[], answers jsonb)
RETURNS integer[]
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    refused integer[];
BEGIN
    WITH item AS (
        SELECT * FROM jsonb_to_recordset(answers) AS item (
            set_number integer, grain_type text, grain_key text, id text, result text, keep float, writer integer, number bigint
        )
    ), kept AS (
        INSERT INTO grange_inbox AS held (service, grain_type, grain_key, id, result, writer, write_number, expires)
        SELECT of_service, item.grain_type, item.grain_key, item.id, item.result::json,
               endpoints[item.writer] || '@' || generations[item.writer], item.number,
               clock_timestamp() + make_interval(secs => item.keep)
        FROM item
        ON CONFLICT (service, grain_type, grain_key, id) DO UPDATE
            SET result = excluded.result, writer = excluded.writer, write_number = excluded.write_number,
                expires = excluded.expires
            WHERE held.expires <= clock_timestamp()
        RETURNING grain_type, grain_key, id
    )
    SELECT array_agg(item.set_number) INTO refused FROM item
    WHERE (item.grain_type, item.grain_key, item.id) NOT IN (SELECT grain_type, grain_key, id FROM kept);
    DELETE FROM grange_inbox WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM grange_inbox WHERE service = of_service AND expires < now() - interval '1 minute'
        ORDER BY expires LIMIT 2 * jsonb_array_length(answers) FOR UPDATE SKIP LOCKED
    ));
    RETURN coalesce(refused, '{}');
END
$$;

-- Change reminders, and answer with the places of the changes that hold. Each array has one element for each change:
-- `held_etags` null: there must be no such reminder; `etags` null: it is removed.
--
-- One statement for each change, by the primary key. A join with all changes may get a plan that reads the whole table,
-- and a session that met the table when it was empty keeps that plan until the next ANALYZE. A loop costs no more, and
-- locks in the order of the arrays.
CREATE FUNCTION grange_change_reminders(
    of_service text, types text[], keys text[], names text[], held_etags text[], slots integer[], dues bigint[],
    entries text[], etags text[]
) RETURNS bigint[]
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    change record;
    done bigint[] := '{}';
BEGIN
    FOR change IN
        SELECT * FROM unnest(types, keys, names, held_etags, slots, dues, entries, etags) WITH ORDINALITY
          AS item (grain_type, grain_key, name, held_etag, slot, due, entry, etag, place)
    LOOP
        IF change.etag IS NOT NULL AND change.held_etag IS NOT NULL THEN
            UPDATE grange_reminder AS held
            SET slot = change.slot, due = change.due, entry = change.entry::json, etag = change.etag
            WHERE held.service = of_service AND held.grain_type = change.grain_type
              AND held.grain_key = change.grain_key AND held.name = change.name AND held.etag = change.held_etag;
        ELSIF change.etag IS NOT NULL THEN
            INSERT INTO grange_reminder (service, grain_type, grain_key, name, slot, due, entry, etag)
            VALUES (of_service, change.grain_type, change.grain_key, change.name, change.slot, change.due,
                    change.entry::json, change.etag)
            ON CONFLICT DO NOTHING;
        ELSIF change.held_etag IS NOT NULL THEN
            DELETE FROM grange_reminder AS held
            WHERE held.service = of_service AND held.grain_type = change.grain_type
              AND held.grain_key = change.grain_key AND held.name = change.name AND held.etag = change.held_etag;
        ELSE
            PERFORM WHERE NOT EXISTS (
                SELECT FROM grange_reminder AS held
                WHERE held.service = of_service AND held.grain_type = change.grain_type
                  AND held.grain_key = change.grain_key AND held.name = change.name
            );
        END IF;
        IF FOUND THEN
            done := done || change.place;
        END IF;
    END LOOP;
    RETURN done;
END
$$;

CREATE FUNCTION grange_refused_reminders(of_service text, changes jsonb) RETURNS integer[]
LANGUAGE plpgsql
AS $$
DECLARE
    numbers integer[];
    done bigint[];
BEGIN
    SELECT array_agg(item.set_number), grange_change_reminders(
        of_service, array_agg(item.grain_type), array_agg(item.grain_key), array_agg(item.name), array_agg(item.held),
        array_agg(item.slot), array_agg(item.due), array_agg(item.entry), array_agg(item.etag)
    )
    INTO numbers, done
    FROM jsonb_to_recordset(changes) AS item (
        set_number integer, grain_type text, grain_key text, name text, held text, slot integer, due bigint, entry text,
        etag text
    );
    RETURN ARRAY(
        SELECT change.set_number FROM unnest(numbers) WITH ORDINALITY AS change (set_number, place)
        WHERE NOT EXISTS (SELECT FROM unnest(done) AS held (place) WHERE held.place = change.place)
    );
END
$$;

-- Apply a batch of sets of one reminder each, as silos store them after ticks: there is nothing to undo. `endpoints`,
-- `generations` and the answer are as of grange_apply, the arrays as of grange_change_reminders. They are in order of the
-- names, so two batches wait for each other in the same order.
CREATE FUNCTION grange_remind(
    of_service text, endpoints text[], generations bigint[], types text[], keys text[], names text[], held_etags text[],
    slots integer[], dues bigint[], entries text[], etags text[]
) RETURNS TABLE (place bigint, new_etag bigint)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    writer_endpoint text;
BEGIN
    FOREACH writer_endpoint IN ARRAY endpoints LOOP
        PERFORM pg_advisory_xact_lock_shared(grange_writer_lock(of_service, writer_endpoint));
    END LOOP;
    RETURN QUERY
        SELECT 0::bigint, silo.place
        FROM unnest(endpoints, generations) WITH ORDINALITY AS silo (endpoint, generation, place)
        JOIN grange_dead_silos AS dead
          ON dead.service = of_service AND dead.endpoint = silo.endpoint AND dead.generation >= silo.generation;
    IF NOT FOUND THEN
        RETURN QUERY SELECT done.place, NULL::bigint FROM unnest(grange_change_reminders(
            of_service, types, keys, names, held_etags, slots, dues, entries, etags
        )) AS done (place);
    END IF;
END
$$;

-- Store one plain write: for batches of one, which a silo with little to do sends. Answers with the new etag, and with null
-- for a dead writer, a lost race, and a record with index rows: then the caller asks grange_apply.
CREATE FUNCTION grange_write(
    of_service text, by_endpoint text, by_generation bigint, by_number bigint, of_type text, of_key text, of_state text,
    new_payload text, new_schema integer, old_etag bigint, old_claim bigint
) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    new_etag bigint;
BEGIN
    IF by_endpoint IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock_shared(grange_writer_lock(of_service, by_endpoint));
        PERFORM FROM grange_dead_silos AS dead
        WHERE dead.service = of_service AND dead.endpoint = by_endpoint AND dead.generation >= by_generation;
        IF FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    IF old_etag = 0 THEN
        INSERT INTO grange_state
            (service, grain_type, grain_key, state, payload, etag, schema, writer, write_number, claim)
        VALUES (of_service, of_type, of_key, of_state, new_payload::json, 1, new_schema,
                by_endpoint || '@' || by_generation, by_number, old_claim)
        ON CONFLICT DO NOTHING RETURNING etag INTO new_etag;
    ELSE
        UPDATE grange_state AS held
        SET payload = new_payload::json, etag = held.etag + 1, schema = coalesce(new_schema, held.schema),
            writer = by_endpoint || '@' || by_generation, write_number = by_number
        WHERE held.service = of_service AND held.grain_type = of_type AND held.grain_key = of_key
          AND held.state = of_state AND held.etag = old_etag AND held.indexed IS NULL
          AND (old_claim IS NULL OR held.claim = old_claim)
        RETURNING held.etag INTO new_etag;
    END IF;
    RETURN new_etag;
END
$$;

-- Make the index rows of the stored writes what `entries` say. Rows that are right stay.
CREATE FUNCTION grange_refused_entries(
    of_service text, types text[], keys text[], states text[], sets integer[], stored bigint[], entries jsonb
) RETURNS integer[]
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    refused integer[];
BEGIN
    DELETE FROM grange_index AS old
    USING unnest(stored) AS done (place)
    WHERE old.service = of_service AND old.grain_type = types[done.place] AND old.grain_key = keys[done.place]
      AND old.state = states[done.place]
      AND NOT EXISTS (
          SELECT FROM jsonb_to_recordset(entries)
            AS entry (place bigint, field text, text_value text, number_value float8, is_unique boolean)
          WHERE entry.place = done.place AND entry.field = old.field AND entry.is_unique = old.is_unique
            AND entry.text_value IS NOT DISTINCT FROM old.text_value
            AND entry.number_value IS NOT DISTINCT FROM old.number_value
      );
    IF entries = '[]' THEN
        RETURN '{}';
    END IF;
    WITH entry AS (
        SELECT * FROM jsonb_to_recordset(entries)
          AS entry (place bigint, field text, text_value text, number_value float8, is_unique boolean)
        WHERE entry.place = ANY (stored)
    )
    INSERT INTO grange_index
        (service, grain_type, grain_key, state, field, text_value, number_value, is_unique)
    SELECT of_service, types[entry.place], keys[entry.place], states[entry.place], entry.field, entry.text_value,
           entry.number_value, entry.is_unique
    FROM entry
    WHERE NOT EXISTS (
        SELECT FROM grange_index AS old
        WHERE old.service = of_service AND old.grain_type = types[entry.place] AND old.grain_key = keys[entry.place]
          AND old.state = states[entry.place] AND old.field = entry.field
    )
    ORDER BY entry.field, entry.number_value, entry.text_value
    ON CONFLICT DO NOTHING;
    SELECT array_agg(DISTINCT sets[entry.place]) INTO refused
    FROM jsonb_to_recordset(entries) AS entry (place bigint, field text)
    WHERE NOT EXISTS (
        SELECT FROM grange_index AS now
        WHERE now.service = of_service AND now.grain_type = types[entry.place] AND now.grain_key = keys[entry.place]
          AND now.state = states[entry.place] AND now.field = entry.field
    );
    UPDATE grange_state AS held SET indexed = true
    FROM jsonb_to_recordset(entries) AS entry (place bigint)
    WHERE held.service = of_service AND held.grain_type = types[entry.place] AND held.grain_key = keys[entry.place]
      AND held.state = states[entry.place] AND held.indexed IS NULL;
    RETURN coalesce(refused, '{}');
END
$$;

-- Apply a batch with sets of several items. When some of these sets do not hold, nothing is stored, and the answer is
-- (minus the number of the set, null) for each: the caller sends the batch again without them. It is (0, 0) when a record
-- that is only checked is being changed: the caller sends the same batch again.
CREATE FUNCTION grange_commit(
    of_service text, endpoints text[], generations bigint[], writers integer[], numbers bigint[],
    types text[], keys text[], states text[], payloads text[], schemas integer[], etags bigint[], claims bigint[],
    sets integer[], others text
) RETURNS TABLE (place bigint, new_etag bigint)
LANGUAGE plpgsql
AS $$
BEGIN
    RETURN QUERY SELECT * FROM grange_apply(
        of_service, endpoints, generations, writers, numbers, types, keys, states, payloads, schemas, etags, claims, sets,
        others
    );
EXCEPTION
    WHEN SQLSTATE 'GR001' THEN
        RETURN QUERY SELECT -refused.number::bigint, NULL::bigint
        FROM unnest(string_to_array(SQLERRM, ',')) AS refused (number);
    WHEN lock_not_available THEN
        RETURN QUERY SELECT 0::bigint, 0::bigint;
END
$$;

-- Read a record and set its claim, unless the claimant is dead. If a crash loses the claim, the writes that name it are
-- refused, so there is no wait for the disk.
CREATE FUNCTION grange_claim(
    of_service text, of_type text, of_key text, of_state text, new_claim bigint, by_endpoint text, by_generation bigint
) RETURNS TABLE (
    dead boolean, payload text, etag bigint, schema integer, writer text, write_number bigint, claim bigint
)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
    IF by_endpoint IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock_shared(grange_writer_lock(of_service, by_endpoint));
        IF EXISTS (
            SELECT FROM grange_dead_silos AS dead
            WHERE dead.service = of_service AND dead.endpoint = by_endpoint AND dead.generation >= by_generation
        ) THEN
            RETURN QUERY SELECT true, NULL, 0::bigint, 0, NULL, NULL::bigint, NULL::bigint;
            RETURN;
        END IF;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN QUERY
        UPDATE grange_state AS held SET claim = new_claim
        WHERE held.service = of_service AND held.grain_type = of_type AND held.grain_key = of_key
          AND held.state = of_state
        RETURNING false, held.payload::text, held.etag, held.schema, held.writer, held.write_number, held.claim;
END
$$;
