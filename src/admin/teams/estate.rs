//! What a team owns of the registry, and how it gives it up.

use std::fmt;

use storage::Mutation;
use storage::record::{Agent, Gateway, Ownership, Prompt, Resource, Server, Tool, Visibility};

use crate::catalog::Catalog;
use crate::catalog::author::Author;

/// The records of one team.
pub struct Estate {
    gateways: Vec<Gateway>,
    agents: Vec<Agent>,
    tools: Vec<Tool>,
    resources: Vec<Resource>,
    prompts: Vec<Prompt>,
    servers: Vec<Server>,
}

impl Estate {
    /// Gathers what belongs to a team.
    pub fn of(catalog: &Catalog, team_id: &str) -> Estate {
        let is_of = |owned: &Ownership| owned.team_id.as_deref() == Some(team_id);
        macro_rules! gather {
            ($records:expr) => {{
                let records = $records.map(|entry| &*entry.record);
                records.filter(|record| is_of(&record.ownership)).cloned().collect()
            }};
        }
        Estate {
            gateways: gather!(catalog.upstreams()),
            agents: gather!(catalog.agents()),
            tools: gather!(catalog.tools()),
            resources: gather!(catalog.resources()),
            prompts: gather!(catalog.prompts()),
            servers: gather!(catalog.servers()),
        }
    }

    fn counts(&self) -> [(usize, &'static str); 6] {
        [
            (self.gateways.len(), "gateways"),
            (self.agents.len(), "agents"),
            (self.tools.len(), "tools"),
            (self.resources.len(), "resources"),
            (self.prompts.len(), "prompts"),
            (self.servers.len(), "servers"),
        ]
    }

    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.counts().iter().all(|(count, _)| *count == 0)
    }

    /// What gives all of it to its owners.
    pub fn release(self, author: &Author) -> Vec<Mutation> {
        macro_rules! release {
            ($records:expr, $put:path) => {
                $records.into_iter().map(|mut record| {
                    release(&mut record.ownership);
                    author.change(&mut record.audit, "api");
                    $put(Box::new(record))
                })
            };
        }
        let mut mutations = Vec::new();
        mutations.extend(release!(self.gateways, Mutation::PutGateway));
        mutations.extend(release!(self.agents, Mutation::PutAgent));
        mutations.extend(release!(self.tools, Mutation::PutTool));
        mutations.extend(release!(self.resources, Mutation::PutResource));
        mutations.extend(release!(self.prompts, Mutation::PutPrompt));
        mutations.extend(release!(self.servers, Mutation::PutServer));
        mutations
    }
}

/// Gives a record to its owner: what the team shared is theirs alone.
fn release(owned: &mut Ownership) {
    owned.team_id = None;
    if owned.visibility == Visibility::Team {
        owned.visibility = Visibility::Private;
    }
}

/// As `1 gateway, 12 tools`.
impl fmt::Display for Estate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts().into_iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts
            .map(|(count, kind)| match count {
                1 => format!("1 {}", kind.trim_end_matches('s')),
                _ => format!("{count} {kind}"),
            })
            .collect();
        out.write_str(&counts.join(", "))
    }
}
