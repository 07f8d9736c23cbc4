//! An A2A agent as the data plane needs it: the record, with its secrets opened.

use std::{fmt, sync::Arc};

use storage::record::Agent;
use storage::seal::Sealer;

use super::open_secret;

/// An agent of the catalog. Its secrets stay in memory and out of every log.
pub struct AgentEntry {
    /// The stored record.
    pub record: Arc<Agent>,
    /// The headers that prove us to it, opened: name and value.
    pub headers: Vec<(String, String)>,
}

impl AgentEntry {
    /// Opens a stored agent.
    pub fn new(record: Arc<Agent>, sealer: &Sealer) -> AgentEntry {
        let sealed = record.auth_sealed.as_deref();
        let headers = open_secret(sealer, sealed, "credentials of an agent", &record.name);
        AgentEntry { headers: headers.into_iter().collect(), record }
    }
}

impl fmt::Debug for AgentEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentEntry").field("name", &self.record.name).finish_non_exhaustive()
    }
}
