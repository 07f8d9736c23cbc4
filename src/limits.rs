//! Every bound that is not a setting, in one place; bounds that lean on each other are compared.

use std::time::Duration;

/// Rendered list pages that a shard keeps, over all endpoints.
pub const PAGE_COUNT_MAX: usize = 1024;

/// Bytes of rendered list pages that a shard keeps, over all endpoints.
pub const PAGE_SIZE_TOTAL_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a cursor that a client may send.
pub const CURSOR_SIZE_MAX: usize = 1024;

/// Sessions that a shard remembers; the others are looked up when they are used.
pub const SESSION_KNOWN_COUNT_MAX: usize = 20_000;

/// Resources that a session may be subscribed to.
pub const SESSION_URI_COUNT_MAX: usize = 1000;

/// Bytes of messages between shards of which parts are still to come, on each shard and topic.
pub const PARCELS_SIZE_MAX: usize = 64 << 20;

/// Tasks that one stream listens to.
pub const LISTENED_TASK_COUNT_MAX: usize = 100;

/// Changed resources that wait to be told of on a stream.
pub const UPDATES_WAITING_COUNT_MAX: usize = 1024;

/// Resources of one upstream of which it is asked to tell when they change: all of them are named in one
/// request of the stateless revision.
pub const WATCHED_URI_COUNT_MAX: usize = 4096;

/// Upstreams that a shard listens to, each by a connection of its own; of those beyond, only what is
/// read from them on other occasions is known.
pub const WATCH_COUNT_MAX: usize = 1024;

/// Questions of upstreams that wait for clients, on a shard.
pub const ASK_COUNT_MAX: usize = 10_000;

/// Calls that wait for their clients to come back, on a shard.
pub const PARKED_COUNT_MAX: usize = 10_000;

/// How long the state of a request that an upstream asked something for is good.
pub const REQUEST_STATE_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Messages of a stream that are kept for a client that comes back.
pub const LOG_COUNT_MAX: usize = 256;

/// Messages of a stream that wait for its client to read.
pub const STREAM_WAITING_COUNT_MAX: usize = 64;

/// Requests of one conversation that run at the same time.
pub const CONVERSATION_CALL_COUNT_MAX: usize = 64;

/// Answers and notifications of one client that are looked at at the same time. Each is one step, or
/// a word to another shard.
pub const CONVERSATION_NOTE_COUNT_MAX: usize = 256;

/// Messages of one JSON-RPC batch: more at once than any client runs, and a bound to what one body
/// sets going.
pub const RPC_BATCH_COUNT_MAX: usize = 100;

/// Messages that may wait in a shard's mailbox: stdio calls of other shards, and new catalogs.
pub const MAILBOX_COUNT_MAX: usize = 4096;

/// Writers that may wait for the keeper of the catalog.
pub const KEEPER_COUNT_MAX: usize = 1024;

/// Requests for metrics that may wait for the recorder.
pub const RECORDER_COUNT_MAX: usize = 1024;

/// Entities whose metrics are stored in one transaction: some ten milliseconds of SQLite, so that a
/// writer of records hardly waits.
pub const METRIC_BATCH_COUNT_MAX: usize = 500;

/// Readers of the audit trail that may wait for the auditor.
pub const AUDITOR_COUNT_MAX: usize = 1024;

/// Entries of the audit trail that are stored in one transaction: some ten milliseconds of SQLite.
pub const AUDIT_BATCH_COUNT_MAX: usize = 500;

/// Bytes of entries that wait on a shard to be stored.
pub const AUDIT_BUFFER_SIZE_MAX: usize = 32 * 1024 * 1024;

/// Bytes of the JSON that an entry keeps of a record, before or after, and of arguments. Of more only
/// the digest is kept.
pub const AUDIT_JSON_SIZE_MAX: usize = 64 * 1024;

/// Bytes of any other text of an entry; longer ones are cut.
pub const AUDIT_TEXT_SIZE_MAX: usize = 1024;

/// Entries that are read at once.
pub const AUDIT_PAGE_COUNT_MAX: usize = 1000;

/// Entries of one answer of an export, and about the bytes of it: an entry more may fit in.
pub const AUDIT_EXPORT_COUNT_MAX: usize = 10_000;
/// See [`AUDIT_EXPORT_COUNT_MAX`].
pub const AUDIT_EXPORT_SIZE_MAX: usize = 8 * 1024 * 1024;

