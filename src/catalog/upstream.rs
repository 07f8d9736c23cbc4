//! An upstream as the data plane needs it: the record, with its secrets opened.

use std::{collections::BTreeMap, fmt, sync::Arc};

use storage::record::Gateway;

/// An upstream of the catalog. Its secrets stay in memory and out of every log.
#[derive(Clone)]
pub struct Upstream {
    /// The stored record.
    pub record: Arc<Gateway>,
    /// The headers that prove us to it, opened: name and value.
    pub headers: Vec<(String, String)>,
    /// The environment of its child process, opened.
    pub environment: BTreeMap<String, String>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("name", &self.record.name).finish_non_exhaustive()
    }
}
