//! What is asked of the store and what it tells: mutations, changes, snapshots.

use std::sync::Arc;

use crate::record::{Agent, Entity, Gateway, Identity, Prompt, Resource, Root, Server, Tool};

/// One step of a transaction (see [`crate::Store::apply`]).
///
/// A put writes the whole record, as given, whether or not its id exists. What a record refers to
/// must stand before it: a gateway before its tools, tools before the servers that choose them.
/// Names are compared step by step too, so what gives a name up stands before what takes it.
///
/// Deleting a gateway deletes its tools, resources and prompts, deleting an agent its tool, deleting
/// a virtual server its policies. Deleting anything takes its id out of the servers that chose it; such a server gets a version one higher and a new
/// `updated_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// Nothing of the transaction happens unless this record exists with this `audit.version`.
    Expect {
        /// What kind of record.
        entity: Entity,
        /// Its id.
        id: String,
        /// The version that the caller read.
        version: i64,
    },
    /// Nothing of the transaction happens unless this lease still has this token and has not
    /// expired (see [`crate::Store::hold_lease`]).
    Fence {
        /// The name of the lease.
        name: String,
        /// The token that taking it gave.
        token: i64,
    },
    /// Writes a gateway.
    PutGateway(Box<Gateway>),
    /// Deletes a gateway and all that it offers.
    DeleteGateway(String),
    /// Writes a tool.
    PutTool(Box<Tool>),
    /// Deletes a tool.
    DeleteTool(String),
    /// Writes a resource.
    PutResource(Box<Resource>),
    /// Deletes a resource.
    DeleteResource(String),
    /// Writes a prompt.
    PutPrompt(Box<Prompt>),
    /// Deletes a prompt.
    DeletePrompt(String),
    /// Writes a virtual server.
    PutServer(Box<Server>),
    /// Deletes a virtual server.
    DeleteServer(String),
    /// Writes an A2A agent.
    PutAgent(Box<Agent>),
    /// Deletes an A2A agent and its tool.
    DeleteAgent(String),
    /// Writes a root.
    PutRoot(Box<Root>),
    /// Deletes a root.
    DeleteRoot(String),
    /// Writes a record of who there is or what they may do.
    PutIdentity(Identity),
    /// Deletes a record of who there is or what they may do; a team with its members, invitations,
    /// requests and tokens, a role with those who have it.
    DeleteIdentity {
        /// What kind of record.
        entity: Entity,
        /// Its id.
        id: String,
    },
}

/// A record as it stands, or the news that it is gone.
///
/// Shared, since every shard gets the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Current {
    /// A gateway was made or changed.
    Gateway(Arc<Gateway>),
    /// A tool was made or changed.
    Tool(Arc<Tool>),
    /// A resource was made or changed.
    Resource(Arc<Resource>),
    /// A prompt was made or changed.
    Prompt(Arc<Prompt>),
    /// A virtual server was made or changed.
    Server(Arc<Server>),
    /// An A2A agent was made or changed.
    Agent(Arc<Agent>),
    /// A root was made or changed.
    Root(Arc<Root>),
    /// A record of who there is or what they may do was made or changed.
    Identity(Identity),
    /// A record was deleted.
    Deleted {
        /// What kind of record.
        entity: Entity,
        /// Its id.
        id: String,
    },
}

impl Current {
    /// What kind of record it is.
    pub fn entity(&self) -> Entity {
        match self {
            Current::Gateway(_) => Entity::Gateway,
            Current::Tool(_) => Entity::Tool,
            Current::Resource(_) => Entity::Resource,
            Current::Prompt(_) => Entity::Prompt,
            Current::Server(_) => Entity::Server,
            Current::Agent(_) => Entity::Agent,
            Current::Root(_) => Entity::Root,
            Current::Identity(identity) => identity.entity(),
            Current::Deleted { entity, .. } => *entity,
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Current::Gateway(record) => &record.id,
            Current::Tool(record) => &record.id,
            Current::Resource(record) => &record.id,
            Current::Prompt(record) => &record.id,
            Current::Server(record) => &record.id,
            Current::Agent(record) => &record.id,
            Current::Root(record) => &record.id,
            Current::Identity(identity) => identity.id(),
            Current::Deleted { id, .. } => id,
        }
    }
}

/// One row of the change feed with the record it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its place in the feed: each row is one higher than the row before it.
    pub sequence: i64,
    /// The record as it stands.
    pub current: Current,
}

/// What a transaction changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The end of the feed after the transaction.
    pub sequence: i64,
    /// Every change in order, those that followed from a deletion included. A server that lost
    /// ids comes once, after the deletions.
    pub changes: Vec<Change>,
}

/// A stretch of the change feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Where the stretch ends: ask from here next.
    pub sequence: i64,
    /// The records that changed, each once, at the place of its last change in the stretch.
    ///
    /// A record is given as it stands now, which may be newer than its place: a server may come
    /// without the id of a tool whose deletion comes later, and a tool may be told as deleted
    /// before the server that chose it comes.
    pub items: Vec<Change>,
    /// There is more after `sequence`.
    pub more: bool,
}

/// The answer to what changed since some point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// What changed, in order.
    Changes(Changes),
    /// The feed does not tell: rows after the point were pruned, or the point lies beyond the end
    /// (another database was put in place). Load everything anew.
    Lost {
        /// The lowest point from which the feed can tell.
        from: i64,
        /// The end of the feed.
        sequence: i64,
    },
}

/// Everything stored, at one point of the change feed.
///
/// The records come in no promised order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The end of the feed at that point: changes after it are not in here.
    pub sequence: i64,
    /// Every gateway.
    pub gateways: Vec<Arc<Gateway>>,
    /// Every tool.
    pub tools: Vec<Arc<Tool>>,
    /// Every resource.
    pub resources: Vec<Arc<Resource>>,
    /// Every prompt.
    pub prompts: Vec<Arc<Prompt>>,
    /// Every virtual server.
    pub servers: Vec<Arc<Server>>,
    /// Every A2A agent.
    pub agents: Vec<Arc<Agent>>,
    /// Every root.
    pub roots: Vec<Arc<Root>>,
    /// Every record of who there is and what they may do.
    pub identities: Vec<Identity>,
}
