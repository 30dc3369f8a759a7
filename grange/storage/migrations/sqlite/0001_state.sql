-- One row per record. The etag is a counter that rises by one with each write and clear and outlives a clear
-- (payload null), so that no etag of a record ever comes back.
CREATE TABLE grange_state (
    service TEXT NOT NULL,
    grain_type TEXT NOT NULL,
    grain_key TEXT NOT NULL,
    state TEXT NOT NULL,
    payload TEXT,
    etag INTEGER NOT NULL,
    schema INTEGER NOT NULL,
    PRIMARY KEY (service, grain_type, grain_key, state)
) STRICT;
