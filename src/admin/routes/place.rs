//! The tree of paths: which routes each place of it has, by method.

use super::Route;

/// A place in the tree of paths, whatever the method.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    Probe(Route<'a>),
    Collection(Route<'a>, Option<Route<'a>>),
    Record {
        get: Route<'a>,
        put: Option<Route<'a>>,
        delete: Option<Route<'a>>,
    },
    /// A record that is rendered too.
    Prompt(&'a str),
    Action(Route<'a>),
    /// What is not shown by itself, but goes, and may be changed.
    Part {
        put: Option<Route<'a>>,
        delete: Route<'a>,
    },
}

impl<'a> Place<'a> {
    pub(super) fn find(path: &'a str) -> Option<Place<'a>> {
        let path = match path.strip_prefix("/v1") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => path,
        };
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        if let Some(place) = Place::by_uri(path) {
            return Some(place);
        }
        let mut parts = path.split('/');
        let found = match (parts.next()?, parts.next()) {
            ("", None) => Place::Probe(Route::Home),
            ("health", None) => Place::Probe(Route::Health),
            ("health", Some("security")) => Place::Probe(Route::Security),
            ("auth", Some("csrf-token")) => Place::Probe(Route::CsrfToken),
            ("ready", None) => Place::Probe(Route::Ready),
            ("version", None) => Place::Probe(Route::Version),
            ("openapi.json", None) => Place::Probe(Route::OpenApi),
            ("docs" | "redoc", None) => Place::Probe(Route::Docs),
            ("gateways", id) => Place::gateway(id, parts.next(), parts.next())?,
            ("tags", None) => Place::Collection(Route::Tags, None),
            ("tags", Some(tag)) if parts.next() == Some("entities") => {
                Place::Collection(Route::TagEntities(tag), None)
            }
            (".well-known", Some("oauth-protected-resource")) => match parts.next() {
                None | Some("mcp") => Place::Probe(Route::ProtectedResource),
                Some("servers") => {
                    let id = parts.next().filter(|id| !id.is_empty())?;
                    // ContextForge takes the address without `/mcp` too.
                    parts.next().is_none_or(|last| last == "mcp").then_some(())?;
                    Place::Probe(Route::ProtectedServer(id))
                }
                Some(_) => return None,
            },
            ("servers", Some(id)) if parts.clone().next() == Some(".well-known") => {
                parts.next();
                (parts.next() == Some("oauth-protected-resource") && !id.is_empty())
                    .then_some(())?;
                Place::Probe(Route::ProtectedServer(id))
            }
            ("servers", id) => Place::server(id, parts.next())?,
            ("export", None) => Place::Collection(Route::Export, None),
            ("export", Some("selective")) => Place::Action(Route::ExportSelective),
            ("import", None) => Place::Action(Route::Import),
            ("import", Some("cleanup")) => Place::Action(Route::CleanUpImports),
            ("import", Some("status")) => match parts.next() {
                None => Place::Collection(Route::ImportStatuses, None),
                Some(id) => Place::Collection(Route::ImportStatus(id), None),
            },
            ("a2a", id) => Place::agent(id, parts.next())?,
            ("admin", Some("tools")) if parts.next() == Some("import") => {
                Place::Action(Route::ImportTools)
            }
            ("tools", Some("bulk")) => Place::Action(Route::ImportTools),
            ("audit", None) => Place::Probe(Route::Audit),
            ("audit", Some("export")) => Place::Probe(Route::AuditExport),
            ("api", Some("logs")) if parts.next() == Some("audit-trails") => {
                Place::Probe(Route::AuditTrails)
            }
            ("metrics", None) => Place::Collection(Route::Metrics, None),
            ("metrics", Some("reset")) => Place::Action(Route::ResetMetrics),
            ("tools", Some("import-openapi")) => Place::Action(Route::ImportOpenapi),
            ("tools", Some("generate-schemas-from-openapi")) => {
                Place::Action(Route::GenerateSchemas)
            }
            ("tools", id) => Place::tool(id, parts.next())?,
            ("resources", Some("templates")) if parts.next() == Some("list") => {
                Place::Collection(Route::ResourceTemplates, None)
            }
            ("resources", Some("subscribe")) => Place::Action(Route::SubscribeResources),
            ("resources", id) => Place::resource(id, parts.next())?,
            ("prompts", id) => Place::prompt(id, parts.next())?,
            ("policies", id) => Place::policy(id, parts.next())?,
            ("roots", None) => Place::Collection(Route::Roots, Some(Route::CreateRoot)),
            ("roots", Some("export")) => Place::Probe(Route::ExportRoot),
            ("roots", Some("changes")) => Place::Probe(Route::RootChanges),
            ("initialize", None) | ("protocol", Some("initialize")) => {
                Place::Action(Route::Initialize)
            }
            ("protocol", Some("ping")) => Place::Action(Route::Ping),
            ("notifications", None) | ("protocol", Some("notifications")) => {
                Place::Action(Route::Notify)
            }
            ("protocol", Some("completion")) if parts.next() == Some("complete") => {
                Place::Action(Route::Complete)
            }
            ("protocol", Some("sampling")) if parts.next() == Some("createMessage") => {
                Place::Action(Route::Sample)
            }
            ("logging", Some("setLevel")) => Place::Action(Route::SetLogLevel),
            ("auth", part) => Place::auth(part, parts.next(), &mut parts)?,
            ("tokens", id) => Place::token(id, parts.next())?,
            ("teams", id) => Place::team(id, [parts.next(), parts.next(), parts.next()])?,
            ("rbac", part) => Place::rbac(part, [parts.next(), parts.next(), parts.next()])?,
            _ => return None,
        };
        (parts.next().is_none()).then_some(found)
    }

    /// A place whose name is a URI, slashes and all.
    fn by_uri(path: &'a str) -> Option<Place<'a>> {
        if let Some(uri) = path.strip_prefix("resources/test/").filter(|uri| !uri.is_empty()) {
            return Some(Place::Probe(Route::TestResource(uri)));
        }
        let is_name = |uri: &&str| !matches!(*uri, "" | "export" | "changes");
        let uri = path.strip_prefix("roots/").filter(is_name)?;
        Some(Place::Record {
            get: Route::Root(uri),
            put: Some(Route::UpdateRoot(uri)),
            delete: Some(Route::DeleteRoot(uri)),
        })
    }

    pub(super) fn get(self) -> Option<Route<'a>> {
        match self {
            Place::Probe(get) | Place::Collection(get, _) | Place::Record { get, .. } => Some(get),
            Place::Prompt(id) => Some(Route::Prompt(id)),
            Place::Action(_) | Place::Part { .. } => None,
        }
    }

    pub(super) fn post(self) -> Option<Route<'a>> {
        match self {
            Place::Collection(_, post) => post,
            Place::Action(post) => Some(post),
            Place::Prompt(id) => Some(Route::RenderPrompt(id)),
            _ => None,
        }
    }

    pub(super) fn put(self) -> Option<Route<'a>> {
        match self {
            Place::Record { put, .. } | Place::Part { put, .. } => put,
            Place::Prompt(id) => Some(Route::UpdatePrompt(id)),
            _ => None,
        }
    }

    pub(super) fn delete(self) -> Option<Route<'a>> {
        match self {
            Place::Record { delete, .. } => delete,
            Place::Part { delete, .. } => Some(delete),
            Place::Prompt(id) => Some(Route::DeletePrompt(id)),
            _ => None,
        }
    }

    pub(super) fn allow(self) -> &'static str {
        match self {
            Place::Probe(_) | Place::Collection(_, None) => "GET, HEAD",
            Place::Collection(_, Some(_)) => "GET, HEAD, POST",
            Place::Record { put: None, .. } => "GET, HEAD",
            Place::Record { get: Route::User(_), .. } => "GET, HEAD, PUT, PATCH, DELETE",
            Place::Record { .. } => "GET, HEAD, PUT, DELETE",
            Place::Prompt(_) => "GET, HEAD, POST, PUT, DELETE",
            Place::Action(_) => "POST",
            Place::Part { put: Some(_), .. } => "PUT, DELETE",
            Place::Part { put: None, .. } => "DELETE",
        }
    }
}
