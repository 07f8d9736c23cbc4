-- The registry: upstreams, what they offer, virtual servers, and the feed of their changes.
--
-- One file for SQLite (3.35 and later) and PostgreSQL (15 and later): BIGINT, TEXT and BOOLEAN
-- only, JSON as TEXT, times as microseconds since the epoch in BIGINT.
--
-- Every unique index holds an expression, so that both databases report a collision by the name
-- of the index. The expression is the circle within which a name must be unique: everyone's
-- records, a team's, or one user's.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The end of the feed and the highest sequence that was pruned; one row. A writer holds this row
-- from its first step to its commit, so that sequences are committed in order and without gaps:
-- whoever has read up to a sequence has missed nothing below it.
CREATE TABLE feed (
    id BIGINT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    pruned BIGINT NOT NULL
);
INSERT INTO feed (id, sequence, pruned) VALUES (1, 0, 0);

CREATE TABLE changes (
    sequence BIGINT NOT NULL PRIMARY KEY,
    entity TEXT NOT NULL,
    id TEXT NOT NULL,
    action TEXT NOT NULL,
    at BIGINT NOT NULL
);

CREATE TABLE gateways (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    url TEXT,
    description TEXT,
    transport TEXT NOT NULL,
    command TEXT NOT NULL,
    env_sealed TEXT,
    protocol TEXT NOT NULL,
    era TEXT,
    protocol_version TEXT,
    capabilities TEXT,
    instructions TEXT,
    server_info TEXT,
    auth_type TEXT,
    auth_sealed TEXT,
    ca_certificate TEXT,
    passthrough_headers TEXT,
    skipped_tools TEXT NOT NULL,
    tags TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    reachable BOOLEAN NOT NULL,
    last_seen BIGINT,
    last_error TEXT,
    last_refresh_at BIGINT,
    refresh_interval_seconds BIGINT,
    team_id TEXT,
    owner_email TEXT,
    visibility TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT,
    created_from_ip TEXT,
    created_via TEXT,
    created_user_agent TEXT,
    updated_at BIGINT NOT NULL,
    modified_by TEXT,
    modified_from_ip TEXT,
    modified_via TEXT,
    modified_user_agent TEXT,
    import_batch_id TEXT,
    federation_source TEXT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX gateways_slug ON gateways (slug, (CASE visibility
    WHEN 'public' THEN '' WHEN 'team' THEN 'team:' || COALESCE(team_id, '')
    ELSE 'user:' || COALESCE(owner_email, '') END));
CREATE UNIQUE INDEX gateways_url ON gateways (url, (CASE visibility
    WHEN 'public' THEN '' WHEN 'team' THEN 'team:' || COALESCE(team_id, '')
    ELSE 'user:' || COALESCE(owner_email, '') END));

CREATE TABLE tools (
    id TEXT NOT NULL PRIMARY KEY,
    gateway_id TEXT REFERENCES gateways (id),
    original_name TEXT NOT NULL,
    custom_name TEXT,
    custom_name_slug TEXT NOT NULL,
    name TEXT NOT NULL,
    display_name TEXT,
    title TEXT,
    original_description TEXT,
    custom_description TEXT,
    integration_type TEXT NOT NULL,
    definition TEXT NOT NULL,
    rest TEXT,
    position BIGINT NOT NULL,
    tags TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    reachable BOOLEAN NOT NULL,
    team_id TEXT,
    owner_email TEXT,
    visibility TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT,
    created_from_ip TEXT,
    created_via TEXT,
    created_user_agent TEXT,
    updated_at BIGINT NOT NULL,
    modified_by TEXT,
    modified_from_ip TEXT,
    modified_via TEXT,
    modified_user_agent TEXT,
    import_batch_id TEXT,
    federation_source TEXT,
    version BIGINT NOT NULL
);
CREATE INDEX tools_gateway ON tools (gateway_id);
CREATE UNIQUE INDEX tools_name ON tools (name, (CASE visibility
    WHEN 'public' THEN '' WHEN 'team' THEN 'team:' || COALESCE(team_id, '')
    ELSE 'user:' || COALESCE(owner_email, '') END));

CREATE TABLE resources (
    id TEXT NOT NULL PRIMARY KEY,
    gateway_id TEXT REFERENCES gateways (id),
    uri TEXT NOT NULL,
    uri_template TEXT,
    name TEXT NOT NULL,
    title TEXT,
    description TEXT,
    mime_type TEXT,
    size BIGINT,
    definition TEXT NOT NULL,
    position BIGINT NOT NULL,
    tags TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    team_id TEXT,
    owner_email TEXT,
    visibility TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT,
    created_from_ip TEXT,
    created_via TEXT,
    created_user_agent TEXT,
    updated_at BIGINT NOT NULL,
    modified_by TEXT,
    modified_from_ip TEXT,
    modified_via TEXT,
    modified_user_agent TEXT,
    import_batch_id TEXT,
    federation_source TEXT,
    version BIGINT NOT NULL
);
CREATE INDEX resources_gateway ON resources (gateway_id);
-- Two upstreams may well offer the same URI; one upstream may not offer it twice. A template may
-- read like a URI, and is another thing.
CREATE UNIQUE INDEX resources_uri ON resources (uri, COALESCE(gateway_id, ''),
    (CASE WHEN uri_template IS NULL THEN 0 ELSE 1 END), (CASE visibility
    WHEN 'public' THEN '' WHEN 'team' THEN 'team:' || COALESCE(team_id, '')
    ELSE 'user:' || COALESCE(owner_email, '') END));

CREATE TABLE prompts (
    id TEXT NOT NULL PRIMARY KEY,
    gateway_id TEXT REFERENCES gateways (id),
    original_name TEXT NOT NULL,
    custom_name TEXT,
    custom_name_slug TEXT NOT NULL,
    name TEXT NOT NULL,
    display_name TEXT,
    title TEXT,
    description TEXT,
    definition TEXT NOT NULL,
    position BIGINT NOT NULL,
    tags TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    team_id TEXT,
    owner_email TEXT,
    visibility TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT,
    created_from_ip TEXT,
    created_via TEXT,
    created_user_agent TEXT,
    updated_at BIGINT NOT NULL,
    modified_by TEXT,
    modified_from_ip TEXT,
    modified_via TEXT,
    modified_user_agent TEXT,
    import_batch_id TEXT,
    federation_source TEXT,
    version BIGINT NOT NULL
);
CREATE INDEX prompts_gateway ON prompts (gateway_id);
CREATE UNIQUE INDEX prompts_name ON prompts (name, (CASE visibility
    WHEN 'public' THEN '' WHEN 'team' THEN 'team:' || COALESCE(team_id, '')
    ELSE 'user:' || COALESCE(owner_email, '') END));

CREATE TABLE servers (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    icon TEXT,
    associated_a2a_agents TEXT NOT NULL,
    tool_prefix TEXT,
    auth_required BOOLEAN NOT NULL,
    tags TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    team_id TEXT,
    owner_email TEXT,
    visibility TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT,
    created_from_ip TEXT,
    created_via TEXT,
    created_user_agent TEXT,
    updated_at BIGINT NOT NULL,
    modified_by TEXT,
    modified_from_ip TEXT,
    modified_via TEXT,
    modified_user_agent TEXT,
    import_batch_id TEXT,
    federation_source TEXT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX servers_name ON servers (name, (CASE visibility
    WHEN 'public' THEN '' WHEN 'team' THEN 'team:' || COALESCE(team_id, '')
    ELSE 'user:' || COALESCE(owner_email, '') END));

-- What a virtual server chose, in its order. Rows go with either end, so no server ever refers to
-- what is not there.
CREATE TABLE server_tools (
    server_id TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    member_id TEXT NOT NULL REFERENCES tools (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (server_id, member_id)
);
CREATE INDEX server_tools_member ON server_tools (member_id);

CREATE TABLE server_resources (
    server_id TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    member_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (server_id, member_id)
);
CREATE INDEX server_resources_member ON server_resources (member_id);

CREATE TABLE server_prompts (
    server_id TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    member_id TEXT NOT NULL REFERENCES prompts (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (server_id, member_id)
);
CREATE INDEX server_prompts_member ON server_prompts (member_id);

CREATE TABLE server_gateways (
    server_id TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    member_id TEXT NOT NULL REFERENCES gateways (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (server_id, member_id)
);
CREATE INDEX server_gateways_member ON server_gateways (member_id);
