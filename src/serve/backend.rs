//! A shard as the REST API sees it.

use std::rc::Rc;

use crate::state::Shard;

/// The backend of the REST API.
pub struct Backend<'a>(pub &'a Rc<Shard>);
