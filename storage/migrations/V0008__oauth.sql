-- Virtual servers that are protected resources of OAuth 2.1 (RFC 9728): whose tokens open them. What
-- else is known of providers of identity: which claims say what.
--
-- One file for SQLite and PostgreSQL, as V0001.

ALTER TABLE servers ADD COLUMN oauth_enabled BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE servers ADD COLUMN oauth_config TEXT;

ALTER TABLE sso_providers ADD COLUMN metadata TEXT;
