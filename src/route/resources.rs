//! Whose resource a URI is, where several upstreams may have the same.
//!
//! A URI stays as its owner writes it as long as it leads there. Where it would lead to another, the
//! endpoint writes it with the owner before it, `ringway.<slug>.<id>+<uri>`: a URI that says the same
//! for ever, whoever else comes or goes, and a template that remains one. Who came first keeps the
//! bare URI, even while it does not answer. The slug is for the reader; the first digits of the id
//! alone tell owners apart.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use net::jsonrpc;

use crate::{
    catalog::{Catalog, Item, ResourceEntry, Seen, Shelf, ToolEntry, Upstream, View},
    mcp::Uris,
    own::resource::variables,
};

/// What a URI begins with that names its owner.
const MARK: &str = "ringway.";

/// How many digits of an owner's id stand in a URI.
const ID_SIZE: usize = 12;

/// The resources of an endpoint, as one caller has them.
#[derive(Clone, Copy)]
pub struct Resources<'a> {
    /// Where the upstreams are.
    pub catalog: &'a Catalog,
    /// What the endpoint offers.
    pub seen: Seen<'a>,
    /// What it would offer besides if its upstreams answered.
    pub away: Seen<'a>,
}

/// Whose resource a URI is.
#[derive(Clone, Copy)]
pub struct Found<'a, 'u> {
    /// The resource or template by which it was found; none for a link that is listed nowhere.
    pub entry: Option<&'a Arc<ResourceEntry>>,
    /// The upstream that has it; none for one of our own.
    pub upstream: Option<&'a Arc<Upstream>>,
    /// The URI as its owner knows it.
    pub uri: &'u str,
    /// The upstream does not answer. Nobody else is asked for it then.
    pub is_away: bool,
}

impl<'a, 'u> Found<'a, 'u> {
    /// The entry, if it is one of our own.
    pub fn own(&self) -> Option<&'a Arc<ResourceEntry>> {
        self.entry.filter(|entry| entry.record.gateway_id.is_none())
    }

    /// The upstream, if it answers.
    pub fn answering(&self) -> Option<&'a Arc<Upstream>> {
        self.upstream.filter(|_| !self.is_away)
    }
}

/// Which shelf of an offer.
type Which = for<'v> fn(&'v View) -> &'v Shelf<ResourceEntry>;

const LISTED: Which = |view| &view.resources;
const TEMPLATES: Which = |view| &view.templates;

