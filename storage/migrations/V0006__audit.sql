-- The audit trail: who did what to which entity, and who was refused.
--
-- One file for SQLite and PostgreSQL, as V0001. The change feed does not tell of these rows, and no
-- foreign key ties them to what they tell of: they outlive it.

CREATE TABLE audit_log (
    -- When it ended, in microseconds since the epoch.
    at BIGINT NOT NULL,
    -- Grows in the order in which entries were stored.
    id BIGINT NOT NULL,
    request_id TEXT,
    actor TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    token_id TEXT,
    ip TEXT,
    user_agent TEXT,
    -- What was done, as tools.execute, and the part before the first dot.
    action TEXT NOT NULL,
    area TEXT NOT NULL,
    entity TEXT,
    entity_id TEXT,
    entity_name TEXT,
    team_id TEXT,
    server_id TEXT,
    allowed BOOLEAN NOT NULL,
    succeeded BOOLEAN NOT NULL,
    reason TEXT,
    -- The HTTP status that was answered, or the code of an error of JSON-RPC.
    status BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    -- JSON text, its secrets masked.
    state_before TEXT,
    state_after TEXT,
    arguments TEXT,
    PRIMARY KEY (at, id)
);

-- The trail is read newest first, of all or of one of these.
CREATE INDEX audit_log_actor ON audit_log (actor, at, id);
CREATE INDEX audit_log_action ON audit_log (action, at, id);
CREATE INDEX audit_log_area ON audit_log (area, at, id);
CREATE INDEX audit_log_entity_id ON audit_log (entity_id, at, id);
CREATE INDEX audit_log_entity_name ON audit_log (entity_name, at, id);

-- The last id that was given; one row.
CREATE TABLE audit_sequence (
    last BIGINT NOT NULL
);
INSERT INTO audit_sequence (last) VALUES (0);

-- The last batch that each process stored, so that one whose answer was lost is not stored twice.
CREATE TABLE audit_writers (
    writer TEXT NOT NULL PRIMARY KEY,
    batch BIGINT NOT NULL,
    at BIGINT NOT NULL
);
