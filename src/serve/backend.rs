//! A shard as the REST API sees it.

use std::{rc::Rc, sync::Arc};

use storage::{Applied, Mutation, seal::Sealer};

use crate::{
    admin::{self, About, Rules},
    catalog::{Catalog, Upstream, inventory::Inventory},
    failure::Failure,
    state::Shard,
};

/// The backend of the REST API.
pub struct Backend<'a> {
    /// The shard that the request came to.
    pub shard: &'a Rc<Shard>,
    /// What the settings decide.
    pub rules: &'a Rules,
}

impl admin::Backend for Backend<'_> {
    fn catalog(&self) -> Arc<Catalog> {
        self.shard.catalog()
    }

    fn rules(&self) -> &Rules {
        self.rules
    }

    fn sealer(&self) -> &Sealer {
        self.shard.registry.sealer()
    }

    async fn apply(&self, mutations: Vec<Mutation>) -> Result<Applied, Failure> {
        self.shard.registry.apply(mutations).await
    }

    async fn discover(&self, upstream: &Upstream) -> Result<Inventory, Failure> {
        self.shard.upstreams.discover(upstream).await
    }

    fn ready(&self) -> Result<(), String> {
        match self.shard.draining.is_open() {
            true => Err("the gateway is stopping".to_owned()),
            false => Ok(()),
        }
    }

    async fn about(&self) -> About {
        todo!()
    }
}