impl<'a> Resources<'a> {
    /// Whose `uri` is: of who lists it, of the owner that it names, of who has a template that fits
    /// it, or of the only upstream that there is (links in results need not be listed anywhere).
    pub fn find<'u>(&self, uri: &'u str) -> Option<Found<'a, 'u>> {
        self.first(LISTED, uri)
            .and_then(|one| self.found(one, uri))
            .or_else(|| parse(uri).and_then(|(owner, uri)| self.of_owner(owner, uri)))
            .or_else(|| self.found(self.fitting(uri)?, uri))
            .or_else(|| self.of_the_only_one(uri))
    }

    /// Whose the resource template is that is written `uri`, as completion refers to it; a URI that
    /// fits one will do.
    pub fn find_template<'u>(&self, uri: &'u str) -> Option<Found<'a, 'u>> {
        let named = |(owner, uri): (&str, &'u str)| {
            let all = self.wanting(TEMPLATES, uri);
            let one = { all }.find(|(entry, _)| owner_of(entry).starts_with(owner))?;
            self.found(one, uri)
        };
        (self.first(TEMPLATES, uri).and_then(|one| self.found(one, uri)))
            .or_else(|| parse(uri).and_then(named))
            .or_else(|| self.find(uri))
    }

    /// How the endpoint writes a URI of `owner` (an upstream's id, or that of a resource of our own),
    /// if not as it is.
    pub fn written(&self, owner: &str, uri: &str) -> Option<String> {
        let (holder, _) = self.first(LISTED, uri).or_else(|| self.fitting(uri))?;
        (owner_of(holder) != owner).then(|| self.qualified(owner, uri))
    }

    /// How the endpoint writes a template of `owner`, if not as it is: who came before and has one
    /// that the same URIs fit keeps them.
    fn written_template(&self, entry: &ResourceEntry) -> Option<String> {
        let template = &entry.record.uri;
        let (owner, sample) = (owner_of(entry), sample(template));
        let collides = |other: &ResourceEntry| {
            other.rank() < entry.rank()
                && owner_of(other) != owner
                && (other.record.uri == *template
                    || variables(&other.record.uri, &sample).is_some()
                    || variables(template, &self::sample(&other.record.uri)).is_some())
        };
        let collides = self.templates().any(|(other, _)| collides(other));
        collides.then(|| self.qualified(owner, template))
    }

    /// Upstreams that may have what is listed nowhere, those that came first before the others.
    pub fn candidates(&self) -> Vec<&'a Arc<Upstream>> {
        let ids: BTreeSet<&str> = self.seen.upstream_ids().collect();
        let all = ids.into_iter().filter_map(|id| self.catalog.upstream(id));
        let mut all: Vec<_> = all.filter(|upstream| has_resources(upstream)).collect();
        all.sort_by_key(|upstream| (upstream.record.audit.created_at, &upstream.record.id));
        all
    }

    /// Every one that wants `uri`, and whether it is away; those that came first before the others.
    fn wanting(
        &self,
        which: Which,
        uri: &str,
    ) -> impl Iterator<Item = (&'a Arc<ResourceEntry>, bool)> {
        let here = self.seen.wanting(which(self.seen.view), uri).map(|entry| (entry, false));
        let away = self.away.wanting(which(self.away.view), uri).map(|entry| (entry, true));
        let mut all: Vec<_> = here.chain(away).collect();
        all.sort_by(|one, other| one.0.rank().cmp(&other.0.rank()));
        all.into_iter()
    }

    fn first(&self, which: Which, uri: &str) -> Option<(&'a Arc<ResourceEntry>, bool)> {
        let here = self.seen.wanting(which(self.seen.view), uri).next();
        let away = self.away.wanting(which(self.away.view), uri).next();
        match (here, away) {
            (Some(here), Some(away)) if away.rank() < here.rank() => Some((away, true)),
            (Some(here), _) => Some((here, false)),
            (None, away) => away.map(|away| (away, true)),
        }
    }

    fn templates(&self) -> impl Iterator<Item = (&'a Arc<ResourceEntry>, bool)> {
        let away = self.away.templates().map(|entry| (entry, true));
        self.seen.templates().map(|entry| (entry, false)).chain(away)
    }

    /// The first template that fits `uri`.
    fn fitting(&self, uri: &str) -> Option<(&'a Arc<ResourceEntry>, bool)> {
        let fits =
            self.templates().filter(|(entry, _)| variables(&entry.record.uri, uri).is_some());
        fits.min_by(|one, other| one.0.rank().cmp(&other.0.rank()))
    }

    fn found<'u>(
        &self,
        (entry, is_away): (&'a Arc<ResourceEntry>, bool),
        uri: &'u str,
    ) -> Option<Found<'a, 'u>> {
        let upstream = match &entry.record.gateway_id {
            Some(id) => Some(self.catalog.upstream(id)?),
            None => None,
        };
        Some(Found { entry: Some(entry), upstream, uri, is_away })
    }

    /// Whose `uri` is, of an owner whose id begins with `owner`: it may be a link that it does not
    /// list.
    fn of_owner<'u>(&self, owner: &str, uri: &'u str) -> Option<Found<'a, 'u>> {
        let is_owners = |entry: &ResourceEntry| owner_of(entry).starts_with(owner);
        let listed = self.wanting(LISTED, uri).find(|(entry, _)| is_owners(entry));
        let fitting = || {
            let mut templates = self.templates().filter(|(entry, _)| is_owners(entry));
            templates.find(|(entry, _)| variables(&entry.record.uri, uri).is_some())
        };
        if let Some(one) = listed.or_else(fitting) {
            return self.found(one, uri);
        }
        let upstream = self.catalog.all_upstreams().beginning(owner)?;
        let is_here = self.offers(self.seen, &upstream.record.id);
        let is_away = !is_here && self.offers(self.away, &upstream.record.id);
        let found = Found { entry: None, upstream: Some(upstream), uri, is_away };
        (is_here || is_away).then_some(found)
    }

    fn of_the_only_one<'u>(&self, uri: &'u str) -> Option<Found<'a, 'u>> {
        let mut ids = self.seen.upstream_ids();
        let first = ids.next()?;
        let upstream = ids.all(|id| id == first).then(|| self.catalog.upstream(first)).flatten()?;
        Some(Found { entry: None, upstream: Some(upstream), uri, is_away: false })
    }

    fn offers(&self, seen: Seen<'_>, upstream_id: &str) -> bool {
        seen.upstream_ids().any(|id| id == upstream_id)
    }

    fn qualified(&self, owner: &str, uri: &str) -> String {
        let upstream = self.catalog.upstream(owner);
        let slug = upstream.map_or("own", |upstream| upstream.record.slug.as_str());
        qualify(slug, owner, uri)
    }
}

