-- One row per record. The etag is a counter that rises by one with each write and clear and outlives a clear
-- (payload null), so that no etag of a record ever comes back. Every change rewrites the row: room is left on
-- each page so that the new version stays there and the index is not touched (HOT).
CREATE TABLE grange_state (
    service text NOT NULL,
    grain_type text NOT NULL,
    grain_key text NOT NULL,
    state text NOT NULL,
    payload jsonb,
    etag bigint NOT NULL,
    schema integer NOT NULL,
    PRIMARY KEY (service, grain_type, grain_key, state)
) WITH (fillfactor = 80);
