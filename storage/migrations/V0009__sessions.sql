-- Upstreams: whether all clients share what is open to one, or each has its own.
--
-- One file for SQLite and PostgreSQL, as V0001.

ALTER TABLE gateways ADD COLUMN session_mode TEXT NOT NULL DEFAULT 'shared';
