//! Everything that routing and lists need, as an immutable snapshot.
//!
//! A shard holds one `Arc` of it and never waits for anybody. A change makes a new snapshot that
//! shares all that did not change with the one before, so that it costs the logarithm of the
//! size: one tool among 20,000 leaves the other 19,999 where they are.

use std::{collections::BTreeMap, sync::Arc};

use imbl::{HashMap, OrdMap, OrdSet};
use storage::{
    Change, Current, Snapshot,
    record::{Agent, Entity, Gateway, Prompt, Resource, Root, Server, Tool},
    seal::Sealer,
};

mod agent;
pub mod author;
mod collection;
mod difference;
mod entry;
pub mod inventory;
pub mod naming;
pub mod overrides;
pub mod param_headers;
pub mod people;
pub mod protection;
pub mod reconcile;
pub mod rest_tool;
mod shelf;
mod upstream;
mod view;

pub use agent::{AgentEntry, tool_of};
pub use collection::{Age, Collection, Kept, Record};
pub use difference::Difference;
pub use entry::{Others, PromptEntry, ResourceEntry, TaskSupport, ToolEntry};
use overrides::Overrides;
pub use people::People;
pub use protection::Protection;
pub use shelf::{Item, Shelf};
pub use upstream::Upstream;
pub use view::{Circles, Entry, Membership, Seen, View};

/// An id of a record.
type Id = Arc<str>;

/// A virtual server of the catalog.
#[derive(Clone)]
pub struct VirtualServer {
    /// The stored record.
    pub record: Arc<Server>,
    /// What it offers.
    pub view: View,
    /// What it would offer besides if its upstreams answered.
    pub away: View,
    /// What makes it a protected resource of OAuth.
    pub protection: Option<Protection>,
}

impl VirtualServer {
    /// Which entries belong to it, and under which names.
    pub fn membership(&self) -> Membership<'_> {
        Membership::Server(&self.record, &self.view.overrides)
    }
}

/// Where an entry stands, by what people and health checks say of it and of its upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the lists.
    Offered,
    /// Out of the lists, and known: its upstream does not answer.
    Away,
    /// Switched off.
    Hidden,
}

impl Place {
    /// The place of what belongs to an owner that is switched on or not, and answers or not.
    fn of(owner: Option<(bool, bool)>) -> Place {
        match owner {
            Some((true, true)) => Place::Offered,
            Some((true, false)) => Place::Away,
            _ => Place::Hidden,
        }
    }
}

/// The snapshot. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Catalog {
    /// The place in the change feed up to which it is current.
    pub sequence: i64,
    /// What `/mcp` offers: everything that is switched on and reachable.
    pub everything: View,
    /// What `/mcp` would offer besides if every upstream answered.
    pub away: View,
    upstreams: Collection<Upstream>,
    tools: Collection<ToolEntry>,
    resources: Collection<ResourceEntry>,
    prompts: Collection<PromptEntry>,
    servers: Collection<VirtualServer>,
    agents: Collection<AgentEntry>,
    roots: OrdMap<Id, Arc<Root>>,
    people: People,
    /// A2A is switched off: no agent offers its tool.
    agents_are_off: bool,
    /// What belongs to an upstream or an agent: kind and id.
    offers: HashMap<Id, OrdSet<(Entity, Id)>>,
}

impl Catalog {
    /// Builds the catalog of everything stored.
    pub fn load(snapshot: Snapshot, sealer: &Sealer) -> Catalog {
        let mut catalog = Catalog { sequence: snapshot.sequence, ..Catalog::default() };
        for record in snapshot.gateways {
            catalog.put_gateway(record, sealer);
        }
        for identity in snapshot.identities {
            catalog.people.put(identity);
        }
        for record in snapshot.agents {
            catalog.put_agent(record, sealer);
        }
        for record in snapshot.roots {
            catalog.put_root(record);
        }
        for record in snapshot.tools {
            catalog.put_tool(record, sealer);
        }
        for record in snapshot.resources {
            catalog.put_resource(record);
        }
        for record in snapshot.prompts {
            catalog.put_prompt(record);
        }
        for record in snapshot.servers {
            catalog.put_server(record);
        }
        catalog
    }

    /// Makes the versions of the views higher than those of `former`, which was loaded before: what
    /// was rendered from it must not be taken for this.
    pub fn newer_than(mut self, former: &Catalog) -> Catalog {
        if former.agents_are_off {
            self = self.without_agents();
        }
        self.everything.version += former.everything.version;
        self.people.version += former.people.version;
        let ids: Vec<Id> = self.servers.ids().cloned().collect();
        for id in ids {
            let before = former.servers.get(&id).map_or(0, |server| server.view.version);
            if let Some(server) = self.servers.get_mut(&id) {
                Arc::make_mut(server).view.version += before;
            }
        }
        self
    }

