//! Pages of lists, rendered once and answered many times.
//!
//! A page is the raw `result` object; the id is spliced in when it is written out. It is kept
//! until the offer that it was rendered from changes, and the former ones of that endpoint go with
//! it.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use ahash::AHashMap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use net::jsonrpc;
use storage::record::Ownership;

use crate::{
    catalog::{Others, PromptEntry, ResourceEntry, ToolEntry, View},
    failure::Failure,
    limits,
    mcp::{Era, ServerInfo, code},
};

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `tools/list`.
    Tools,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
    /// `prompts/list`.
    Prompts,
}

const KIND_COUNT: usize = 4;

/// A rendered page: the raw result object.
pub type Page = Rc<[u8]>;

/// Which page of which list of an endpoint.
pub struct PageRequest<'a> {
    /// The virtual server's id; empty for `/mcp`.
    pub endpoint: &'a str,
    /// Which list.
    pub kind: Kind,
    /// For a client of which era: modern results carry more.
    pub era: Era,
    /// The cursor that the client sent.
    pub cursor: Option<&'a str>,
    /// Entries of a page.
    pub count_max: usize,
    /// Whether the caller sees what is owned like this.
    pub sees: &'a dyn Fn(&Ownership) -> bool,
    /// What tells the caller's page from those of others; `None` for who sees everything.
    pub lens: Option<Lens>,
    /// The upstreams that are missed on the lists, since they do not answer: a raw array of names.
    pub missed: Option<Box<str>>,
    /// How the endpoint writes URIs.
    pub uris: &'a dyn Uris,
    /// What shows a tool besides; a page that is picked like that is nobody else's, and not kept.
    pub shows: Option<Shows<'a>>,
    /// What a page for a client of the stateless revision says it is from.
    pub server: &'a ServerInfo,
}

/// How an endpoint writes URIs that would lead to another owner if they were left as they are.
pub trait Uris {
    /// The URI of a resource, or the template of one; `None` if it is written as it is.
    fn of_resource(&self, entry: &ResourceEntry) -> Option<String>;
    /// The URI of what shows a tool (MCP Apps), for all callers alike; `None` if it is written as it
    /// is, or there is none.
    fn of_view(&self, entry: &ToolEntry) -> Option<String>;
}

/// Whether a tool is shown under a name.
pub type Shows<'a> = &'a dyn Fn(&ToolEntry, &str) -> bool;

/// Which of the teams and users that own something in an offer the caller belongs to. Callers of the
/// same lens see the same page; without any, it is the page of the public.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Lens {
    /// The teams, in the order of their ids.
    pub teams: Vec<Arc<str>>,
    /// The user.
    pub user: Option<Arc<str>>,
}

/// The pages that a shard has rendered.
#[derive(Default)]
pub struct Pages {
    everything: RefCell<EndpointPages>,
    servers: RefCell<AHashMap<Arc<str>, EndpointPages>>,
    kept: std::cell::Cell<Kept>,
}

#[derive(Clone, Copy, Default)]
struct Kept {
    count: usize,
    size: usize,
}

/// List, era, who sees it, what is missed on it, and cursor.
type PageKey = (Kind, bool, Option<Lens>, Option<Box<str>>, Box<str>);

#[derive(Default)]
struct EndpointPages {
    version: u64,
    first: [[Option<Page>; 2]; KIND_COUNT],
    further: AHashMap<PageKey, Page>,
}

impl Pages {
    /// Returns the page, rendered now or before.
    ///
    /// # Errors
    ///
    /// Code -32602 for a cursor that the gateway did not give out.
    pub fn get(&self, request: &PageRequest<'_>, view: &View) -> Result<Page, Failure> {
        if request.shows.is_some() {
            let cursor = request.cursor.filter(|cursor| !cursor.is_empty());
            return render(request, cursor, view).map(Rc::from);
        }
        if request.endpoint.is_empty() {
            let mut pages = self.everything.borrow_mut();
            return self.get_from(&mut pages, request, view);
        }
        let mut servers = self.servers.borrow_mut();
        if !servers.contains_key(request.endpoint) {
            servers.insert(request.endpoint.into(), EndpointPages::default());
        }
        let pages = servers.get_mut(request.endpoint).expect("it was inserted above");
        self.get_from(pages, request, view)
    }

    /// Forgets the pages of virtual servers that are gone.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        let mut servers = self.servers.borrow_mut();
        servers.retain(|id, pages| {
            let keep = exists(id);
            if !keep {
                self.forget(pages);
            }
            keep
        });
    }

    fn get_from(
        &self,
        pages: &mut EndpointPages,
        request: &PageRequest<'_>,
        view: &View,
    ) -> Result<Page, Failure> {
        if pages.version != view.version {
            self.forget(pages);
            pages.version = view.version;
        }
        let modern = request.era == Era::Modern;
        // "" is a valid cursor, and means the beginning.
        let cursor = request.cursor.filter(|cursor| !cursor.is_empty());
        let found = match further(request, cursor) {
            None => pages.first[request.kind as usize][usize::from(modern)].as_ref(),
            Some(key) => pages.further.get(&key),
        };
        if let Some(page) = found {
            return Ok(page.clone());
        }
        let page: Page = render(request, cursor, view)?.into();
        self.keep(pages, request, cursor, page.clone());
        Ok(page)
    }

    fn keep(
        &self,
        pages: &mut EndpointPages,
        request: &PageRequest<'_>,
        cursor: Option<&str>,
        page: Page,
    ) {
        let kept = self.kept.get();
        let (count, size) = (kept.count + 1, kept.size + page.len());
        if count > limits::PAGE_COUNT_MAX || size > limits::PAGE_SIZE_TOTAL_MAX {
            return;
        }
        self.kept.set(Kept { count, size });
        let era = usize::from(request.era == Era::Modern);
        match further(request, cursor) {
            None => pages.first[request.kind as usize][era] = Some(page),
            Some(key) => {
                pages.further.insert(key, page);
            }
        }
    }

    fn forget(&self, pages: &mut EndpointPages) {
        let mut kept = self.kept.get();
        let first = pages.first.iter().flatten().flatten();
        for page in first.chain(pages.further.values()) {
            kept.count -= 1;
            kept.size -= page.len();
        }
        self.kept.set(kept);
        *pages = EndpointPages::default();
    }
}

