//! What a stream tells a client that nothing was asked for: lists that changed, and resources.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    rc::Rc,
    time::Duration,
};

use ahash::AHashMap;
use serde_json::json;
use shards::time;

use crate::{
    auth::Caller,
    catalog::{Catalog, Item, Shelf, View},
    gateway,
    mcp::{Kind, Lens},
    permission::Permission,
    serve::changes::Identify,
    session::{Listening, Wanted},
    state::{self, Shard},
};

/// How often the token of a stream that nothing happens on is looked at, at the latest.
const LOOK_WITHIN: Duration = Duration::from_secs(30);

/// Endpoints and lenses whose lists are remembered.
const KNOWN_COUNT_MAX: usize = 4096;

/// What the lists of an endpoint looked like to a caller: equal if nothing changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// The tools.
    pub tools: u64,
    /// The resources and templates.
    pub resources: u64,
    /// The prompts.
    pub prompts: u64,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// `notifications/tools/list_changed`.
    Tools,
    /// `notifications/resources/list_changed`.
    Resources,
    /// `notifications/prompts/list_changed`.
    Prompts,
    /// `notifications/resources/updated`, of this URI.
    Updated(String),
}

impl News {
    /// The method, and the members of its params.
    pub fn message(&self) -> (&'static str, Option<&str>) {
        match self {
            News::Tools => ("notifications/tools/list_changed", None),
            News::Resources => ("notifications/resources/list_changed", None),
            News::Prompts => ("notifications/prompts/list_changed", None),
            News::Updated(uri) => ("notifications/resources/updated", Some(uri)),
        }
    }

    /// The whole notification, for a client with a session.
    pub fn notification(&self) -> Vec<u8> {
        let (method, uri) = self.message();
        let mut message = json!({"jsonrpc": "2.0", "method": method});
        if let Some(uri) = uri {
            message["params"] = json!({"uri": uri});
        }
        message.to_string().into_bytes()
    }
}

/// Follows what one client may hear of.
pub struct Feed {
    shard: Rc<Shard>,
    identify: Identify,
    server_id: String,
    /// Where it hears that there may be something.
    pub listening: Listening,
    /// What was told of last.
    pub lists: Lists,
    /// The versions of our own resources that were told of last, by URI.
    versions: BTreeMap<String, i64>,
    /// The resources that upstreams are asked to tell of, by URI; nothing for those that no upstream
    /// has for the client.
    wanted: BTreeMap<String, Option<Wanted>>,
    /// The catalog in which their upstreams were found.
    wanted_in: i64,
}

/// What waiting for something to tell ended with.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something to tell.
    News(Vec<News>),
    /// Nothing, for so long that the client should see a sign of life.
    Silence,
    /// The stream is over: its token is good no more, its session has ended, or the shard ends.
    End,
}

impl Feed {
    /// Begins to follow; nothing if the caller is nobody any more, or the endpoint is not there for
    /// them.
    pub fn new(
        shard: &Rc<Shard>,
        listening: Listening,
        identify: Identify,
        server_id: &str,
    ) -> Option<Feed> {
        let (shard, server_id) = (shard.clone(), server_id.to_owned());
        let lists = Lists::default();
        let (versions, wanted, wanted_in) = Default::default();
        let mut feed =
            Feed { shard, identify, server_id, listening, lists, versions, wanted, wanted_in };
        feed.lists = feed.look()?.1;
        Some(feed)
    }

    /// Who listens now, and what the lists look like to them.
    fn look(&self) -> Option<(Rc<Caller>, Lists)> {
        let caller = (self.identify)()?;
        let catalog = self.shard.catalog();
        let view = gateway::view(&catalog, &caller, &self.server_id)?;
        Some((caller.clone(), lists(&self.server_id, view, &caller)))
    }

    /// Waits until there is something to tell of the lists, or of the resources among `uris`; for
    /// `patience` at most.
    pub async fn wait(&mut self, patience: Duration, uris: &BTreeSet<String>) -> Heard {
        if self.shard.draining.is_open() || self.listening.is_ended() {
            return Heard::End;
        }
        let Some((caller, lists)) = self.look() else { return Heard::End };
        self.want(&caller, uris);
        let mut news = self.news(&caller, lists, uris);
        self.note_own(&caller, uris, &mut news);
        if !news.is_empty() {
            return Heard::News(news);
        }
        let left = caller.expires_at.map(|end| end.saturating_sub(state::now()));
        let left = left.map_or(LOOK_WITHIN, Duration::from_secs);
        let within = patience.min(left).max(Duration::from_millis(10));
        match time::timeout(within, self.listening.bell.wait()).await {
            Ok(()) => Heard::News(Vec::new()),
            Err(_) => Heard::Silence,
        }
    }

    fn news(&mut self, caller: &Caller, now: Lists, uris: &BTreeSet<String>) -> Vec<News> {
        let former = std::mem::replace(&mut self.lists, now);
        let mut news = Vec::new();
        let changed = [
            (former.tools != now.tools, News::Tools),
            (former.resources != now.resources, News::Resources),
            (former.prompts != now.prompts, News::Prompts),
        ];
        news.extend(changed.into_iter().filter(|(is_other, _)| *is_other).map(|(_, one)| one));
        let catalog = self.shard.catalog();
        for (upstream_id, kind) in self.listening.take_changed() {
            let one = match kind {
                Kind::Tools => News::Tools,
                Kind::Resources | Kind::Templates => News::Resources,
                Kind::Prompts => News::Prompts,
            };
            if !news.contains(&one) && self.offers(&catalog, caller, &upstream_id) {
                news.push(one);
            }
        }
        while let Some((owner_id, uri)) = self.listening.next_update() {
            // The client may have it under a URI that names its owner, and ends with its own.
            for wanted in uris.iter().filter(|wanted| wanted.ends_with(&*uri)) {
                if self.reads(&catalog, caller, wanted, (&owner_id, &uri)) {
                    news.push(News::Updated(wanted.clone()));
                }
            }
        }
        news
    }

