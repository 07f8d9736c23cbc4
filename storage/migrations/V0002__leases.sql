-- Leases: who alone may do a thing at present, such as the health checks of upstreams.
--
-- One file for SQLite and PostgreSQL, as V0001.

-- A row stays when its lease is released or expires, since its token must never fall: whoever held
-- the lease before is known by the lower token. A released lease has an empty holder. Times are
-- microseconds since the epoch, by the database's clock where it has one.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    token BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
