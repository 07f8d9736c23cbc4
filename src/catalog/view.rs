//! What one endpoint offers: the tools, resources and prompts that a virtual server, or `/mcp`,
//! shows under the names that clients use there.

use std::sync::Arc;

use imbl::OrdMap;
use storage::record::{Ownership, Prompt, Server, Tool, Visibility};

use crate::catalog::{
    entry::{PromptEntry, ResourceEntry, ToolEntry},
    overrides::Overrides,
    shelf::Shelf,
};

/// The offer of one endpoint. Cloning is cheap.
#[derive(Clone, Default)]
pub struct View {
    /// Grows with every change of the offer: what is rendered from it is kept under this number.
    pub version: u64,
    /// Tools by the name that clients call.
    pub tools: Shelf<ToolEntry>,
    /// Resources by URI.
    pub resources: Shelf<ResourceEntry>,
    /// Resource templates by URI template.
    pub templates: Shelf<ResourceEntry>,
    /// Prompts by the name that clients ask for.
    pub prompts: Shelf<PromptEntry>,
    /// What is said of tools otherwise than in the registry.
    pub overrides: Arc<Overrides>,
    /// Who sees what not everyone does.
    pub circles: Circles,
    /// Upstreams that have resources or templates here, whether they answer or not, and how many
    /// each; nothing stands for those of our own.
    pub resource_owners: OrdMap<Arc<str>, usize>,
}

/// Teams and users that own something in an offer which not everyone sees, and how much: two callers
/// who belong to the same of these see the same.
#[derive(Clone, Default)]
pub struct Circles {
    teams: OrdMap<Arc<str>, usize>,
    users: OrdMap<Arc<str>, usize>,
}

impl Circles {
    /// Whether everyone sees everything.
    pub fn is_empty(&self) -> bool {
        self.teams.is_empty() && self.users.is_empty()
    }

    /// The team, if it owns something here.
    pub fn team(&self, id: &str) -> Option<&Arc<str>> {
        self.teams.get_key_value(id).map(|(id, _)| id)
    }

    /// The user, if they own something here; their address is in lower case.
    pub fn user(&self, email: &str) -> Option<&Arc<str>> {
        self.users.get_key_value(email).map(|(email, _)| email)
    }

    fn count(&mut self, owned: &Ownership, by: impl Fn(usize) -> usize) {
        if owned.visibility == Visibility::Public {
            return;
        }
        if let Some(email) = &owned.owner_email {
            count(&mut self.users, &email.to_ascii_lowercase(), &by);
        }
        if let (Visibility::Team, Some(team_id)) = (owned.visibility, &owned.team_id) {
            count(&mut self.teams, team_id, &by);
        }
    }
}

fn count(counts: &mut OrdMap<Arc<str>, usize>, key: &str, by: impl Fn(usize) -> usize) {
    match by(counts.get(key).copied().unwrap_or(0)) {
        0 => drop(counts.remove(key)),
        count => drop(counts.insert(key.into(), count)),
    }
}

/// An offer as whoever sees only some of it has it.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The whole offer.
    pub view: &'a View,
    /// Whether what is owned like this is seen.
    pub sees: &'a dyn Fn(&Ownership) -> bool,
}

impl View {
    /// Whether nothing is offered.
    pub fn is_empty(&self) -> bool {
        let View { tools, resources, templates, prompts, .. } = self;
        tools.is_empty() && resources.is_empty() && templates.is_empty() && prompts.is_empty()
    }
}

impl<'a> Seen<'a> {
    /// All of an offer.
    pub fn all(view: &'a View) -> Seen<'a> {
        Seen { view, sees: &|_| true }
    }

    /// The tool that has `name`.
    pub fn tool(&self, name: &str) -> Option<&'a Arc<ToolEntry>> {
        self.view.tools.find(name, self.sees)
    }

