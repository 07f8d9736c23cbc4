use storage::Mutation::{DeleteTool, PutResource, PutTool};
use storage::record::{Era, Visibility};

use super::*;
use crate::catalog::naming;

fn gateway(name: &str) -> Gateway {
    Gateway {
        id: "g".to_owned(),
        name: name.to_owned(),
        slug: naming::slug(name, "-"),
        ..Gateway::default()
    }
}

fn inventory(tools: &[&str]) -> Inventory {
    let tool = |name: &&str| Listed {
        definition: format!(r#"{{"name":"{name}"}}"#),
        name: (*name).to_owned(),
        ..Listed::default()
    };
    Inventory {
        era: Era::Legacy,
        protocol_version: "2025-11-25".to_owned(),
        capabilities: None,
        server_info: None,
        instructions: None,
        tools: tools.iter().map(tool).collect(),
        resources: Vec::new(),
        templates: Vec::new(),
        prompts: Vec::new(),
        skipped: Vec::new(),
    }
}

fn names<'a>(taken: &[&'a str]) -> Names<'a> {
    let tools = taken.iter().copied().collect();
    Names { separator: "-", tools, prompts: HashSet::new(), former: None }
}

fn author() -> Author {
    Author { at: 7, email: Some("me".to_owned()), ..Author::default() }
}

fn run(owned: &Owned, tools: &[&str]) -> Reconciled {
    reconcile(owned, &inventory(tools), &gateway("gw"), &names(&[]), &author())
}

/// What is stored once the mutations were done.
fn stored(owned: &Owned, done: Reconciled) -> Owned {
    let mut owned = owned.clone();
    for mutation in done.mutations {
        match mutation {
            PutTool(tool) => {
                owned.tools.retain(|other| other.id != tool.id);
                assert!(
                    owned.tools.iter().all(|other| other.name != tool.name),
                    "the store would refuse {} here",
                    tool.name
                );
                owned.tools.push(Arc::new(*tool));
            }
            DeleteTool(id) => owned.tools.retain(|tool| tool.id != id),
            PutResource(resource) => owned.resources.push(Arc::new(*resource)),
            other => panic!("{other:?}"),
        }
    }
    owned.tools.sort_by_key(|tool| tool.position);
    owned
}

fn original_names(owned: &Owned) -> Vec<&str> {
    owned.tools.iter().map(|tool| tool.original_name.as_str()).collect()
}

