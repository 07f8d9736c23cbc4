-- The rest of the registry: tools, resources and prompts of our own, A2A agents, roots.
--
-- One file for SQLite and PostgreSQL, as V0001.

-- An agent that speaks the A2A protocol, or one that is called like it; it is offered as a tool.
CREATE TABLE a2a_agents (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    description TEXT,
    endpoint_url TEXT NOT NULL,
    agent_type TEXT NOT NULL,
    protocol_version TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    config TEXT NOT NULL,
    auth_type TEXT,
    auth_sealed TEXT,
    passthrough_headers TEXT,
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
CREATE UNIQUE INDEX a2a_agents_slug ON a2a_agents (slug, (CASE visibility
    WHEN 'public' THEN '' WHEN 'team' THEN 'team:' || COALESCE(team_id, '')
    ELSE 'user:' || COALESCE(owner_email, '') END));

-- A root: a place that clients may be told to work in.
CREATE TABLE roots (
    id TEXT NOT NULL PRIMARY KEY,
    uri TEXT NOT NULL,
    name TEXT,
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
CREATE UNIQUE INDEX roots_uri ON roots (uri, (CASE visibility
    WHEN 'public' THEN '' WHEN 'team' THEN 'team:' || COALESCE(team_id, '')
    ELSE 'user:' || COALESCE(owner_email, '') END));

ALTER TABLE tools ADD COLUMN agent_id TEXT REFERENCES a2a_agents (id);
ALTER TABLE tools ADD COLUMN auth_type TEXT;
ALTER TABLE tools ADD COLUMN auth_sealed TEXT;
ALTER TABLE tools ADD COLUMN deprecated BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE tools ADD COLUMN validate_arguments BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE tools ADD COLUMN extension_metadata TEXT;
CREATE INDEX tools_agent ON tools (agent_id);

ALTER TABLE resources ADD COLUMN content TEXT;
ALTER TABLE resources ADD COLUMN is_binary BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE resources ADD COLUMN extension_metadata TEXT;

ALTER TABLE prompts ADD COLUMN template TEXT;

ALTER TABLE servers ADD COLUMN tool_overrides TEXT;
ALTER TABLE servers DROP COLUMN associated_a2a_agents;

CREATE TABLE server_a2a_agents (
    server_id TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    member_id TEXT NOT NULL REFERENCES a2a_agents (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (server_id, member_id)
);
CREATE INDEX server_a2a_agents_member ON server_a2a_agents (member_id);