impl Uris for Resources<'_> {
    fn of_resource(&self, entry: &ResourceEntry) -> Option<String> {
        let uri = &entry.record.uri;
        if entry.record.uri_template.is_some() {
            return self.written_template(entry);
        }
        let (first, _) = self.first(LISTED, uri)?;
        (first.id() != entry.id()).then(|| self.qualified(owner_of(entry), uri))
    }

    fn of_view(&self, tool: &ToolEntry) -> Option<String> {
        let owner = tool.record.gateway_id.as_deref()?;
        self.written(owner, &tool.ui_uri()?)
    }
}

/// Whose an entry is: its upstream's, or its own.
fn owner_of(entry: &ResourceEntry) -> &str {
    entry.record.gateway_id.as_deref().unwrap_or(&entry.record.id)
}

/// Whether an upstream said that it has resources.
fn has_resources(upstream: &Upstream) -> bool {
    let capabilities = upstream.record.capabilities.as_deref().unwrap_or("{}");
    jsonrpc::pick(capabilities, ["resources"]).is_ok_and(|[found]| found.is_some())
}

/// A URI that fits a template.
fn sample(template: &str) -> Cow<'_, str> {
    if !template.contains('{') {
        return Cow::Borrowed(template);
    }
    let (mut out, mut rest) = (String::with_capacity(template.len()), template);
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((_, after)) = behind.split_once('}') else { break };
        out.push_str(before);
        out.push('x');
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A URI, or a template of one, with its owner before it. Its scheme is one (RFC 3986 §3.1) if the
/// URI's own is.
fn qualify(slug: &str, owner: &str, uri: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let slug: String = slug.chars().map(fit).collect();
    let id = owner.get(..ID_SIZE).unwrap_or(owner);
    format!("{MARK}{slug}.{id}+{uri}")
}