#[test]
fn new_tools_get_name_owner_and_origin_of_their_gateway() {
    let mut gateway = gateway("fast_time");
    gateway.ownership.visibility = Visibility::Private;
    gateway.ownership.owner_email = Some("me".to_owned());
    let inventory = inventory(&["get_system_time"]);
    let done = reconcile(&Owned::default(), &inventory, &gateway, &names(&[]), &author());
    let [PutTool(tool)] = &done.mutations[..] else { panic!("{done:?}") };
    assert_eq!(tool.name, "fast-time-get-system-time");
    assert_eq!(tool.display_name.as_deref(), Some("Get System Time"));
    assert_eq!(tool.gateway_id.as_deref(), Some("g"));
    assert_eq!(tool.ownership, gateway.ownership);
    assert_eq!(tool.audit.created_via.as_deref(), Some("federation"));
    assert_eq!(tool.audit.federation_source.as_deref(), Some("fast_time"));
    assert_eq!(tool.definition, r#"{"name":"get_system_time"}"#);
    assert_eq!(done.tools, Counts { added: 1, ..Counts::default() });
}

#[test]
fn what_did_not_change_gives_no_mutation() {
    let owned = stored(&Owned::default(), run(&Owned::default(), &["a", "b"]));
    assert_eq!(run(&owned, &["a", "b"]), Reconciled::default());
}

#[test]
fn what_stays_keeps_its_id_and_what_people_decided() {
    let mut owned = stored(&Owned::default(), run(&Owned::default(), &["a", "b"]));
    let mut tool = Tool::clone(&owned.tools[0]);
    tool.enabled = false;
    tool.custom_name = Some("Alpha One".to_owned());
    tool.custom_description = Some("mine".to_owned());
    owned.tools[0] = Arc::new(tool.clone());
    let mut changed = inventory(&["a", "c"]);
    changed.tools[0].definition = r#"{"name":"a","description":"new"}"#.to_owned();
    changed.tools[0].description = Some("new".to_owned());
    let done = reconcile(&owned, &changed, &gateway("gw"), &names(&[]), &author());
    assert_eq!(done.tools, Counts { added: 1, updated: 1, removed: 1 });
    let owned = stored(&owned, done);
    let a = &owned.tools[0];
    assert_eq!((&a.id, a.enabled), (&tool.id, false));
    assert_eq!(a.name, "gw-alpha-one");
    assert_eq!(a.custom_description.as_deref(), Some("mine"));
    assert_eq!(a.original_description.as_deref(), Some("new"));
    assert_eq!((a.audit.version, a.audit.updated_at), (2, 7));
    assert_eq!(original_names(&owned), ["a", "c"]);
}

#[test]
fn a_name_that_another_gateway_has_is_skipped_and_said() {
    let inventory = inventory(&["a", "b"]);
    let done =
        reconcile(&Owned::default(), &inventory, &gateway("gw"), &names(&["gw-a"]), &author());
    assert_eq!(done.skipped, ["tool a: its name gw-a is that of another gateway's tool"]);
    assert_eq!(done.tools.added, 1);
}

#[test]
fn the_one_that_is_stored_keeps_a_name_that_two_want() {
    let owned = stored(&Owned::default(), run(&Owned::default(), &["get_time"]));
    let done = run(&owned, &["get-time", "get_time", "get_time"]);
    assert_eq!(done.tools, Counts { added: 0, updated: 1, removed: 0 });
    assert_eq!(
        done.skipped,
        [
            "tool get_time: it is listed twice, and the first is kept",
            "tool get-time: its name gw-get-time would be that of get_time too",
        ]
    );
}

#[test]
fn names_that_cannot_be_are_skipped_and_said() {
    let long = "x".repeat(200);
    let done = run(&Owned::default(), &["!", &long, "fine"]);
    assert_eq!(done.tools.added, 1);
    assert_eq!(done.skipped.len(), 2);
    assert!(done.skipped[1].contains("128 are allowed"), "{:?}", done.skipped);
}

/// Whatever the prefixes, no step takes a name that is given up only later.
#[test]
fn renames_come_in_an_order_that_the_store_can_follow() {
    let tools = ["c", "b_c", "b_b_c", "b_b_b_c", "a_c", "a_a_c", "aa", "a"];
    for from in ["a", "a b", "a b b", "b", "a a", "aa"] {
        let first = gateway(from);
        let made = reconcile(&Owned::default(), &inventory(&tools), &first, &names(&[]), &author());
        let owned = stored(&Owned::default(), made);
        for to in ["a", "a b", "a b b", "b", "a a", "aa"] {
            let done = follow(&owned, &gateway(to), &names(&[]), &author());
            assert_eq!(done.skipped, Vec::<String>::new());
            let renamed = stored(&owned, done);
            let slug = naming::slug(to, "-");
            assert!(
                renamed.tools.iter().all(|tool| tool.name.starts_with(&slug)),
                "{from} to {to}"
            );
        }
    }
}

#[test]
fn resources_are_matched_by_uri_and_templates_are_marked() {
    let mut inventory = inventory(&[]);
    let listed = |uri: &str| Listed { uri: Some(uri.to_owned()), ..Listed::default() };
    inventory.resources = vec![listed("demo://a"), listed("")];
    inventory.templates = vec![listed("demo://{x}")];
    let done = reconcile(&Owned::default(), &inventory, &gateway("gw"), &names(&[]), &author());
    assert_eq!(done.skipped, ["resource : it has no URI"]);
    let owned = stored(&Owned::default(), done);
    let templates: Vec<_> =
        owned.resources.iter().map(|resource| resource.uri_template.as_deref()).collect();
    assert_eq!(templates, [None, Some("demo://{x}")]);
}

#[test]
fn an_upstream_that_answered_is_described() {
    let mut gateway = gateway("gw");
    gateway.reachable = false;
    gateway.last_error = Some("gone".to_owned());
    describe(&mut gateway, &inventory(&[]), 9);
    assert!(gateway.reachable);
    assert_eq!((gateway.last_error, gateway.last_seen), (None, Some(9)));
    assert_eq!(gateway.era, Some(Era::Legacy));
}