    /// Has upstreams asked to tell of `uris`, and of nothing else.
    fn want(&mut self, caller: &Caller, uris: &BTreeSet<String>) {
        let catalog = self.shard.catalog();
        if self.wanted_in == catalog.sequence && self.wanted.keys().eq(uris) {
            return;
        }
        let mut former = std::mem::take(&mut self.wanted);
        let reads = |owned: &_| caller.may(Permission::ResourcesRead, owned);
        let Some(resources) = gateway::resources(&catalog, caller, &self.server_id, &reads) else {
            return;
        };
        for uri in uris {
            let found = resources.find(uri);
            let upstream = found.and_then(|found| Some((found.answering()?, found.uri)));
            let wanted = upstream.map(|(upstream, its)| {
                let id = upstream.record.id.as_str();
                let former = former.remove(uri).flatten();
                former
                    .filter(|wanted| wanted.upstream_id() == id && wanted.uri() == its)
                    .unwrap_or_else(|| self.shard.wants.want(id, its))
            });
            self.wanted.insert(uri.clone(), wanted);
        }
        self.wanted_in = catalog.sequence;
    }

    /// Adds those of our own resources among `uris` that changed.
    fn note_own(&mut self, caller: &Caller, uris: &BTreeSet<String>, news: &mut Vec<News>) {
        let catalog = self.shard.catalog();
        let reads = |owned: &_| caller.may(Permission::ResourcesRead, owned);
        let Some(resources) = gateway::resources(&catalog, caller, &self.server_id, &reads) else {
            return;
        };
        self.versions.retain(|uri, _| uris.contains(uri));
        for uri in uris {
            let Some(entry) = resources.find(uri).and_then(|found| found.own()) else { continue };
            let version = entry.record.audit.version;
            let former = self.versions.insert(uri.clone(), version);
            if former.is_some_and(|former| former != version) {
                news.push(News::Updated(uri.clone()));
            }
        }
    }

    /// Whether the endpoint has something of that upstream for the caller.
    fn offers(&self, catalog: &Catalog, caller: &Caller, upstream_id: &str) -> bool {
        let Some(view) = gateway::view(catalog, caller, &self.server_id) else { return false };
        let sees = |owned: &_| caller.sees(owned);
        let seen = crate::catalog::Seen { view, sees: &sees };
        seen.upstream_ids().any(|id| id == upstream_id)
    }

    /// Whether `wanted` is how the caller reads that owner's resource.
    fn reads(
        &self,
        catalog: &Catalog,
        caller: &Caller,
        wanted: &str,
        (owner_id, uri): (&str, &str),
    ) -> bool {
        let reads = |owned: &_| caller.may(Permission::ResourcesRead, owned);
        let resources = gateway::resources(catalog, caller, &self.server_id, &reads);
        let Some(found) = resources.and_then(|resources| resources.find(wanted)) else {
            return false;
        };
        let owner = match (found.own(), found.answering()) {
            (Some(entry), _) => Some(&entry.record.id),
            (None, upstream) => upstream.map(|upstream| &upstream.record.id),
        };
        found.uri == uri && owner.is_some_and(|id| id == owner_id)
    }
}

type Known = AHashMap<(String, Kind, Option<Lens>), (u64, u64)>;

thread_local! {
    /// What lists look like, by endpoint, list and lens: many streams of a shard share them. Each
    /// shard is a thread.
    static KNOWN: RefCell<Known> = RefCell::default();
}

fn lists(server_id: &str, view: &View, caller: &Caller) -> Lists {
    let of = |kind| known(server_id, kind, view, caller);
    Lists {
        tools: of(Kind::Tools),
        resources: of(Kind::Resources) ^ of(Kind::Templates).rotate_left(1),
        prompts: of(Kind::Prompts),
    }
}

fn known(server_id: &str, kind: Kind, view: &View, caller: &Caller) -> u64 {
    let permission = gateway::permission_of(kind);
    let lens = gateway::lens(caller, permission, &view.circles);
    let key = (server_id.to_owned(), kind, lens);
    let found = KNOWN.with_borrow(|known| known.get(&key).copied());
    if let Some((_, look)) = found.filter(|(version, _)| *version == view.version) {
        return look;
    }
    let look = match kind {
        Kind::Tools => look(&view.tools, caller, kind, |entry| entry.record.audit.version),
        Kind::Resources => look(&view.resources, caller, kind, |entry| entry.record.audit.version),
        Kind::Templates => look(&view.templates, caller, kind, |entry| entry.record.audit.version),
        Kind::Prompts => look(&view.prompts, caller, kind, |entry| entry.record.audit.version),
    };
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= KNOWN_COUNT_MAX {
            known.clear();
        }
        known.insert(key, (view.version, look));
    });
    look
}

/// What a list looks like: names, what stands under them and in which version.
fn look<T: Item>(
    shelf: &Shelf<T>,
    caller: &Caller,
    kind: Kind,
    version: impl Fn(&T) -> i64,
) -> u64 {
    let permission = gateway::permission_of(kind);
    let mut hasher = std::hash::DefaultHasher::new();
    for (name, item) in shelf.all_seen_after(None, |owned| caller.may(permission, owned)) {
        (&**name, item.id(), version(item)).hash(&mut hasher);
    }
    hasher.finish()
}
