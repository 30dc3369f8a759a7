-- The newest claim of the record: only writes that name it are stored. `indexed`: the record has rows in grange_index, or
-- had some, so a write has to look for them.
ALTER TABLE grange_state ADD COLUMN claim INTEGER;
ALTER TABLE grange_state ADD COLUMN indexed INTEGER;

-- The kept answers of calls with an idempotency key. `expires` is a Julian day.
CREATE TABLE grange_inbox (
    service TEXT NOT NULL,
    grain_type TEXT NOT NULL,
    grain_key TEXT NOT NULL,
    id TEXT NOT NULL,
    result TEXT NOT NULL,
    writer TEXT,
    write_number INTEGER,
    expires REAL NOT NULL,
    PRIMARY KEY (service, grain_type, grain_key, id)
) STRICT;
CREATE INDEX grange_inbox_expires ON grange_inbox (service, expires);

-- Reminders. `due` is in microseconds of Unix time, null: never. `slot` is the arc of the hash ring of the grain.
CREATE TABLE grange_reminder (
    service TEXT NOT NULL,
    grain_type TEXT NOT NULL,
    grain_key TEXT NOT NULL,
    name TEXT NOT NULL,
    slot INTEGER NOT NULL,
    due INTEGER,
    entry TEXT NOT NULL,
    etag TEXT NOT NULL,
    PRIMARY KEY (service, grain_type, grain_key, name)
) STRICT;
CREATE INDEX grange_reminder_due ON grange_reminder (service, slot, due);

-- The values of indexed fields: one row for each field of a record, with a text or a number.
CREATE TABLE grange_index (
    service TEXT NOT NULL,
    grain_type TEXT NOT NULL,
    grain_key TEXT NOT NULL,
    state TEXT NOT NULL,
    field TEXT NOT NULL,
    value ANY NOT NULL,
    is_unique INTEGER NOT NULL,
    PRIMARY KEY (service, grain_type, grain_key, state, field)
) STRICT;
CREATE INDEX grange_index_value ON grange_index (service, grain_type, state, field, value, grain_key);
CREATE UNIQUE INDEX grange_unique ON grange_index (service, grain_type, state, field, value) WHERE is_unique;
