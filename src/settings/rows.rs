//! The table of settings: every row is a name, its aliases, a default, a check and a sentence.
//!
//! A new row needs a reader who will turn it, and code that obeys it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::authority::{Allowed, HostRule, Origin};
use super::check::{
    self, Address, AutoFlag, Count, DatabaseUrl, FieldName, FilePath, Flag, Fraction, Hidden,
    Hosts, Level, Minutes, Networks, OneOrigin, Optional, OriginList, PerMinute, Port, RateText,
    RedisUrl, RootPath, Seconds, Shards, Size, Text, TextList, TextMap, Threshold, UriList, WebUrl,
    Words,
};
use super::issuers::{ExternalIssuer, Issuers};
use super::network::Network;
use super::table::table;
use super::values::{
    AuditArguments, AuditCalls, CertificateName, ForwardedBy, Framing, LogFormat, Rate, SameSite,
    Scope, Secret, ShardCount, Switch,
};

/// The longest span that a time limit may have: a day.
const DAY: u64 = 24 * 60 * 60;
/// The largest body, request or answer: 1 GiB. It is held in memory.
const BODY: usize = 1 << 30;

table! {
    /// Where the gateway listens, and on how many cores.
    Listen "Listening" {
        /// The address to listen on. Beyond loopback, registering local commands and calling
        /// private addresses are off unless allowed below.
        host: IpAddr, "HOST", [], "127.0.0.1", Address;
        /// The port to listen on.
        port: u16, "PORT", [], "4444", Port;
        /// The path that a reverse proxy serves the gateway under; cut off every request.
        root_path: String, "APP_ROOT_PATH", [], "", RootPath;
        /// Whether to speak TLS. `auto`: if `CERT_FILE` and `KEY_FILE` are set.
        ssl: Switch, "SSL", [], "auto", AutoFlag;
        /// The certificate chain, in PEM.
        cert_file: Option<PathBuf>, "CERT_FILE", [], "", Optional(FilePath);
        /// The private key of the certificate, in PEM and not encrypted.
        key_file: Option<PathBuf>, "KEY_FILE", [], "", Optional(FilePath);
        /// How many shards to run, each a thread on a core of its own. `auto`: one for each core
        /// that the affinity mask and the CPU quota of the container leave us.
        shards: ShardCount, "SHARDS", [], "auto", Shards;
        /// As `SHARDS` (which wins over it), for manifests made for ContextForge: a number is cut
        /// down to the cores that there are, since more shards than cores only wait on each other.
        workers: ShardCount, "GUNICORN_WORKERS", [], "auto", Shards;
        /// How a shard waits for the kernel. `auto`: io_uring, or epoll where it is forbidden.
        ring_driver: ::shards::Preference, "RING_DRIVER", [], "auto", check::RING_DRIVER;
        /// How long requests in flight may take to finish after SIGTERM.
        shutdown_grace: Duration, "SHUTDOWN_GRACE", [], "30", Seconds { min_ms: 0, max: DAY };
    }

    /// What a client may send, and how slowly.
    Http "HTTP" {
        /// The most connections that a shard holds open; one more is closed at once.
        connection_count_max: usize, "MAX_CONNECTIONS_PER_SHARD", [], "16384",
            Count { min: 1, max: 1_000_000 };
        /// The most requests that a shard has in flight; one more is answered 503.
        request_count_max: usize, "MAX_REQUESTS_PER_SHARD", [], "1024",
            Count { min: 1, max: 1_000_000 };
        /// The largest request head; a larger one is answered 431.
        head_size_max: usize, "MAX_HEADER_TOTAL_SIZE_BYTES", [], "16384",
            Size { min: 1024, max: 1 << 20 };
        /// The most header fields in a request; more are answered 431.
        field_count_max: usize, "MAX_HEADER_COUNT", [], "100", Count { min: 8, max: 1000 };
        /// The largest header field, name and value together; a larger one is answered 431.
        field_size_max: usize, "MAX_HEADER_FIELD_SIZE_BYTES", [], "8192",
            Size { min: 256, max: 1 << 20 };
        /// The largest request body; a larger one is answered 413.
        body_size_max: usize, "MAX_BODY_SIZE_BYTES", [], "4194304",
            Size { min: 1024, max: BODY };
        /// How long a new connection may wait before its first byte.
        first_byte_timeout: Duration, "CLIENT_FIRST_BYTE_TIMEOUT", [], "30",
            Seconds { min_ms: 10, max: DAY };
        /// How long a request head may take from its first byte to its last.
        head_timeout: Duration, "CLIENT_HEAD_TIMEOUT", [], "10", Seconds { min_ms: 10, max: DAY };
        /// How long a request body may take.
        body_timeout: Duration, "CLIENT_BODY_TIMEOUT", [], "60", Seconds { min_ms: 10, max: DAY };
        /// How long a connection may idle between requests. Longer than that of a load balancer
        /// in front, or it sends requests into a closing connection.
        idle_timeout: Duration, "CLIENT_IDLE_TIMEOUT", [], "75", Seconds { min_ms: 10, max: DAY };
        /// How long the client may take no byte of an answer.
        write_timeout: Duration, "CLIENT_WRITE_TIMEOUT", [], "30",
            Seconds { min_ms: 10, max: DAY };
        /// How many streams (of events, of changes, and WebSockets) may be open on each shard; a
        /// further one is answered by 503.
        stream_count_max: usize, "STREAMS_MAX", [], "1000", Count { min: 1, max: 1_000_000 };
        /// How long a stream of events may be silent before a comment shows that it lives; 0 for no
        /// such comment.
        sse_keepalive: Duration, "SSE_KEEPALIVE_INTERVAL", [], "30",
            Seconds { min_ms: 0, max: DAY };
        /// Whether the streams of HTTP+SSE show that they live, as `SSE_KEEPALIVE_INTERVAL` says.
        sse_keepalive_on: bool, "SSE_KEEPALIVE_ENABLED", [], "true", Flag;
        /// How long a WebSocket, of a client or to an upstream, may be silent before it is pinged. One that
        /// is silent as long again is ended. 0 for no pings.
        websocket_ping: Duration, "WEBSOCKET_PING_INTERVAL", [], "30",
            Seconds { min_ms: 0, max: DAY };
        /// How deeply the JSON of a request may nest.
        json_depth_max: usize, "VALIDATION_MAX_JSON_DEPTH", [], "30", Count { min: 4, max: 128 };
        /// The largest `params` of a JSON-RPC request.
        params_size_max: usize, "VALIDATION_MAX_RPC_PARAM_SIZE", [], "262144",
            Size { min: 1024, max: BODY };
    }

    /// Who may speak to us.
    Auth "Authentication" {
        /// Whether a request needs a token. Without, every caller is an administrator, and the
        /// gateway listens on loopback only (see `ALLOW_OPEN_BIND`).
        required: bool, "AUTH_REQUIRED", [], "true", Flag;
        /// Lets a gateway without authentication listen beyond loopback: whoever reaches the port
        /// then commands it.
        open_bind_allowed: bool, "ALLOW_OPEN_BIND", [], "false", Flag;
        /// The algorithm that tokens are signed with; no other is accepted.
        algorithm: Algorithm, "JWT_ALGORITHM", [], "HS256", check::ALGORITHM;
        /// The secret that signs tokens with an `HS` algorithm. Unset: a strong one is made once
        /// and kept in the data folder.
        secret_key: Option<Secret>, "JWT_SECRET_KEY", [], "", Optional(Hidden);
        /// The public key that checks tokens with any other algorithm, in PEM.
        public_key_path: Option<PathBuf>, "JWT_PUBLIC_KEY_PATH", [], "", Optional(FilePath);
        /// The private key that signs them, in PEM; only `ringway token` reads it.
        private_key_path: Option<PathBuf>, "JWT_PRIVATE_KEY_PATH", [], "", Optional(FilePath);
        /// Who issues tokens: the claim `iss`.
        issuer: String, "JWT_ISSUER", [], "mcpgateway", Text;
        /// Whether `iss` is checked.
        issuer_verified: bool, "JWT_ISSUER_VERIFICATION", [], "true", Flag;
        /// Whom tokens are for: the claim `aud`.
        audience: String, "JWT_AUDIENCE", [], "mcpgateway-api", Text;
        /// Whether `aud` is checked.
        audience_verified: bool, "JWT_AUDIENCE_VERIFICATION", [], "true", Flag;
        /// Whether a token without an end (`exp`) is refused.
        expiration_required: bool, "REQUIRE_TOKEN_EXPIRATION", [], "false", Flag;
        /// How long a token of `ringway token` lives unless `--exp` says otherwise; 0 for ever.
        token_lifetime: Duration, "TOKEN_EXPIRY", [], "10080", Minutes;
        /// Other issuers whose tokens are good here, each with the audience that its tokens must
        /// have. Their users are found by address; `team_mapping` and `admin_groups` say what their
        /// groups are here.
        issuers: Vec<ExternalIssuer>, "JWT_ISSUERS", [], "", Issuers;
        /// How old the keys of another issuer may become before they are read again. If it does not
        /// answer, they are used for twelve times as long.
        keys_age_max: Duration, "JWKS_CACHE_TTL", [], "300", Seconds { min_ms: 1000, max: DAY };
        /// The shortest time between two readings of an issuer's keys, however many tokens name keys
        /// that are not known.
        keys_pause: Duration, "JWKS_REFETCH_INTERVAL", [], "10",
            Seconds { min_ms: 1000, max: 3600 };
        /// Authorization servers (issuers) whose tokens open `/mcp`, if they are for its address;
        /// clients find them by the protected resource metadata. A virtual server names its own.
        authorization_servers: Vec<String>, "MCP_AUTHORIZATION_SERVERS", [], "[]", UriList;
        /// The scopes that a token of those must have, words with spaces between.
        scopes_required: String, "MCP_REQUIRED_SCOPES", [], "", Words;
        /// How long the token of a login is good.
        session_lifetime: Duration, "SESSION_TOKEN_EXPIRY", [], "1440", Minutes;
        /// The first administrator's password. Unset: a strong one is made and shown once, when the
        /// database has no user yet.
        admin_password: Option<Secret>, "PLATFORM_ADMIN_PASSWORD", [], "", Optional(Hidden);
        /// The first administrator's full name.
        admin_name: String, "PLATFORM_ADMIN_FULL_NAME", [], "Platform Administrator", Text;
        /// Whether the first administrator is made, and people log in with passwords.
        email_enabled: bool, "EMAIL_AUTH_ENABLED", [], "true", Flag;
        /// Whether whoever comes may make a user of their own.
        registration_open: bool, "PUBLIC_REGISTRATION_ENABLED", [], "false", Flag;
        /// Whether each new user gets a team of their own.
        personal_teams: bool, "AUTO_CREATE_PERSONAL_TEAMS", [], "true", Flag;
        /// The fewest characters of a password.
        password_length_min: usize, "PASSWORD_MIN_LENGTH", ["PASSWORD_MIN_LENGTH_USER"], "8",
            Count { min: 1, max: 256 };
        /// Whether a password needs an upper-case letter.
        password_upper: bool, "PASSWORD_REQUIRE_UPPERCASE", [], "false", Flag;
        /// Whether a password needs a lower-case letter.
        password_lower: bool, "PASSWORD_REQUIRE_LOWERCASE", [], "false", Flag;
        /// Whether a password needs a digit.
        password_digit: bool, "PASSWORD_REQUIRE_NUMBERS", [], "false", Flag;
        /// Whether a password needs a character that is neither letter nor digit.
        password_special: bool, "PASSWORD_REQUIRE_SPECIAL", [], "false", Flag;
        /// How often hashing a password fills its memory.
        argon2_time: usize, "ARGON2ID_TIME_COST", [], "3", Count { min: 1, max: 100 };
        /// How much memory hashing a password takes, in KiB.
        argon2_memory: usize, "ARGON2ID_MEMORY_COST", [], "65536", Count { min: 8, max: 4_194_304 };
        /// Over how many lanes hashing a password goes.
        argon2_lanes: usize, "ARGON2ID_PARALLELISM", [], "1", Count { min: 1, max: 64 };
        /// How many passwords are hashed at once; who comes then is answered by 503.
        hashing_count_max: usize, "PASSWORD_HASHING_MAX", [], "4", Count { min: 1, max: 256 };
        /// How often the revocations of tokens that have ended anyway are forgotten.
        revocations_pruned_every: Duration, "TOKEN_REVOCATION_CLEANUP_INTERVAL", [],
            "3600", Seconds { min_ms: 100, max: DAY };
        /// How often in a row a login may fail before the user is locked.
        login_failure_max: usize, "MAX_FAILED_LOGIN_ATTEMPTS", [], "5",
            Count { min: 1, max: 1_000_000 };
        /// How long a user is locked.
        lockout: Duration, "ACCOUNT_LOCKOUT_DURATION_MINUTES", [], "30", Minutes;
        /// How long a login takes at least that fails, in milliseconds, so that the time tells nothing.
        login_failure_ms: usize, "FAILED_LOGIN_MIN_RESPONSE_MS", [], "250",
            Count { min: 0, max: 60_000 };
        /// The user whose tokens (`sub`) are an administrator's.
        admin_email: String, "PLATFORM_ADMIN_EMAIL", [], "admin@example.com", Text;
        /// Whether a token must name a user of the database. If not, a token that is signed as it
        /// should be is believed about a user whom the database does not know.
        user_required: bool, "REQUIRE_USER_IN_DB", [], "false", Flag;
        /// The role of users whom the database does not know, and of new users.
        user_role: String, "DEFAULT_USER_ROLE", [], "platform_viewer", Text;
        /// The role of new administrators.
        admin_role: String, "DEFAULT_ADMIN_ROLE", [], "platform_admin", Text;
        /// The role that owners of a team have in it.
        owner_role: String, "DEFAULT_TEAM_OWNER_ROLE", [], "team_admin", Text;
        /// The role that members of a team have in it.
        member_role: String, "DEFAULT_TEAM_MEMBER_ROLE", [], "viewer", Text;
        /// The secret that credentials of upstreams are encrypted with. Unset: a strong one is
        /// made once and kept in the data folder.
        encryption_secret: Option<Secret>, "AUTH_ENCRYPTION_SECRET", [], "", Optional(Hidden);
        /// How many verified tokens a shard remembers, so that a signature is checked once.
        token_count_max: usize, "TOKEN_CACHE_SIZE", [], "4096", Count { min: 2, max: 1_000_000 };
    }

    /// Which teams there can be, and the roles that are there from the start.
    Teams "Teams and roles" {
        /// Whether users may make teams; administrators always may.
        creation_allowed: bool, "ALLOW_TEAM_CREATION", [], "true", Flag;
        /// Whether people may be invited to teams.
        invitations_allowed: bool, "ALLOW_TEAM_INVITATIONS", [], "true", Flag;
        /// Whether users may ask to join public teams.
        join_requests_allowed: bool, "ALLOW_TEAM_JOIN_REQUESTS", [], "true", Flag;
        /// The most teams that a user may be in, without their own; of whoever is in so many
        /// already, only administrators make more.
        team_count_max: usize, "MAX_TEAMS_PER_USER", [], "50", Count { min: 1, max: 10_000 };
        /// The most members of a team that says nothing else, open invitations included.
        member_count_max: usize, "MAX_MEMBERS_PER_TEAM", [], "100",
            Count { min: 1, max: 100_000 };
        /// The most people that are named when a team is made.
        seed_count_max: usize, "MAX_TEAM_MEMBER_SEEDS", [], "500", Count { min: 1, max: 10_000 };
        /// How many days an invitation, and a request to join, is good for.
        invitation_days: usize, "INVITATION_EXPIRY_DAYS", [], "7", Count { min: 1, max: 3650 };
        /// Whether roles of a file are made at start; those that are there already stay as they are.
        bootstrap_roles: bool, "MCPGATEWAY_BOOTSTRAP_ROLES_IN_DB_ENABLED", [], "false", Flag;
        /// That file: a JSON list of `{"name", "description", "scope", "permissions"}`.
        bootstrap_roles_file: PathBuf, "MCPGATEWAY_BOOTSTRAP_ROLES_IN_DB_FILE", [],
            "additional_roles_in_db.json", FilePath;
    }

    /// Logging in with another provider (SSO). More of them are kept in the database:
    /// `/auth/sso/admin/providers`.
    Sso "Login with other providers" {
        /// Whether people may log in with other providers: `/auth/sso/login/{provider}`.
        enabled: bool, "SSO_ENABLED", [], "false", Flag;
        /// Whether whoever logs in first becomes a user. If not, users must be there before.
        auto_create: bool, "SSO_AUTO_CREATE_USERS", [], "true", Flag;
        /// The domains of the addresses that may log in; none: all that the provider vouches for.
        trusted_domains: Vec<String>, "SSO_TRUSTED_DOMAINS", [], "", TextList;
        /// The domains whose users become administrators.
        admin_domains: Vec<String>, "SSO_AUTO_ADMIN_DOMAINS", [], "", TextList;
        /// Which group of a provider below is which team here, by its id.
        team_mapping: BTreeMap<String, String>, "SSO_TEAM_MAPPING", ["OKTA_GROUP_MAPPING"], "",
            TextMap;
        /// How long a login may take from its beginning until the user is back.
        login_within: Duration, "SSO_LOGIN_TIMEOUT", [], "600", Seconds { min_ms: 10_000, max: 3600 };
        /// Whether people may log in with GitHub.
        github: bool, "SSO_GITHUB_ENABLED", [], "false", Flag;
        /// What we are called there.
        github_client: Option<String>, "SSO_GITHUB_CLIENT_ID", [], "", Optional(Text);
        /// How we prove it.
        github_secret: Option<Secret>, "SSO_GITHUB_CLIENT_SECRET", [], "", Optional(Hidden);
        /// Whether people may log in with Google.
        google: bool, "SSO_GOOGLE_ENABLED", [], "false", Flag;
        /// What we are called there.
        google_client: Option<String>, "SSO_GOOGLE_CLIENT_ID", [], "", Optional(Text);
        /// How we prove it.
        google_secret: Option<Secret>, "SSO_GOOGLE_CLIENT_SECRET", [], "", Optional(Hidden);
        /// The domains whose users become administrators if they log in there.
        google_admin_domains: Vec<String>, "SSO_GOOGLE_ADMIN_DOMAINS", [], "", TextList;
        /// Whether people may log in with Keycloak.
        keycloak: bool, "SSO_KEYCLOAK_ENABLED", [], "false", Flag;
        /// Where it is.
        keycloak_url: Option<String>, "SSO_KEYCLOAK_BASE_URL", [], "", Optional(WebUrl);
        /// The realm.
        keycloak_realm: String, "SSO_KEYCLOAK_REALM", [], "master", Text;
        /// What we are called there.
        keycloak_client: Option<String>, "SSO_KEYCLOAK_CLIENT_ID", [], "", Optional(Text);
        /// How we prove it.
        keycloak_secret: Option<Secret>, "SSO_KEYCLOAK_CLIENT_SECRET", [], "", Optional(Hidden);
        /// The claim with the user's groups; dots lead into objects (`realm_access.roles`).
        keycloak_groups: String, "SSO_KEYCLOAK_GROUPS_CLAIM", [], "groups", Text;
        /// The groups whose members become administrators.
        keycloak_admins: Vec<String>, "SSO_KEYCLOAK_ADMIN_GROUPS", [], "", TextList;
        /// Whether people may log in with Okta.
        okta: bool, "SSO_OKTA_ENABLED", [], "false", Flag;
        /// The organisation, or its authorization server; of an organisation, `/oauth2/default`.
        okta_issuer: Option<String>, "SSO_OKTA_ISSUER", [], "", Optional(WebUrl);
        /// What we are called there.
        okta_client: Option<String>, "SSO_OKTA_CLIENT_ID", [], "", Optional(Text);
        /// How we prove it.
        okta_secret: Option<Secret>, "SSO_OKTA_CLIENT_SECRET", [], "", Optional(Hidden);
        /// What is asked for.
        okta_scope: String, "SSO_OKTA_SCOPE", [], "openid profile email", Words;
        /// Whether people may log in with Microsoft Entra.
        entra: bool, "SSO_ENTRA_ENABLED", [], "false", Flag;
        /// The tenant, by its id; its administrators vouch for the addresses of its users.
        entra_tenant: Option<String>, "SSO_ENTRA_TENANT_ID", [], "", Optional(Text);
        /// What we are called there.
        entra_client: Option<String>, "SSO_ENTRA_CLIENT_ID", [], "", Optional(Text);
        /// How we prove it.
        entra_secret: Option<Secret>, "SSO_ENTRA_CLIENT_SECRET", [], "", Optional(Hidden);
        /// The claim with the user's groups.
        entra_groups: String, "SSO_ENTRA_GROUPS_CLAIM", [], "groups", Text;
        /// The groups, by their ids, whose members become administrators.
        entra_admins: Vec<String>, "SSO_ENTRA_ADMIN_GROUPS", [], "", TextList;
        /// Whether people may log in with any other provider of OpenID Connect.
        generic: bool, "SSO_GENERIC_ENABLED", [], "false", Flag;
        /// Its id, as it stands in addresses.
        generic_id: String, "SSO_GENERIC_PROVIDER_ID", [], "generic", FieldName;
        /// Its name for people; unset: its id.
        generic_name: Option<String>, "SSO_GENERIC_DISPLAY_NAME", [], "", Optional(Text);
        /// Its issuer, whose metadata say where everything is that is not said below.
        generic_issuer: Option<String>, "SSO_GENERIC_ISSUER", [], "", Optional(WebUrl);
        /// Where users are sent.
        generic_authorization: Option<String>, "SSO_GENERIC_AUTHORIZATION_URL", [], "",
            Optional(WebUrl);
        /// Where codes become tokens.
        generic_token: Option<String>, "SSO_GENERIC_TOKEN_URL", [], "", Optional(WebUrl);
        /// Where it tells of a user.
        generic_userinfo: Option<String>, "SSO_GENERIC_USERINFO_URL", [], "", Optional(WebUrl);
        /// Where its keys are.
        generic_keys: Option<String>, "SSO_GENERIC_JWKS_URI", [], "", Optional(WebUrl);
        /// What we are called there.
        generic_client: Option<String>, "SSO_GENERIC_CLIENT_ID", [], "", Optional(Text);
        /// How we prove it.
        generic_secret: Option<Secret>, "SSO_GENERIC_CLIENT_SECRET", [], "", Optional(Hidden);
        /// What is asked for.
        generic_scope: String, "SSO_GENERIC_SCOPE", [], "openid profile email", Words;
        /// The claim with the user's groups.
        generic_groups: String, "SSO_GENERIC_GROUPS_CLAIM", [], "groups", Text;
        /// The groups whose members become administrators.
        generic_admins: Vec<String>, "SSO_GENERIC_ADMIN_GROUPS", [], "", TextList;
    }

    /// Other ways to prove who one is than a token.
    Proof "Other proof than tokens" {
        /// Whether callers prove themselves who they are. If not, a proxy in front does it for them
        /// (`TRUST_PROXY_AUTH`), and their tokens are not looked at.
        clients_prove: bool, "MCP_CLIENT_AUTH_ENABLED", [], "true", Flag;
        /// Whether `TRUSTED_PROXIES` say who the caller is; only with
        /// `MCP_CLIENT_AUTH_ENABLED=false`. Nobody else is believed.
        proxy_believed: bool, "TRUST_PROXY_AUTH", [], "false", Flag;
        /// The field in which they say so. The proxy must take it out of what clients send.
        proxy_user_header: String, "PROXY_USER_HEADER", [], "X-Authenticated-User", FieldName;
        /// Whether the REST API takes `BASIC_AUTH_USER` with `BASIC_AUTH_PASSWORD`, who then is an
        /// administrator.
        basic_allowed: bool, "API_ALLOW_BASIC_AUTH", [], "false", Flag;
        /// Whether the document of the API, `/openapi.json`, takes them.
        docs_basic_allowed: bool, "DOCS_ALLOW_BASIC_AUTH", [], "false", Flag;
        /// The user of basic authentication.
        basic_user: String, "BASIC_AUTH_USER", [], "admin", Text;
        /// The password of this user. There is none unless it is set.
        basic_password: Option<Secret>, "BASIC_AUTH_PASSWORD", [], "", Optional(Hidden);
        /// The certificates, in PEM, of those who sign the certificates of clients. Set: a client
        /// may prove with one who it is.
        client_authorities: Option<PathBuf>, "TLS_CLIENT_CA_FILE", [], "", Optional(FilePath);
        /// Whether no connection comes about without such a certificate.
        certificate_required: bool, "TLS_CLIENT_CERT_REQUIRED", [], "false", Flag;
        /// Which name in it is the user: an address of mail (`email`) or the common name (`cn`).
        certificate_name: CertificateName, "TLS_CLIENT_USER", [], "email",
            check::CERTIFICATE_NAME;
        /// Whether weak secrets keep the gateway from starting on loopback too. Beyond it they
        /// always do.
        strong_secrets_required: bool, "REQUIRE_STRONG_SECRETS", [], "false", Flag;
    }

    /// What the web and the proxies in front of us may do.
    Web "Browsers and proxies" {
        /// The proxies that are believed when they say for whom they speak: that is then the
        /// address in the audit, in rate limits and in what binds tokens to addresses, and the
        /// scheme and host of our own URLs. From everybody else such fields mean nothing.
        trusted_proxies: Vec<Network>, "TRUSTED_PROXIES", [], "", Networks;
        /// In which fields they say so: `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded`
        /// (RFC 7239). The other kind is not looked at, since a proxy hands on what it does not
        /// write.
        forwarded_by: ForwardedBy, "TRUSTED_PROXY_HEADERS", [], "x-forwarded",
            check::FORWARDED_BY;
        /// Whether answers carry the fields that keep browsers from harm.
        headers_enabled: bool, "SECURITY_HEADERS_ENABLED", [], "true", Flag;
        /// Whose pages may show ours in a frame.
        framing: Framing, "X_FRAME_OPTIONS", [], "DENY", check::FRAMING;
        /// Whether answers over https tell browsers never to come without (HSTS).
        hsts_enabled: bool, "HSTS_ENABLED", [], "true", Flag;
        /// For how many seconds they should keep to it.
        hsts_age_max_s: usize, "HSTS_MAX_AGE", [], "31536000",
            Count { min: 0, max: 10 * 366 * 24 * 60 * 60 };
        /// Whether that holds for all hosts below ours.
        hsts_subdomains: bool, "HSTS_INCLUDE_SUBDOMAINS", [], "true", Flag;
        /// Whether pages of `ALLOWED_ORIGINS`, and those that always may call, can read the answers
        /// (CORS).
        cors_enabled: bool, "CORS_ENABLED", [], "true", Flag;
        /// Whether browsers send cookies with their calls: for the pages that `ALLOWED_ORIGINS` and
        /// `APP_DOMAIN` name, never for `*`.
        cors_credentials: bool, "CORS_ALLOW_CREDENTIALS", [], "true", Flag;
        /// Whether our cookies need https. Over https they always do, and on loopback never.
        secure_cookies: bool, "SECURE_COOKIES", [], "true", Flag;
        /// With which requests of other sites browsers send our cookies.
        same_site: SameSite, "COOKIE_SAMESITE", [], "lax", check::SAME_SITE;
        /// Whether a change that only a cookie proves the caller of needs a token against forged
        /// requests, from `GET /auth/csrf-token`.
        csrf_enabled: bool, "CSRF_ENABLED", [], "true", Flag;
        /// How long such a token is good; twice as long at most.
        csrf_lifetime: Duration, "CSRF_TOKEN_EXPIRY", [], "3600",
            Seconds { min_ms: 1000, max: DAY };
        /// The field that it is sent back in.
        csrf_header: String, "CSRF_TOKEN_NAME", [], "X-CSRF-Token", FieldName;
        /// The cookie that it is kept in.
        csrf_cookie: String, "CSRF_COOKIE_NAME", [], "mcpgateway_csrf_token", FieldName;
    }

    /// Which web pages and which names may reach us: the guard against DNS rebinding.
    Origins "Origin and Host" {
        /// Pages that may call from a browser. Those on loopback, on the address listened on, on
        /// `APP_DOMAIN` and on an allowed host always may.
        allowed_origins: Allowed<Origin>, "ALLOWED_ORIGINS", [], "", OriginList;
        /// What the `Host` header may name; without a port, on any. Loopback, `APP_DOMAIN` and
        /// every IP address (which no name can be rebound to) always are. Unset while listening
        /// beyond loopback: anything, since the names that lead here are not known; the origin
        /// is checked all the same.
        allowed_hosts: Allowed<HostRule>, "ALLOWED_HOSTS", [], "", Hosts;
        /// The address that users know the gateway by, as `https://mcp.example.com`.
        app_domain: Option<Origin>, "APP_DOMAIN", [], "", Optional(OneOrigin);
    }

    /// How upstreams are called.
    Upstreams "Upstreams" {
        /// How long a tool call may take in all.
        tool_timeout: Duration, "TOOL_TIMEOUT", [], "60", Seconds { min_ms: 10, max: DAY };
        /// How long a task of an upstream of revision 2025-11-25 is followed for a client that asked
        /// for one, and how long its result is kept. Clients that ask for none wait for it as for
        /// any tool call.
        task_timeout: Duration, "TASK_TIMEOUT", [], "3600", Seconds { min_ms: 100, max: DAY };
        /// How long any other request to an upstream may take in all.
        request_timeout: Duration, "FEDERATION_TIMEOUT", [], "120",
            Seconds { min_ms: 10, max: DAY };
        /// How long connecting may take, the TLS handshake included.
        connect_timeout: Duration, "UPSTREAM_CONNECT_TIMEOUT", ["HTTPX_CONNECT_TIMEOUT"], "5",
            Seconds { min_ms: 10, max: DAY };
        /// How long an upstream may take until the first byte of its answer. Unset: only the
        /// limits in all hold.
        first_byte_timeout: Option<Duration>, "UPSTREAM_FIRST_BYTE_TIMEOUT",
            ["HTTPX_READ_TIMEOUT"], "", Optional(Seconds { min_ms: 10, max: DAY });
        /// The most connections of a shard to one upstream.
        connection_count_max: usize, "UPSTREAM_MAX_CONNECTIONS", ["HTTPX_MAX_CONNECTIONS"], "200",
            Count { min: 1, max: 65_536 };
        /// The most of them that are kept open while idle.
        idle_count_max: usize, "UPSTREAM_MAX_IDLE_CONNECTIONS",
            ["HTTPX_MAX_KEEPALIVE_CONNECTIONS"], "100", Count { min: 0, max: 65_536 };
        /// How long an idle connection is kept. Shorter than upstreams keep theirs (many 5 seconds),
        /// or calls meet connections that are closing; what an upstream says itself wins.
        idle_timeout: Duration, "UPSTREAM_IDLE_TIMEOUT", ["HTTPX_KEEPALIVE_EXPIRY"], "4",
            Seconds { min_ms: 0, max: DAY };
        /// How long a call may wait for a connection while all are in use.
        pool_timeout: Duration, "UPSTREAM_POOL_TIMEOUT", ["HTTPX_POOL_TIMEOUT"], "10",
            Seconds { min_ms: 0, max: DAY };
        /// The most calls of a shard that wait for a connection to one upstream; one more is
        /// answered 503.
        waiting_count_max: usize, "UPSTREAM_MAX_WAITING", [], "1024",
            Count { min: 0, max: 65_536 };
        /// The largest answer of an upstream, and the largest event of a stream.
        answer_size_max: usize, "UPSTREAM_MAX_ANSWER_SIZE_BYTES", [], "16777216",
            Size { min: 1024, max: BODY };
        /// The most sessions that a shard has with one upstream for clients that can be asked
        /// something, or for users (`session_mode` `per_client`). Of more, the longest unused ends;
        /// if all are in use, a call is answered 503.
        session_count_max: usize, "UPSTREAM_SESSIONS_MAX", [], "1000",
            Count { min: 1, max: 65_536 };
        /// The most child processes that one command has for such clients, beside its first.
        child_count_max: usize, "STDIO_PROCESSES_MAX", [], "16", Count { min: 1, max: 1000 };
        /// How long such a session or child process is kept that nobody uses.
        session_idle_timeout: Duration, "UPSTREAM_SESSION_IDLE_TIMEOUT", [], "600",
            Seconds { min_ms: 10, max: DAY };
        /// Whether to listen to what upstreams say by themselves: lists that changed, which are read
        /// again then, and resources. Each process keeps a connection to each upstream open for it.
        watched: bool, "UPSTREAM_WATCH_ENABLED", [], "true", Flag;
        /// Whether an administrator may register commands that the gateway runs. `auto`: only
        /// while it listens on loopback.
        stdio: Switch, "ALLOW_STDIO_UPSTREAMS", [], "auto", AutoFlag;
        /// The pause before a command that ended is started again; doubled each time it fails.
        restart_delay_min: Duration, "STDIO_RESTART_DELAY", [], "1",
            Seconds { min_ms: 10, max: DAY };
        /// The longest such pause.
        restart_delay_max: Duration, "STDIO_RESTART_MAX_DELAY", [], "60",
            Seconds { min_ms: 10, max: DAY };
        /// Whether upstreams may be on loopback. `auto`: only while the gateway listens there.
        localhost: Switch, "SSRF_ALLOW_LOCALHOST", [], "auto", AutoFlag;
        /// Whether upstreams may be in private networks. `auto`: only while the gateway listens
        /// on loopback. Metadata services and link-local addresses are refused always.
        private_networks: Switch, "SSRF_ALLOW_PRIVATE_NETWORKS", [], "auto", AutoFlag;
    }

    /// How the services of REST tools are called, beside what holds for all upstreams.
    Rest "REST tools" {
        /// How often a request is sent at most, if it failed in a way that may pass (no connection,
        /// or status 408, 429, 502, 503 or 504). One that must not be executed twice is only sent
        /// again if the service cannot have received it.
        attempt_count_max: usize, "RETRY_MAX_ATTEMPTS", [], "3", Count { min: 1, max: 100 };
        /// The pause before the second attempt; doubled with each.
        retry_delay: Duration, "RETRY_BASE_DELAY", [], "1.0", Seconds { min_ms: 0, max: 600 };
        /// The longest such pause, also if the service asks for a longer one.
        retry_delay_max: Duration, "RETRY_MAX_DELAY", [], "60", Seconds { min_ms: 0, max: 3600 };
        /// By which part of itself a pause is lengthened at random, at most.
        retry_jitter: f64, "RETRY_JITTER_MAX", [], "0.5", Fraction;
        /// How long the filter of an answer (`jsonpath_filter`, a program of jq) may run.
        filter_timeout: Duration, "REST_FILTER_TIMEOUT", [], "1",
            Seconds { min_ms: 10, max: 600 };
    }

    /// How upstreams are watched. One of all processes on a database does it.
    Health "Health checks" {
        /// How often every upstream that is switched on is asked for a sign of life; not all at
        /// the same moment.
        interval: Duration, "HEALTH_CHECK_INTERVAL", [], "60", Seconds { min_ms: 10, max: DAY };
        /// How long a check may take.
        timeout: Duration, "HEALTH_CHECK_TIMEOUT", [], "10", Seconds { min_ms: 10, max: DAY };
        /// How many checks in a row must fail until the upstream leaves the lists; the first that
        /// passes brings it back, with its lists read again. `-1` switches the checks off.
        threshold: Option<u32>, "UNHEALTHY_THRESHOLD", [], "3", Threshold { max: 1000 };
        /// The most checks at the same time.
        concurrency: usize, "HEALTH_CHECK_CONCURRENCY", [], "10", Count { min: 1, max: 1000 };
        /// How long a process that has died or frozen keeps others from taking over its checks. It
        /// renews its lease at a third of this.
        lease: Duration, "LEADER_LEASE_SECONDS", [], "15", Seconds { min_ms: 300, max: 3600 };
    }

    /// What is said of the gateway, and how much is listed at once.
    Catalog "Catalog" {
        /// The name that clients are told (`serverInfo.name`).
        app_name: String, "APP_NAME", [], "Ringway", Text;
        /// What stands between the upstream's name and the tool's.
        separator: &'static str, "GATEWAY_TOOL_NAME_SEPARATOR", [], "-", check::SEPARATOR;
        /// The longest name of an upstream, a virtual server or a tool, in characters.
        name_length_max: usize, "VALIDATION_MAX_NAME_LENGTH", [], "255",
            Count { min: 16, max: 4096 };
        /// The longest URL, in characters.
        url_length_max: usize, "VALIDATION_MAX_URL_LENGTH", [], "2048",
            Count { min: 64, max: 65_536 };
        /// The longest description, in characters.
        description_length_max: usize, "VALIDATION_MAX_DESCRIPTION_LENGTH", [], "8192",
            Count { min: 64, max: 1 << 20 };
        /// Whether arguments of a tool call are checked against the tool's `inputSchema`, so that
        /// the model hears at once which one is wrong and why. Can be off for a tool by itself.
        arguments_checked: bool, "TOOL_ARGUMENT_VALIDATION", [], "true", Flag;
        /// Whether there are A2A agents: their routes, and the tools that they are offered as.
        a2a_enabled: bool, "MCPGATEWAY_A2A_ENABLED", [], "true", Flag;
        /// How many tools a shard keeps the compiled schemas of.
        schema_count_max: usize, "SCHEMA_CACHE_SIZE", [], "1024", Count { min: 2, max: 1_000_000 };
        /// Roots that exist from the start; those that are there already stay as they are.
        default_roots: Vec<String>, "DEFAULT_ROOTS", [], "[]", UriList;
        /// The largest content of a resource of its own, in bytes.
        resource_size_max: usize, "CONTENT_MAX_RESOURCE_SIZE", ["MAX_RESOURCE_SIZE"], "102400",
            Size { min: 1024, max: BODY };
        /// The largest template of a prompt of its own, in bytes.
        prompt_size_max: usize, "CONTENT_MAX_PROMPT_SIZE", ["MAX_PROMPT_SIZE"], "10240",
            Size { min: 256, max: BODY };
        /// How many prompts of its own a shard keeps the compiled templates of.
        prompt_count_max: usize, "PROMPT_CACHE_SIZE", [], "100", Count { min: 1, max: 1_000_000 };
        /// How many entries a page of an MCP list has. Many clients read the first page only.
        mcp_page_count_max: usize, "MCP_LIST_PAGE_SIZE", [], "1000", Count { min: 1, max: 100_000 };
        /// How many entries a page of the REST API has unless `limit` says otherwise.
        page_count: usize, "PAGINATION_DEFAULT_PAGE_SIZE", [], "50", Count { min: 1, max: 100_000 };
        /// The largest `limit`.
        page_count_max: usize, "PAGINATION_MAX_PAGE_SIZE", [], "500",
            Count { min: 1, max: 100_000 };
        /// The most tools of one bulk import (`POST /tools/bulk`, `POST /admin/tools/import`).
        bulk_count_max: usize, "MCPGATEWAY_BULK_IMPORT_MAX_TOOLS", [], "200",
            Count { min: 1, max: 10_000 };
    }

    /// What is kept, and where.
    Storage "Storage" {
        /// The folder of the embedded database and of the secrets that were made; created with
        /// access for its owner alone.
        data_dir: PathBuf, "RINGWAY_DATA_DIR", [], "./ringway-data", FilePath;
        /// The database, as `sqlite:////var/lib/ringway/ringway.db` or
        /// `postgresql://user:password@host:5432/name?sslmode=verify-full`. Unset: `ringway.db` in
        /// the data folder. Behind PgBouncer in transaction mode add `pooler=transaction`.
        database_url: Option<Secret>, "DATABASE_URL", [], "", Optional(DatabaseUrl);
        /// Whether missing migrations run at start. If not, run `ringway migrate` before.
        migrate_on_start: bool, "MIGRATE_ON_START", [], "true", Flag;
        /// The most connections of this process to PostgreSQL, divided over its shards; each has
        /// at least one.
        pool_size: usize, "DB_POOL_SIZE", [], "20", Count { min: 1, max: 10_000 };
        /// How many more may be opened for a while when all of those are in use, divided likewise.
        pool_overflow: usize, "DB_MAX_OVERFLOW", [], "10", Count { min: 0, max: 10_000 };
        /// How long a request may wait for a connection; then it is answered 503.
        pool_timeout: Duration, "DB_POOL_TIMEOUT", [], "30", Seconds { min_ms: 10, max: DAY };
        /// How old a connection may become before another takes its place.
        pool_recycle: Duration, "DB_POOL_RECYCLE", [], "3600",
            Seconds { min_ms: 1000, max: 30 * DAY };
        /// How often connecting is tried at start before the gateway gives up.
        retry_count_max: usize, "DB_MAX_RETRIES", [], "30", Count { min: 1, max: 10_000 };
        /// The pause between two of these tries, in milliseconds.
        retry_interval_ms: usize, "DB_RETRY_INTERVAL_MS", [], "2000",
            Count { min: 1000, max: 600_000 };
        /// How long connecting to the database may take.
        connect_timeout: Duration, "DB_CONNECT_TIMEOUT", [], "5",
            Seconds { min_ms: 10, max: DAY };
        /// How long a statement may take; then the request is answered 503.
        statement_timeout: Duration, "DB_STATEMENT_TIMEOUT", [], "10",
            Seconds { min_ms: 10, max: DAY };
        /// How often the change feed is read without a notice, so that a lost one costs no more
        /// than this; whether the database is there is known as fast.
        change_poll_interval: Duration, "CHANGE_POLL_INTERVAL", [], "0.5",
            Seconds { min_ms: 10, max: DAY };
        /// Whether `/ready` answers 503 while the database is away. Without, a load balancer goes
        /// on sending lists and calls, which need no database.
        ready_requires_database: bool, "READY_REQUIRES_DATABASE", [], "true", Flag;
    }

    /// Sessions of clients of the revisions with a handshake.
    Sessions "Sessions" {
        /// Whether clients of the revisions with a handshake get a session (`Mcp-Session-Id`), and
        /// with it a stream of their own, subscriptions, questions of servers and answers that can be
        /// taken up again. Any process serves any session. Without, every request stands alone.
        is_on: bool, "USE_STATEFUL_SESSIONS", [], "true", Flag;
        /// Whether an answer with nothing before it is plain JSON. Without, it is an event of a stream
        /// for every client that takes those.
        json_response: bool, "JSON_RESPONSE_ENABLED", [], "true", Flag;
        /// How long a session lives that is not used.
        ttl: Duration, "SESSION_TTL", [], "3600", Seconds { min_ms: 1000, max: 30 * DAY };
        /// How long the messages of a stream are kept for a client that lost its connection.
        message_ttl: Duration, "MESSAGE_TTL", [], "600", Seconds { min_ms: 1000, max: DAY };
        /// How long a client that lost a stream waits until it comes back, in milliseconds.
        retry_ms: usize, "SSE_RETRY_TIMEOUT", [], "5000", Count { min: 10, max: 600_000 };
        /// How long a client, or the person before it, may take to answer a question of a server.
        answer_timeout: Duration, "CLIENT_ANSWER_TIMEOUT", [], "300",
            Seconds { min_ms: 100, max: DAY };
    }

    /// What several gateways share for a while, and how one tells the others of a change.
    Cache "Shared state" {
        /// Where shared state is kept. `memory`: in this process. `redis`: in Redis, so that
        /// several gateways on one database are one gateway. `database` and `none` are accepted
        /// for manifests made for ContextForge, and mean `memory`.
        cache_type: ::storage::shared::CacheType, "CACHE_TYPE", [], "memory", check::CACHE_TYPE;
        /// Where Redis is, as `redis://user:password@host:6379/0`; also `rediss://`, `unix://`,
        /// `redis+sentinel://host,host/service` and `redis://host,host?cluster=true`. Unset:
        /// `redis://localhost:6379/0`.
        redis_url: Option<Secret>, "REDIS_URL", [], "", Optional(RedisUrl);
        /// What every key and channel in Redis begins with.
        prefix: String, "CACHE_PREFIX", [], "mcpgw:", Text;
        /// How often Redis is tried at start before the gateway goes on without and says so; the
        /// attempts go on.
        retry_count_max: usize, "REDIS_MAX_RETRIES", [], "3", Count { min: 1, max: 10_000 };
        /// The pause between two attempts to reach Redis, in milliseconds.
        retry_interval_ms: usize, "REDIS_RETRY_INTERVAL_MS", [], "2000",
            Count { min: 10, max: 600_000 };
        /// How long a command to Redis, or connecting, may take.
        command_timeout: Duration, "REDIS_COMMAND_TIMEOUT", [], "1",
            Seconds { min_ms: 10, max: 60 };
        /// The most commands of a shard that wait for Redis; one more fails at once.
        queue_count_max: usize, "REDIS_MAX_IN_FLIGHT", [], "1024", Count { min: 1, max: 65_536 };
        /// The most keys that are kept in memory.
        entry_count_max: usize, "MEMORY_STATE_MAX_ENTRIES", [], "100000",
            Count { min: 16, max: 100_000_000 };
        /// The most bytes that are kept in memory.
        size_max: usize, "MEMORY_STATE_MAX_BYTES", [], "67108864",
            Size { min: 65_536, max: 64 << 30 };
        /// How often this process says that it lives; after three times that without a sign, the
        /// others release what it held.
        node_heartbeat: Duration, "NODE_HEARTBEAT_INTERVAL", [], "2",
            Seconds { min_ms: 100, max: 600 };
    }

    /// What is counted of tools, resources, prompts, virtual servers and agents.
    Metrics "Metrics" {
        /// Whether executions are counted.
        recorded: bool, "DB_METRICS_RECORDING_ENABLED", [], "true", Flag;
        /// Whether executions of A2A agents are counted besides those of their tools.
        agents_recorded: bool, "MCPGATEWAY_A2A_METRICS_ENABLED", [], "true", Flag;
        /// How often counts are written to the database. Asking for metrics writes those of this
        /// process at once, so what is told lags behind by what other processes hold back.
        flush_interval: Duration, "METRICS_BUFFER_FLUSH_INTERVAL", [], "5",
            Seconds { min_ms: 100, max: 3600 };
        /// The most tools and other entities whose counts wait to be written. Half as many on a
        /// shard are written at once; beyond it, while the database is away, executions are lost.
        entity_count_max: usize, "METRICS_BUFFER_MAX_SIZE", [], "10000",
            Count { min: 10, max: 1_000_000 };
    }

    /// The audit trail: who did what to which entity, and who was refused.
    Audit "Audit" {
        /// Whether an audit trail is kept: every change by the REST API with what was there before
        /// and after, every request that was refused and why, every login, and the calls that
        /// `AUDIT_CALLS` names. Secrets are masked.
        is_on: bool, "AUDIT_TRAIL_ENABLED", ["AUDIT_ENABLED"], "true", Flag;
        /// Which calls of tools, prompts and resources it tells of. `all` costs a row of the
        /// database for each call, so that the database and not the gateway decides how many calls
        /// a second can be told of; what comes faster is dropped and counted.
        calls: AuditCalls, "AUDIT_CALLS", [], "denied", check::AUDIT_CALLS;
        /// What it keeps of the arguments of calls: all but secrets, their SHA-256, or nothing.
        arguments: AuditArguments, "AUDIT_ARGUMENTS", [], "hash", check::AUDIT_ARGUMENTS;
        /// How often entries are written to the database. Reading the trail writes those of this
        /// process at once.
        flush_interval: Duration, "AUDIT_FLUSH_INTERVAL", [], "1",
            Seconds { min_ms: 100, max: 3600 };
        /// The most entries of a shard that wait to be written. Half as many are written at once;
        /// beyond it, while the database is away, new ones are dropped and counted.
        entry_count_max: usize, "AUDIT_BUFFER_MAX_SIZE", [], "10000",
            Count { min: 10, max: 1_000_000 };
        /// How many days entries are kept; 0 for ever.
        retention_days: usize, "AUDIT_RETENTION_DAYS", [], "90", Count { min: 0, max: 36_500 };
    }

    /// How often callers may do things. ContextForge's tiers by their names, of which only those
    /// that guard passwords and tokens are on from the start; and rates of uses: calls of tools,
    /// reads of resources, prompts that are got.
    RateLimits "Rate limits" {
        /// Whether requests and uses are counted at all.
        enabled: bool, "RATE_LIMITING_ENABLED", [], "true", Flag;
        /// Where they are counted. `shared`: over all gateways that share Redis, exactly; while it
        /// is away, and without it, as `process`: over the shards of each.
        scope: Scope, "RATE_LIMIT_SCOPE", [], "shared", check::SCOPE;
        /// Requests in a minute to log in, to register or to reset a password, from one address.
        critical_count: Option<u32>, "RATE_LIMIT_CRITICAL_RPM", [], "10", PerMinute;
        /// How many more of them may come at once.
        critical_burst: usize, "RATE_LIMIT_CRITICAL_BURST", [], "0", Count { min: 0, max: 1_000_000 };
        /// Requests in a minute about tokens, OAuth and roles, of one caller.
        high_count: Option<u32>, "RATE_LIMIT_HIGH_RPM", [], "30", PerMinute;
        /// How many more of them may come at once.
        high_burst: usize, "RATE_LIMIT_HIGH_BURST", [], "0", Count { min: 0, max: 1_000_000 };
        /// Requests in a minute of MCP, and about tools, prompts, resources, virtual servers,
        /// upstreams and agents, of one caller.
        medium_count: Option<u32>, "RATE_LIMIT_MEDIUM_RPM", [], "0", PerMinute;
        /// How many more of them may come at once.
        medium_burst: usize, "RATE_LIMIT_MEDIUM_BURST", [], "20", Count { min: 0, max: 1_000_000 };
        /// Any other requests in a minute, of one caller; probes are never counted.
        low_count: Option<u32>, "RATE_LIMIT_LOW_RPM", [], "0", PerMinute;
        /// How many more of them may come at once.
        low_burst: usize, "RATE_LIMIT_LOW_BURST", [], "100", Count { min: 0, max: 1_000_000 };
        /// How often each caller may use something.
        by_caller: Option<Rate>, "RATE_LIMIT_PER_CALLER", [], "", Optional(RateText);
        /// How often all tokens together that act for one team alone may use something.
        by_team: Option<Rate>, "RATE_LIMIT_PER_TEAM", [], "", Optional(RateText);
        /// How often something may be used by each token that has an id.
        by_token: Option<Rate>, "RATE_LIMIT_PER_TOKEN", [], "", Optional(RateText);
        /// How often each tool may be called, by all callers together.
        by_tool: Option<Rate>, "RATE_LIMIT_PER_TOOL", [], "", Optional(RateText);
        /// How often something may be used through each virtual server, by all callers together.
        by_server: Option<Rate>, "RATE_LIMIT_PER_SERVER", [], "", Optional(RateText);
        /// The most calls of this process to one tool at the same time; more wait as for a
        /// connection (`UPSTREAM_POOL_TIMEOUT`), and are answered 503 then. Unset: any number.
        call_count_max: Option<usize>, "TOOL_CONCURRENT_LIMIT", [], "",
            Optional(Count { min: 1, max: 65_536 });
    }

    /// What is written about it all, to the standard error.
    Log "Logs" {
        /// What is worth a line.
        level: String, "LOG_LEVEL", [], "info", Level;
        /// How a line looks. `auto`: text on a terminal, JSON otherwise.
        format: LogFormat, "LOG_FORMAT", [], "auto", check::LOG_FORMAT;
    }
}