/// Entries that are pruned in one transaction, and transactions before the auditor looks after
/// others again.
pub const AUDIT_PRUNE_COUNT_MAX: usize = 2000;
/// See [`AUDIT_PRUNE_COUNT_MAX`].
pub const AUDIT_PRUNE_STEP_COUNT_MAX: usize = 20;

/// Bytes of a body on the REST paths that are not a setting of their own.
pub const REST_BODY_SIZE_MAX: u64 = 4 * 1024 * 1024;

/// Records that `limit=0` lists at once: some forty megabytes of JSON. Of more, `include_pagination`
/// gives a cursor.
pub const LIST_COUNT_MAX: usize = 25_000;

/// Values of an answer that was reshaped by `apijsonpath`: more than a list of whole records has.
pub const RESHAPED_VALUE_COUNT_MAX: usize = 2_000_000;

/// Origins of REST tools to which a shard keeps connections.
pub const REST_ORIGIN_COUNT_MAX: usize = 256;

/// Redirects that are followed for one call of a REST tool.
pub const REST_REDIRECT_COUNT_MAX: usize = 5;
/// Bytes of a JSON Schema that values are checked by.
pub const SCHEMA_SIZE_MAX: usize = 256 * 1024;

/// How deeply the JSON of a schema may nest. It is compiled by recursion, on the stack of a shard.
pub const SCHEMA_DEPTH_MAX: usize = 64;

/// Subschemas that one check may apply, over all places of the value: a few tenths of a second.
pub const SCHEMA_EFFORT_MAX: u64 = 8_000_000;

/// Things wrong with a value that are listed.
pub const VIOLATION_COUNT_MAX: usize = 10;

/// Bytes of an OpenAPI document. The largest that are published have about 13 MB.
pub const OPENAPI_SIZE_MAX: usize = 16 * 1024 * 1024;

/// Operations of an OpenAPI document.
pub const OPERATION_COUNT_MAX: usize = 5000;

/// Bytes of the schema of an answer that is kept with a tool. Larger ones describe whole data models
/// and help no model.
pub const OUTPUT_SCHEMA_SIZE_MAX: usize = 64 * 1024;

/// Bytes of the file of roles that are made at start.
pub const ROLES_FILE_SIZE_MAX: u64 = 1024 * 1024;

/// Roles that there can be.
pub const ROLE_COUNT_MAX: usize = 1000;

/// Roles that one user can have been given.
pub const GRANT_COUNT_MAX: usize = 1000;

/// Requests to join one team that wait for an answer.
pub const JOIN_REQUEST_COUNT_MAX: usize = 1000;

/// Bytes of a YAML document.
pub const YAML_SIZE_MAX: usize = 16 * 1024 * 1024;

/// Values in a YAML document, its aliases replaced by what they stand for.
pub const YAML_NODE_COUNT_MAX: usize = 2_000_000;

/// How deeply a YAML document may nest.
pub const YAML_DEPTH_MAX: usize = 100;

/// Bytes of the expression of a policy.
pub const POLICY_TEXT_SIZE_MAX: usize = 4096;

/// Parts of the expression of a policy, its macros expanded.
pub const POLICY_NODE_COUNT_MAX: usize = 1000;

/// How deeply the expression of a policy may nest. It is read and run by recursion, on the stack of
/// a shard.
pub const POLICY_DEPTH_MAX: usize = 40;

/// Bytes of a compiled pattern in the expression of a policy.
pub const POLICY_PATTERN_SIZE_MAX: usize = 256 * 1024;

/// Steps that all policies together may take for one request: a few milliseconds at the worst. A
/// typical policy takes ten.
pub const POLICY_STEP_COUNT_MAX: usize = 50_000;

/// Policies that there may be. Every one that is about an action is asked.
pub const POLICY_COUNT_MAX: usize = 1000;

/// Keys whose rates a process counts by itself: some ten megabytes.
pub const RATE_KEY_COUNT_MAX: usize = 65_536;

/// Bytes of what a key of a rate tells of somebody; what is longer is told by its hash.
pub const RATE_KEY_SIZE_MAX: usize = 256;

/// Calls that may wait for their turn at one tool.
pub const TURN_WAIT_COUNT_MAX: usize = 1024;

const _: () = {
    // A full page of the largest tools must fit what is kept at all, or it would be rendered anew
    // for every request.
    assert!(PAGE_SIZE_TOTAL_MAX / PAGE_COUNT_MAX >= 16 * 1024);
    // Every writer waits for one message per shard; the mailbox must take them beside the calls.
    assert!(MAILBOX_COUNT_MAX > KEEPER_COUNT_MAX);
};
