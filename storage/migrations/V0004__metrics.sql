-- Metrics of entities: how often each was used, how often in vain, and how long that took.
--
-- One file for SQLite and PostgreSQL, as V0001. The change feed does not tell of these rows, and
-- no foreign key ties them to what they measure: counting must hold up nothing, and rows of what
-- is gone are swept from time to time.

-- What was counted of one entity; `entity` is the word that the change feed has for its kind.
CREATE TABLE entity_metrics (
    entity TEXT NOT NULL,
    id TEXT NOT NULL,
    executions BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    total_us BIGINT NOT NULL,
    min_us BIGINT NOT NULL,
    max_us BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (entity, id)
);

-- How many executions took about as long: see `storage::metrics` for the width of a bucket.
CREATE TABLE entity_metric_buckets (
    entity TEXT NOT NULL,
    id TEXT NOT NULL,
    bucket BIGINT NOT NULL,
    executions BIGINT NOT NULL,
    PRIMARY KEY (entity, id, bucket)
);

-- When metrics were set to nothing: of one entity, or of a whole kind where the id is empty. What
-- another process counted before that and brings later is not added. The row of no kind is what
-- additions share and resets hold alone.
CREATE TABLE metric_resets (
    entity TEXT NOT NULL,
    id TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (entity, id)
);
INSERT INTO metric_resets (entity, id, at) VALUES ('', '', 0);

-- The last batch that each process added, so that one whose answer was lost is not added twice.
CREATE TABLE metric_writers (
    writer TEXT NOT NULL PRIMARY KEY,
    batch BIGINT NOT NULL,
    at BIGINT NOT NULL
);