    /// The prompt that has `name`.
    pub fn prompt(&self, name: &str) -> Option<&'a Arc<PromptEntry>> {
        self.view.prompts.find(name, self.sees)
    }

    /// The resources or templates of a shelf that want `uri`, the one that has it first.
    pub fn wanting(
        self,
        shelf: &'a Shelf<ResourceEntry>,
        uri: &str,
    ) -> impl Iterator<Item = &'a Arc<ResourceEntry>> {
        shelf.wanting(uri).filter(move |entry| (self.sees)(&entry.record.ownership))
    }

    /// Every template.
    pub fn templates(self) -> impl Iterator<Item = &'a Arc<ResourceEntry>> {
        self.view.templates.all_seen_after(None, self.sees).map(|(_, entry)| entry)
    }

    /// Whether there are resources.
    pub fn has_resources(self) -> bool {
        self.view.resources.seen_after(None, self.sees).next().is_some()
            || self.templates().next().is_some()
    }

    /// Whether there are prompts.
    pub fn has_prompts(self) -> bool {
        self.view.prompts.seen_after(None, self.sees).next().is_some()
    }

    /// The upstream of each entry that has one.
    pub fn upstream_ids(self) -> impl Iterator<Item = &'a str> {
        let tools = self.view.tools.seen_after(None, self.sees);
        let resources = self.view.resources.all_seen_after(None, self.sees);
        let prompts = self.view.prompts.seen_after(None, self.sees);
        (tools.map(|(_, entry)| entry.record.gateway_id.as_deref()))
            .chain(resources.map(|(_, entry)| entry.record.gateway_id.as_deref()))
            .chain(self.templates().map(|entry| entry.record.gateway_id.as_deref()))
            .chain(prompts.map(|(_, entry)| entry.record.gateway_id.as_deref()))
            .flatten()
    }
}

/// Which entries belong to an endpoint, and under which names.
pub enum Membership<'a> {
    /// Everything there is, under the names of the registry.
    All,
    /// What a virtual server chose, and how it calls it.
    Server(&'a Server, &'a Overrides),
}

/// An entry of the registry, of whichever kind.
pub enum Entry {
    /// A tool.
    Tool(Arc<ToolEntry>),
    /// A resource or a template.
    Resource(Arc<ResourceEntry>),
    /// A prompt.
    Prompt(Arc<PromptEntry>),
}

impl Entry {
    /// The upstream that it belongs to.
    pub fn gateway_id(&self) -> Option<&str> {
        match self {
            Entry::Tool(entry) => entry.record.gateway_id.as_deref(),
            Entry::Resource(entry) => entry.record.gateway_id.as_deref(),
            Entry::Prompt(entry) => entry.record.gateway_id.as_deref(),
        }
    }

    /// The agent that it belongs to.
    pub fn agent_id(&self) -> Option<&str> {
        match self {
            Entry::Tool(entry) => entry.record.agent_id.as_deref(),
            Entry::Resource(_) | Entry::Prompt(_) => None,
        }
    }

    /// The agent or the upstream that it belongs to.
    pub fn owner_id(&self) -> Option<&str> {
        self.agent_id().or_else(|| self.gateway_id())
    }

    /// Whose it is.
    pub fn ownership(&self) -> &Ownership {
        match self {
            Entry::Tool(entry) => &entry.record.ownership,
            Entry::Resource(entry) => &entry.record.ownership,
            Entry::Prompt(entry) => &entry.record.ownership,
        }
    }

    /// People left it switched on.
    pub fn enabled(&self) -> bool {
        match self {
            Entry::Tool(entry) => entry.record.enabled,
            Entry::Resource(entry) => entry.record.enabled,
            Entry::Prompt(entry) => entry.record.enabled,
        }
    }
}

impl Membership<'_> {
    /// Returns true if `entry` belongs to the endpoint.
    pub fn includes(&self, entry: &Entry) -> bool {
        let Membership::Server(server, _) = self else { return true };
        let of_owner = entry.owner_id().is_some_and(|id| {
            let mut owners = server.associated_gateways.iter().chain(&server.associated_a2a_agents);
            owners.any(|owner| owner == id)
        });
        of_owner
            || match entry {
                Entry::Tool(entry) => server.associated_tools.contains(&entry.record.id),
                Entry::Resource(entry) => server.associated_resources.contains(&entry.record.id),
                Entry::Prompt(entry) => server.associated_prompts.contains(&entry.record.id),
            }
    }

    /// The name of a tool at this endpoint.
    pub fn tool_name(&self, tool: &Tool) -> Arc<str> {
        let other = match self {
            Membership::Server(_, overrides) => overrides.name(&tool.id),
            Membership::All => None,
        };
        other.map_or_else(|| self.name(&tool.name, &tool.original_name), Arc::from)
    }

    /// The name of a prompt at this endpoint.
    pub fn prompt_name(&self, prompt: &Prompt) -> Arc<str> {
        self.name(&prompt.name, &prompt.original_name)
    }

    fn name(&self, registry_name: &str, original_name: &str) -> Arc<str> {
        match self {
            Membership::Server(Server { tool_prefix: Some(prefix), .. }, _) => {
                format!("{prefix}{original_name}").into()
            }
            _ => registry_name.into(),
        }
    }
}