    /// Switches A2A off: no agent offers its tool from now on.
    pub fn without_agents(mut self) -> Catalog {
        let ids: Vec<Id> = self.agents.ids().cloned().collect();
        let former: Vec<Place> = ids.iter().map(|id| self.place_of_agent(id)).collect();
        for (id, former) in ids.iter().zip(former) {
            self.shift_offers(id, former, Place::Hidden);
        }
        self.agents_are_off = true;
        self
    }

    /// Makes the changes, in order.
    pub fn apply(&mut self, changes: Vec<Change>, sealer: &Sealer) {
        for change in changes {
            self.sequence = self.sequence.max(change.sequence);
            match change.current {
                Current::Gateway(record) => self.put_gateway(record, sealer),
                Current::Tool(record) => self.put_tool(record, sealer),
                Current::Resource(record) => self.put_resource(record),
                Current::Prompt(record) => self.put_prompt(record),
                Current::Server(record) => self.put_server(record),
                Current::Agent(record) => self.put_agent(record, sealer),
                Current::Root(record) => self.put_root(record),
                Current::Identity(identity) => self.people.put(identity),
                Current::Deleted { entity, id } => self.delete(entity, &id),
            }
        }
    }

    /// Returns an upstream.
    pub fn upstream(&self, id: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(id)
    }

    /// Returns a virtual server.
    pub fn server(&self, id: &str) -> Option<&Arc<VirtualServer>> {
        self.servers.get(id)
    }

    /// Returns a tool by its id, switched on or not.
    pub fn tool(&self, id: &str) -> Option<&Arc<ToolEntry>> {
        self.tools.get(id)
    }

    /// Returns a resource by its id, switched on or not.
    pub fn resource(&self, id: &str) -> Option<&Arc<ResourceEntry>> {
        self.resources.get(id)
    }

    /// Returns a prompt by its id, switched on or not.
    pub fn prompt(&self, id: &str) -> Option<&Arc<PromptEntry>> {
        self.prompts.get(id)
    }

    /// Returns an A2A agent.
    pub fn agent(&self, id: &str) -> Option<&Arc<AgentEntry>> {
        self.agents.get(id)
    }

    /// Every A2A agent, in the order of ids.
    pub fn agents(&self) -> impl Iterator<Item = &Arc<AgentEntry>> {
        self.agents.iter()
    }

    /// Every root, in the order of ids.
    pub fn roots(&self) -> impl Iterator<Item = &Arc<Root>> {
        self.roots.values()
    }

    /// Who there is and what each may do.
    pub fn people(&self) -> &People {
        &self.people
    }

