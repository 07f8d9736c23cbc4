-- Who there is and what each may do: users, teams, roles, tokens, policies, providers of identity.
--
-- One file for SQLite and PostgreSQL, as V0001. All of these are records of the change feed, so that
-- a role that was taken away is gone on every shard of every node as soon as a tool would be.

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    full_name TEXT,
    password_hash TEXT,
    is_admin BOOLEAN NOT NULL,
    is_active BOOLEAN NOT NULL,
    auth_provider TEXT NOT NULL,
    email_verified BOOLEAN NOT NULL,
    password_change_required BOOLEAN NOT NULL,
    password_changed_at BIGINT,
    failed_login_attempts BIGINT NOT NULL,
    locked_until BIGINT,
    last_login BIGINT,
    tokens_valid_from BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE teams (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    description TEXT,
    created_by TEXT NOT NULL,
    is_personal BOOLEAN NOT NULL,
    visibility TEXT NOT NULL,
    max_members BIGINT,
    is_active BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX teams_slug ON teams (lower(slug));

CREATE TABLE team_members (
    id TEXT NOT NULL PRIMARY KEY,
    team_id TEXT NOT NULL REFERENCES teams (id),
    user_email TEXT NOT NULL,
    role TEXT NOT NULL,
    joined_at BIGINT NOT NULL,
    invited_by TEXT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX team_members_user ON team_members (team_id, lower(user_email));

CREATE TABLE team_invitations (
    id TEXT NOT NULL PRIMARY KEY,
    team_id TEXT NOT NULL REFERENCES teams (id),
    email TEXT NOT NULL,
    role TEXT NOT NULL,
    invited_by TEXT NOT NULL,
    invited_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    token_hash TEXT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX team_invitations_email ON team_invitations (team_id, lower(email));
CREATE UNIQUE INDEX team_invitations_token ON team_invitations (lower(token_hash));

CREATE TABLE team_join_requests (
    id TEXT NOT NULL PRIMARY KEY,
    team_id TEXT NOT NULL REFERENCES teams (id),
    user_email TEXT NOT NULL,
    message TEXT,
    status TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    reviewed_by TEXT,
    reviewed_at BIGINT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX team_join_requests_user ON team_join_requests (team_id, lower(user_email));

CREATE TABLE roles (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    scope TEXT NOT NULL,
    permissions TEXT NOT NULL,
    inherits_from TEXT REFERENCES roles (id),
    is_system_role BOOLEAN NOT NULL,
    is_active BOOLEAN NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX roles_name ON roles (scope, lower(name));

CREATE TABLE user_roles (
    id TEXT NOT NULL PRIMARY KEY,
    user_email TEXT NOT NULL,
    role_id TEXT NOT NULL REFERENCES roles (id),
    scope TEXT NOT NULL,
    scope_id TEXT,
    granted_by TEXT NOT NULL,
    granted_at BIGINT NOT NULL,
    expires_at BIGINT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX user_roles_user
    ON user_roles (lower(user_email), role_id, scope, COALESCE(scope_id, ''));

CREATE TABLE api_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    jti TEXT NOT NULL,
    user_email TEXT NOT NULL,
    team_id TEXT REFERENCES teams (id),
    name TEXT NOT NULL,
    description TEXT,
    server_id TEXT,
    permissions TEXT NOT NULL,
    ip_restrictions TEXT NOT NULL,
    time_restrictions TEXT,
    usage_limits TEXT,
    tags TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    is_active BOOLEAN NOT NULL,
    revoked_at BIGINT,
    revoked_by TEXT,
    revocation_reason TEXT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX api_tokens_jti ON api_tokens (lower(jti));
CREATE UNIQUE INDEX api_tokens_name
    ON api_tokens (lower(user_email), COALESCE(team_id, ''), name);

-- A token that is good no more although its signature is: by its id (jti), until it would have
-- ended anyway.
CREATE TABLE revocations (
    id TEXT NOT NULL PRIMARY KEY,
    user_email TEXT,
    revoked_by TEXT,
    reason TEXT,
    revoked_at BIGINT NOT NULL,
    expires_at BIGINT,
    version BIGINT NOT NULL
);

-- What is allowed or denied besides by roles: an expression in CEL.
CREATE TABLE policies (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    server_id TEXT REFERENCES servers (id),
    effect TEXT NOT NULL,
    actions TEXT NOT NULL,
    expression TEXT NOT NULL,
    message TEXT,
    enforcement TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    priority BIGINT NOT NULL,
    created_by TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX policies_name ON policies (lower(name));

-- Where users may log in besides here (OpenID Connect).
CREATE TABLE sso_providers (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    provider_type TEXT NOT NULL,
    is_enabled BOOLEAN NOT NULL,
    client_id TEXT NOT NULL,
    client_secret_sealed TEXT,
    issuer TEXT,
    authorization_url TEXT NOT NULL,
    token_url TEXT NOT NULL,
    userinfo_url TEXT,
    jwks_uri TEXT,
    scope TEXT NOT NULL,
    trusted_domains TEXT NOT NULL,
    auto_create_users BOOLEAN NOT NULL,
    team_mapping TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX sso_providers_name ON sso_providers (lower(name));