/// The beginning of the owner's id and the URI as the owner knows it, if `uri` names an owner.
fn parse(uri: &str) -> Option<(&str, &str)> {
    let (mark, rest) = (uri.get(..MARK.len())?, uri.get(MARK.len()..)?);
    let (owner, uri) = rest.split_once('+').filter(|_| mark.eq_ignore_ascii_case(MARK))?;
    let (_, id) = owner.rsplit_once('.')?;
    let is_id = id.len() == ID_SIZE && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some((id, uri))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use storage::{
        Change, Current,
        record::{Audit, Gateway, Ownership, Resource, Tool, Visibility},
        seal::Sealer,
    };

    use super::*;

    const A: &str = "aaaaaaaaaaaa11111111111111111111";
    const B: &str = "bbbbbbbbbbbb22222222222222222222";

    fn audit(created_at: i64) -> Audit {
        Audit { created_at, ..Audit::default() }
    }

    fn upstream(id: &str, slug: &str, reachable: bool) -> Current {
        Current::Gateway(Arc::new(Gateway {
            id: id.to_owned(),
            slug: slug.to_owned(),
            reachable,
            capabilities: Some(r#"{"resources":{}}"#.to_owned()),
            ..Gateway::default()
        }))
    }

    /// A resource, or a template if `uri` is one, that came at `created_at`.
    fn resource(created_at: i64, owner: Option<&str>, uri: &str) -> Current {
        let key = if uri.contains('{') { "uriTemplate" } else { "uri" };
        Current::Resource(Arc::new(Resource {
            id: format!("{created_at:032x}"),
            gateway_id: owner.map(str::to_owned),
            uri: uri.to_owned(),
            uri_template: uri.contains('{').then(|| uri.to_owned()),
            definition: format!(r#"{{"name":"r","{key}":"{uri}"}}"#),
            audit: audit(created_at),
            ..Resource::default()
        }))
    }

    fn catalog(records: Vec<Current>) -> Catalog {
        let mut catalog = Catalog::default();
        apply(&mut catalog, records);
        catalog
    }

    fn apply(catalog: &mut Catalog, records: Vec<Current>) {
        let changes = records.into_iter().zip(catalog.sequence + 1..);
        let changes = changes.map(|(current, sequence)| Change { sequence, current }).collect();
        catalog.apply(changes, &Sealer::new("a secret that only tests have"));
    }

    fn all(catalog: &Catalog) -> Resources<'_> {
        let (seen, away) = (Seen::all(&catalog.everything), Seen::all(&catalog.away));
        Resources { catalog, seen, away }
    }

    /// The owner that a URI leads to, its own URI, and whether it is away.
    fn led(catalog: &Catalog, uri: &str) -> Option<(char, String, bool)> {
        let found = all(catalog).find(uri)?;
        let owner = found.upstream.map_or("-", |upstream| &upstream.record.id);
        Some((owner.chars().next()?, found.uri.to_owned(), found.is_away))
    }

    fn to(owner: char, uri: &str) -> Option<(char, String, bool)> {
        Some((owner, uri.to_owned(), false))
    }

    /// The URIs and templates of an owner, as the endpoint lists them.
    fn listed(catalog: &Catalog, owner: &str) -> Vec<String> {
        let (resources, view) = (all(catalog), &catalog.everything);
        let shelves = [&view.resources, &view.templates].into_iter();
        let entries = shelves.flat_map(|shelf| shelf.all_seen_after(None, |_| true));
        let entries = entries.map(|(_, entry)| entry).filter(|entry| owner_of(entry) == owner);
        let uri = |entry: &Arc<ResourceEntry>| {
            resources.of_resource(entry).unwrap_or_else(|| entry.record.uri.clone())
        };
        entries.map(uri).collect()
    }

    fn two() -> Vec<Current> {
        vec![upstream(A, "Files", true), upstream(B, "my_files", true)]
    }

    const OF_B: &str = "ringway.my-files.bbbbbbbbbbbb+";

    #[test]
    fn a_uri_stays_as_it_is_while_one_upstream_has_it() {
        let mut records = two();
        records.extend([resource(1, Some(A), "x:a"), resource(2, Some(B), "x:b")]);
        let catalog = catalog(records);
        assert_eq!(listed(&catalog, A), ["x:a"]);
        assert_eq!(listed(&catalog, B), ["x:b"]);
        assert_eq!(led(&catalog, "x:a"), to('a', "x:a"));
        assert_eq!(led(&catalog, "x:b"), to('b', "x:b"));
        assert_eq!(
            led(&catalog, &format!("{OF_B}x:b")),
            to('b', "x:b"),
            "it may be asked for all the same"
        );
        assert_eq!(led(&catalog, "x:c"), None);
    }

    #[test]
    fn of_two_that_have_a_uri_the_first_keeps_it_and_the_other_names_its_owner() {
        let mut records = two();
        // The one that comes later has the lower id, and is read first.
        records.extend([resource(2, Some(B), "x:a"), resource(1, Some(A), "x:a")]);
        let catalog = catalog(records);
        assert_eq!(listed(&catalog, A), ["x:a"]);
        assert_eq!(listed(&catalog, B), [format!("{OF_B}x:a")]);
        assert_eq!(led(&catalog, "x:a"), to('a', "x:a"));
        assert_eq!(led(&catalog, &format!("{OF_B}x:a")), to('b', "x:a"));
        let resources = all(&catalog);
        assert_eq!(resources.written(A, "x:a"), None);
        assert_eq!(resources.written(B, "x:a"), Some(format!("{OF_B}x:a")));
        assert_eq!(resources.written(B, "x:unknown"), None);
    }

    #[test]
    fn a_uri_that_was_handed_out_leads_to_its_owner_whoever_comes_or_does_not_answer() {
        let mut records = two();
        records.extend([resource(1, Some(A), "x:a"), resource(2, Some(B), "x:a")]);
        let mut catalog = catalog(records);
        let version = catalog.everything.version;
        apply(&mut catalog, vec![upstream(A, "Files", false)]);
        assert!(catalog.everything.version > version);
        assert_eq!(led(&catalog, "x:a"), Some(('a', "x:a".to_owned(), true)));
        assert_eq!(listed(&catalog, B), [format!("{OF_B}x:a")], "also while the first is away");
        // The slug may change, the id says whose it is.
        apply(&mut catalog, vec![upstream(B, "other", true)]);
        assert_eq!(led(&catalog, &format!("{OF_B}x:a")), to('b', "x:a"));
        // Once the first one is gone, the bare URI is that of the second; the other is good still.
        let id = format!("{:032x}", 1);
        let gone = Current::Deleted { entity: storage::record::Entity::Resource, id };
        apply(&mut catalog, vec![gone]);
        assert_eq!(listed(&catalog, B), ["x:a"]);
        assert_eq!(led(&catalog, "x:a"), to('b', "x:a"));
        assert_eq!(led(&catalog, &format!("{OF_B}x:a")), to('b', "x:a"));
    }

    #[test]
    fn templates_that_the_same_uris_fit_are_told_apart_and_remain_templates() {
        for (first, second, both) in [
            ("x:{id}", "x:{id}", "x:7"),
            ("x:{+all}", "x:y/{id}", "x:y/7"),
            ("x:y/{id}", "x:{+all}", "x:y/7"),
        ] {
            let mut records = two();
            records.extend([resource(1, Some(A), first), resource(2, Some(B), second)]);
            let catalog = catalog(records);
            assert_eq!(listed(&catalog, A), [first]);
            let template = format!("{OF_B}{second}");
            assert_eq!(listed(&catalog, B), [&*template]);
            assert_eq!(led(&catalog, both), to('a', both));
            assert_eq!(led(&catalog, &format!("{OF_B}{both}")), to('b', both));
            let found = all(&catalog).find_template(&template).map(|found| found.uri);
            assert_eq!(found, Some(second));
        }
        let mut records = two();
        records.extend([resource(1, Some(A), "x:{id}"), resource(2, Some(B), "y:{id}")]);
        assert_eq!(listed(&catalog(records), B), ["y:{id}"]);
    }

    #[test]
    fn a_link_that_another_would_be_asked_for_names_its_owner() {
        let mut records = two();
        records.extend([resource(1, Some(A), "x:{id}"), resource(2, Some(B), "y:b")]);
        let catalog = catalog(records);
        let link = all(&catalog).written(B, "x:7").expect("it would lead to the other");
        assert_eq!(led(&catalog, &link), to('b', "x:7"));
        assert_eq!(all(&catalog).written(A, "x:7"), None);
    }

    #[test]
    fn who_does_not_see_the_first_has_the_bare_uri_of_the_second() {
        let mut records = two();
        let Current::Resource(secret) = resource(1, Some(A), "x:a") else { unreachable!() };
        let ownership = Ownership { visibility: Visibility::Team, ..Ownership::default() };
        let secret = Resource { ownership, ..(*secret).clone() };
        records.extend([Current::Resource(Arc::new(secret)), resource(2, Some(B), "x:a")]);
        let catalog = catalog(records);
        let public = |owned: &Ownership| owned.visibility == Visibility::Public;
        let with = |view| Seen { view, sees: &public };
        let (seen, away) = (with(&catalog.everything), with(&catalog.away));
        let resources = Resources { catalog: &catalog, seen, away };
        let upstream = resources.find("x:a").and_then(|found| found.upstream);
        assert_eq!(upstream.map(|upstream| &*upstream.record.id), Some(B));
        assert_eq!(resources.written(B, "x:a"), None);
        // Naming the owner shows no more than its resource is shown to.
        let named = "ringway.files.aaaaaaaaaaaa+x:a";
        assert!(resources.find(named).and_then(|found| found.entry).is_none());
        assert!(all(&catalog).find(named).and_then(|found| found.entry).is_some());
    }

    #[test]
    fn one_of_our_own_and_one_of_an_upstream_are_told_apart() {
        let mut records = two();
        records.extend([resource(1, Some(A), "x:a"), resource(2, None, "x:a")]);
        let catalog = catalog(records);
        let own = format!("{:032x}", 2);
        let uri = format!("ringway.own.{}+x:a", &own[..ID_SIZE]);
        assert_eq!(listed(&catalog, &own), [&*uri]);
        let resources = all(&catalog);
        let found = resources.find(&uri).and_then(|found| found.own());
        assert_eq!(found.map(|entry| entry.record.id.as_str()), Some(&*own));
        assert_eq!(led(&catalog, "x:a"), to('a', "x:a"));
    }

    #[test]
    fn what_shows_a_tool_is_that_of_its_upstream() {
        let mut records = two();
        let definition = r#"{"name":"t","_meta":{"ui":{"resourceUri":"ui://a"}}}"#.to_owned();
        let tool = Tool {
            id: "t".to_owned(),
            gateway_id: Some(B.to_owned()),
            definition,
            ..Tool::default()
        };
        records.extend([resource(1, Some(A), "ui://a"), resource(2, Some(B), "ui://a")]);
        records.push(Current::Tool(Arc::new(tool)));
        let catalog = catalog(records);
        let tool = catalog.tool("t").expect("it is there");
        assert_eq!(all(&catalog).of_view(tool), Some(format!("{OF_B}ui://a")));
    }

    #[test]
    fn what_looks_like_a_uri_with_an_owner_and_is_none_is_left_alone() {
        for uri in [
            "ringway.x+y",
            "ringway.x.zzzzzzzzzzzz+y",
            "ringway.x.aaaaaaaaaaa+y",
            "x",
            "",
            "ringway.a.aaaaaaaaaaaa",
            "äringway.a.aaaaaaaaaaaa+y",
        ] {
            assert_eq!(parse(uri), None, "{uri}");
        }
    }

    #[test]
    fn samples_fit_their_templates() {
        for template in ["t://{id}/data", "file:///{+path}", "a:{x}-{y*}", "plain", "q:{?a}"] {
            assert!(variables(template, &sample(template)).is_some(), "{template}");
        }
        assert_eq!(sample("broken{"), "broken{");
    }

    proptest! {
        #[test]
        fn naming_the_owner_and_reading_it_is_the_identity(
            slug in "\\PC{0,12}", id in "[0-9a-f]{32}", uri in "\\PC{0,60}",
        ) {
            let named = qualify(&slug, &id, &uri);
            prop_assert_eq!(parse(&named), Some((&id[..ID_SIZE], &*uri)));
            // Naming one again is reversed one by one.
            let twice = qualify("outer", &id, &named);
            prop_assert_eq!(parse(&twice), Some((&id[..ID_SIZE], &*named)));
            if uri.starts_with(|c: char| c.is_ascii_alphabetic()) {
                let scheme = named.split_once('+').expect("it has one").0;
                let fits = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
                prop_assert!(scheme.chars().all(fits), "{}", named);
            }
        }
    }
}