/// The key of a page that is not the first of those that everything is seen on.
fn further(request: &PageRequest<'_>, cursor: Option<&str>) -> Option<PageKey> {
    if cursor.is_none() && request.lens.is_none() && request.missed.is_none() {
        return None;
    }
    let (modern, cursor) = (request.era == Era::Modern, cursor.unwrap_or_default());
    Some((request.kind, modern, request.lens.clone(), request.missed.clone(), cursor.into()))
}

fn render(
    request: &PageRequest<'_>,
    cursor: Option<&str>,
    view: &View,
) -> Result<Vec<u8>, Failure> {
    let from = cursor.map(decode_cursor).transpose()?;
    let from = from.as_deref();
    let mut out = Vec::new();
    let last = match request.kind {
        Kind::Tools => {
            let write = |entry: &ToolEntry, out: &mut Vec<u8>, name: &str| {
                let ui_uri = request.uris.of_view(entry);
                let others = Others {
                    description: view.overrides.description(&entry.record.id),
                    ui_uri: ui_uri.as_deref(),
                    modern: request.era == Era::Modern,
                };
                entry.write(out, name, others);
            };
            let shows = |entry: &ToolEntry, name: &str| {
                request.shows.is_none_or(|shows| shows(entry, name))
            };
            let entries = view.tools.seen_after(from, request.sees);
            let entries = entries.filter(|(name, entry)| shows(entry, name));
            render_list(&mut out, "tools", entries, request.count_max, write)
        }
        Kind::Prompts => {
            let entries = view.prompts.seen_after(from, request.sees);
            render_list(&mut out, "prompts", entries, request.count_max, PromptEntry::write)
        }
        Kind::Resources | Kind::Templates => {
            let (key, shelf) = match request.kind {
                Kind::Resources => ("resources", &view.resources),
                _ => ("resourceTemplates", &view.templates),
            };
            let write = |entry: &ResourceEntry, out: &mut Vec<u8>, _: &str| {
                entry.write(out, request.uris.of_resource(entry).as_deref());
            };
            let entries = shelf.all_seen_after(from, request.sees);
            render_list(&mut out, key, entries, request.count_max, write)
        }
    };
    if let Some(last) = last {
        out.extend_from_slice(b",\"nextCursor\":");
        jsonrpc::write_string(&mut out, &URL_SAFE_NO_PAD.encode(last.as_bytes()));
    }
    if request.era == Era::Modern {
        out.extend_from_slice(
            b",\"resultType\":\"complete\",\"ttlMs\":0,\"cacheScope\":\"private\"",
        );
    }
    let missed = request.missed.as_ref().map(|missed| format!("\"{MISSED}\":{missed}"));
    let server = (request.era == Era::Modern).then(|| request.server.member());
    let meta: Vec<&str> = missed.as_deref().into_iter().chain(server).collect();
    if !meta.is_empty() {
        out.extend_from_slice(format!(",\"_meta\":{{{}}}", meta.join(",")).as_bytes());
    }
    out.push(b'}');
    Ok(out)
}

/// Where a list says whose entries it does not have.
const MISSED: &str = "ringway/unavailable";

/// Appends `{"key":[...]` of entries by name, and returns the last name of the page if there is more
/// behind it. Those that share the last name are on the page too.
fn render_list<'e, T: 'e>(
    out: &mut Vec<u8>,
    key: &str,
    entries: impl Iterator<Item = (&'e Arc<str>, &'e Arc<T>)>,
    count_max: usize,
    write: impl Fn(&T, &mut Vec<u8>, &str),
) -> Option<Arc<str>> {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":[");
    let (mut last, mut is_more) = (None, false);
    for (count, (name, entry)) in entries.enumerate() {
        is_more = count >= count_max && last != Some(name);
        if is_more {
            break;
        }
        if last.is_some() {
            out.push(b',');
        }
        write(entry, out, name);
        last = Some(name);
    }
    out.push(b']');
    last.filter(|_| is_more).cloned()
}

fn decode_cursor(cursor: &str) -> Result<String, Failure> {
    let bytes = (cursor.len() <= limits::CURSOR_SIZE_MAX)
        .then(|| URL_SAFE_NO_PAD.decode(cursor).ok())
        .flatten();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        let text = "Invalid cursor: send the nextCursor of the page before, or none";
        Failure::protocol(200, code::INVALID_PARAMS, text)
    })
}
