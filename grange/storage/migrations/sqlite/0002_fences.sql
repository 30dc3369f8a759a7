-- The last change of the row: its silo as host:port@generation, and its number in that silo. Null in rows that were
-- written before this version, or by tools.
ALTER TABLE grange_state ADD COLUMN writer TEXT;
ALTER TABLE grange_state ADD COLUMN write_number INTEGER;

-- Silos that were declared dead: a write by this generation of the endpoint, or by an earlier one, is not stored.
CREATE TABLE grange_dead_silos (
    service TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    generation INTEGER NOT NULL,
    recorded REAL NOT NULL,
    PRIMARY KEY (service, endpoint)
) STRICT;
