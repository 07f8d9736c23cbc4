-- How API tokens are used: by day, and by the part of the API that was asked.
--
-- One file for SQLite and PostgreSQL, as V0001. Like the metrics of entities, these rows are no
-- records: the change feed does not tell of them, and rows of tokens that are gone are swept.

CREATE TABLE token_usage (
    token_id TEXT NOT NULL,
    -- Days since the epoch, in UTC.
    day BIGINT NOT NULL,
    -- The part of the API, as /tools.
    endpoint TEXT NOT NULL,
    requests BIGINT NOT NULL,
    -- How many were answered with 400 or more, refusals included.
    failures BIGINT NOT NULL,
    -- How many the token might not.
    refusals BIGINT NOT NULL,
    total_us BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (token_id, day, endpoint)
);