impl View {
    /// Puts `entry` into the offer if it belongs there.
    pub fn insert(&mut self, membership: &Membership<'_>, entry: &Entry) {
        if !membership.includes(entry) {
            return;
        }
        self.version += 1;
        self.circles.count(entry.ownership(), |count| count + 1);
        let rival = match entry {
            Entry::Tool(tool) => {
                let name = membership.tool_name(&tool.record);
                self.tools.insert(name, tool.clone())
            }
            Entry::Prompt(prompt) => {
                let name = membership.prompt_name(&prompt.record);
                self.prompts.insert(name, prompt.clone())
            }
            Entry::Resource(resource) => {
                self.count_owner(resource, |count| count + 1);
                let uri: Arc<str> = resource.record.uri.as_str().into();
                // Those that have one URI are told apart (see `route::Resources`).
                self.resource_shelf(resource).insert(uri, resource.clone());
                None
            }
        };
        if let Some(rival) = rival {
            report_collision(membership, entry, &rival);
        }
    }

    /// Takes `entry` out of the offer if it is there.
    pub fn remove(&mut self, membership: &Membership<'_>, entry: &Entry) {
        if !membership.includes(entry) {
            return;
        }
        self.version += 1;
        self.circles.count(entry.ownership(), |count| count.saturating_sub(1));
        match entry {
            Entry::Tool(tool) => {
                let name = membership.tool_name(&tool.record);
                self.tools.remove(&name, &tool.record.id);
            }
            Entry::Prompt(prompt) => {
                let name = membership.prompt_name(&prompt.record);
                self.prompts.remove(&name, &prompt.record.id);
            }
            Entry::Resource(resource) => {
                self.count_owner(resource, |count| count.saturating_sub(1));
                let (uri, id) = (&resource.record.uri, &resource.record.id);
                self.resource_shelf(resource).remove(uri, id);
            }
        }
    }

    /// Notes what would be in the offer if its upstream answered, or `is_gone` from there: a resource
    /// keeps its URI while it is away, so that another's of the same URI is listed under another.
    pub fn note_away(&mut self, entry: &Entry, is_gone: bool) {
        let Entry::Resource(resource) = entry else { return };
        let by = |count: usize| if is_gone { count.saturating_sub(1) } else { count + 1 };
        self.version += 1;
        self.circles.count(entry.ownership(), by);
        self.count_owner(resource, by);
    }

    fn count_owner(&mut self, resource: &ResourceEntry, by: impl Fn(usize) -> usize) {
        let owner = resource.record.gateway_id.as_deref().unwrap_or_default();
        count(&mut self.resource_owners, owner, by);
    }

    fn resource_shelf(&mut self, resource: &ResourceEntry) -> &mut Shelf<ResourceEntry> {
        match resource.record.uri_template {
            Some(_) => &mut self.templates,
            None => &mut self.resources,
        }
    }
}

/// A collision is said, never silently merged: the one that came first has the name.
fn report_collision(membership: &Membership<'_>, entry: &Entry, rival: &str) {
    let (kind, name, id) = match entry {
        Entry::Tool(entry) => ("tool", &entry.record.original_name, &entry.record.id),
        Entry::Prompt(entry) => ("prompt", &entry.record.original_name, &entry.record.id),
        Entry::Resource(entry) => ("resource", &entry.record.uri, &entry.record.id),
    };
    let endpoint = match membership {
        Membership::All => "/mcp",
        Membership::Server(server, _) => server.name.as_str(),
    };
    tracing::warn!(
        endpoint,
        kind,
        name,
        id,
        rival,
        "two want one name; the one that came first has it"
    );
}