    /// Every upstream, in the order of ids.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.iter()
    }

    /// Every virtual server, in the order of ids.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<VirtualServer>> {
        self.servers.iter()
    }

    /// Every tool, in the order of ids.
    pub fn tools(&self) -> impl Iterator<Item = &Arc<ToolEntry>> {
        self.tools.iter()
    }

    /// Every resource and template, in the order of ids.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<ResourceEntry>> {
        self.resources.iter()
    }

    /// Every prompt, in the order of ids.
    pub fn prompts(&self) -> impl Iterator<Item = &Arc<PromptEntry>> {
        self.prompts.iter()
    }

    /// Every tool, as lists read them.
    pub fn all_tools(&self) -> &Collection<ToolEntry> {
        &self.tools
    }

    /// Every resource and template, as lists read them.
    pub fn all_resources(&self) -> &Collection<ResourceEntry> {
        &self.resources
    }

    /// Every prompt, as lists read them.
    pub fn all_prompts(&self) -> &Collection<PromptEntry> {
        &self.prompts
    }

    /// Every virtual server, as lists read them.
    pub fn all_servers(&self) -> &Collection<VirtualServer> {
        &self.servers
    }

    /// Every upstream, as lists read them.
    pub fn all_upstreams(&self) -> &Collection<Upstream> {
        &self.upstreams
    }

    /// Every A2A agent, as lists read them.
    pub fn all_agents(&self) -> &Collection<AgentEntry> {
        &self.agents
    }

    /// What belongs to an upstream or an agent.
    pub fn offers_of(&self, owner_id: &str) -> impl Iterator<Item = Entry> + '_ {
        let offers = self.offers.get(owner_id);
        offers
            .into_iter()
            .flat_map(|offers| offers.iter())
            .filter_map(|(entity, id)| self.entry(*entity, id))
    }

    fn entry(&self, entity: Entity, id: &str) -> Option<Entry> {
        match entity {
            Entity::Tool => self.tools.get(id).cloned().map(Entry::Tool),
            Entity::Resource => self.resources.get(id).cloned().map(Entry::Resource),
            Entity::Prompt => self.prompts.get(id).cloned().map(Entry::Prompt),
            _ => None,
        }
    }

    fn put_gateway(&mut self, record: Arc<Gateway>, sealer: &Sealer) {
        let former = self.place_of_upstream(&record.id);
        let upstream = Arc::new(open(record.clone(), sealer));
        self.upstreams.insert(upstream);
        let place = self.place_of_upstream(&record.id);
        self.shift_offers(&record.id, former, place);
    }

    fn put_agent(&mut self, record: Arc<Agent>, sealer: &Sealer) {
        let former = self.place_of_agent(&record.id);
        self.agents.insert(Arc::new(AgentEntry::new(record.clone(), sealer)));
        let place = self.place_of_agent(&record.id);
        self.shift_offers(&record.id, former, place);
    }

    fn put_root(&mut self, record: Arc<Root>) {
        self.roots.insert(record.id.as_str().into(), record);
    }

    /// Moves what belongs to an upstream or an agent from one place to another.
    fn shift_offers(&mut self, owner_id: &str, former: Place, place: Place) {
        if former == place {
            return;
        }
        let offers: Vec<Entry> = self.offers_of(owner_id).filter(Entry::enabled).collect();
        for entry in &offers {
            self.change(former, entry, Act::Remove);
            self.change(place, entry, Act::Insert);
        }
    }

    fn put_tool(&mut self, record: Arc<Tool>, sealer: &Sealer) {
        let id: Id = record.id.as_str().into();
        self.take_out(Entity::Tool, &id);
        let entry = Arc::new(ToolEntry::new(record, sealer));
        self.tools.insert(entry.clone());
        self.put_in(Entity::Tool, id, Entry::Tool(entry));
    }

    fn put_resource(&mut self, record: Arc<Resource>) {
        let id: Id = record.id.as_str().into();
        self.take_out(Entity::Resource, &id);
        let entry = Arc::new(ResourceEntry { record });
        self.resources.insert(entry.clone());
        self.put_in(Entity::Resource, id, Entry::Resource(entry));
    }

    fn put_prompt(&mut self, record: Arc<Prompt>) {
        let id: Id = record.id.as_str().into();
        self.take_out(Entity::Prompt, &id);
        let entry = Arc::new(PromptEntry::new(record));
        self.prompts.insert(entry.clone());
        self.put_in(Entity::Prompt, id, Entry::Prompt(entry));
    }

    /// A server's view is built anew when the server itself changes, and only then.
    fn put_server(&mut self, record: Arc<Server>) {
        let former = self.servers.get(record.id.as_str());
        let version = former.map_or(0, |former| former.view.version) + 1;
        let overrides = Arc::new(Overrides::read(record.tool_overrides.as_deref()));
        let mut view = View { version, overrides: overrides.clone(), ..View::default() };
        let mut away = View { overrides: overrides.clone(), ..View::default() };
        let membership = Membership::Server(&record, &overrides);
        for entry in self.members(&record) {
            match self.place(&entry) {
                Place::Offered => view.insert(&membership, &entry),
                Place::Away => {
                    away.insert(&membership, &entry);
                    view.note_away(&entry, false);
                }
                Place::Hidden => {}
            }
        }
        let protection = Protection::of(&record);
        self.servers.insert(Arc::new(VirtualServer { record, view, away, protection }));
    }

    /// Everything a server chose, once each.
    fn members(&self, server: &Server) -> Vec<Entry> {
        let mut members: BTreeMap<(Entity, Id), Entry> = BTreeMap::new();
        let chosen = [
            (Entity::Tool, &server.associated_tools),
            (Entity::Resource, &server.associated_resources),
            (Entity::Prompt, &server.associated_prompts),
        ];
        for (entity, ids) in chosen {
            for id in ids {
                if let Some(entry) = self.entry(entity, id) {
                    members.insert((entity, id.as_str().into()), entry);
                }
            }
        }
        for owner_id in server.associated_gateways.iter().chain(&server.associated_a2a_agents) {
            let offers = self.offers.get(owner_id.as_str());
            for (entity, id) in offers.into_iter().flat_map(|offers| offers.iter()) {
                if let Some(entry) = self.entry(*entity, id) {
                    members.insert((*entity, id.clone()), entry);
                }
            }
        }
        members.into_values().collect()
    }

    fn delete(&mut self, entity: Entity, id: &str) {
        match entity {
            Entity::Gateway => {
                self.upstreams.remove(id);
            }
            Entity::Server => {
                self.servers.remove(id);
            }
            Entity::Agent => {
                self.agents.remove(id);
            }
            Entity::Root => {
                self.roots.remove(id);
            }
            Entity::Tool => {
                self.take_out(entity, id);
                self.tools.remove(id);
            }
            Entity::Resource => {
                self.take_out(entity, id);
                self.resources.remove(id);
            }
            Entity::Prompt => {
                self.take_out(entity, id);
                self.prompts.remove(id);
            }
            other => self.people.delete(other, id),
        }
    }

    /// Takes a former version of an entry out of every view and index.
    fn take_out(&mut self, entity: Entity, id: &str) {
        let Some(entry) = self.entry(entity, id) else { return };
        self.change(self.place(&entry), &entry, Act::Remove);
        let Some(owner_id) = entry.owner_id() else { return };
        if let Some(offers) = self.offers.get_mut(owner_id) {
            offers.remove(&(entity, id.into()));
            if offers.is_empty() {
                self.offers.remove(owner_id);
            }
        }
    }

    fn put_in(&mut self, entity: Entity, id: Id, entry: Entry) {
        if let Some(owner_id) = entry.owner_id() {
            self.offers.entry(owner_id.into()).or_default().insert((entity, id));
        }
        self.change(self.place(&entry), &entry, Act::Insert);
    }

    fn place(&self, entry: &Entry) -> Place {
        match (entry.enabled(), entry.agent_id(), entry.gateway_id()) {
            (false, _, _) => Place::Hidden,
            (true, Some(id), _) => self.place_of_agent(id),
            (true, None, Some(id)) => self.place_of_upstream(id),
            // What is our own is always there.
            (true, None, None) => Place::Offered,
        }
    }

    fn place_of_upstream(&self, id: &str) -> Place {
        let upstream = self.upstreams.get(id).map(|upstream| &upstream.record);
        Place::of(upstream.map(|record| (record.enabled, record.reachable)))
    }

    fn place_of_agent(&self, id: &str) -> Place {
        let agent = self.agents.get(id).map(|agent| &agent.record);
        let agent = agent.filter(|_| !self.agents_are_off);
        Place::of(agent.map(|record| (record.enabled, record.reachable)))
    }

    /// Puts an entry that has this place into every view of it, or takes it out.
    fn change(&mut self, place: Place, entry: &Entry, act: Act) {
        match place {
            Place::Offered => act.on(&mut self.everything, &Membership::All, entry),
            Place::Away => {
                act.on(&mut self.away, &Membership::All, entry);
                self.everything.note_away(entry, act == Act::Remove);
            }
            Place::Hidden => return,
        }
        let chose = |server: &VirtualServer| server.membership().includes(entry);
        let servers = self.servers.iter().filter(|server| chose(server));
        let ids: Vec<String> = servers.map(|server| server.record.id.clone()).collect();
        for id in ids {
            let Some(server) = self.servers.get_mut(&id) else { continue };
            let server = Arc::make_mut(server);
            let (record, overrides) = (server.record.clone(), server.view.overrides.clone());
            let membership = Membership::Server(&record, &overrides);
            if place == Place::Away {
                act.on(&mut server.away, &membership, entry);
                server.view.note_away(entry, act == Act::Remove);
            } else {
                act.on(&mut server.view, &membership, entry);
            }
        }
    }
}

/// What is done with an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Insert,
    Remove,
}

impl Act {
    fn on(self, view: &mut View, membership: &Membership<'_>, entry: &Entry) {
        match self {
            Act::Insert => view.insert(membership, entry),
            Act::Remove => view.remove(membership, entry),
        }
    }
}

/// Opens an upstream's secrets. What cannot be opened (another `AUTH_ENCRYPTION_SECRET`) leaves
/// the upstream without them, which it will answer with 401, and says so in the log.
fn open(record: Arc<Gateway>, sealer: &Sealer) -> Upstream {
    let opened =
        |sealed: &Option<String>, what| open_secret(sealer, sealed.as_deref(), what, &record.name);
    let headers = opened(&record.auth_sealed, "credentials of an upstream").into_iter().collect();
    let environment = opened(&record.env_sealed, "environment of an upstream");
    Upstream { headers, environment, record }
}

/// Opens a secret of the record `name`; empty if there is none or it cannot be opened.
fn open_secret(
    sealer: &Sealer,
    sealed: Option<&str>,
    what: &str,
    name: &str,
) -> BTreeMap<String, String> {
    let Some(sealed) = sealed else { return BTreeMap::new() };
    sealer.open(sealed).unwrap_or_else(|error| {
        tracing::error!(
            name,
            what,
            %error,
            "a stored secret cannot be opened: was AUTH_ENCRYPTION_SECRET changed?"
        );
        BTreeMap::new()
    })
}

#[cfg(test)]
mod tests;
