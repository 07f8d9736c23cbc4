use super::*;
use storage::record::{Ownership, Transport};

fn sealer() -> Sealer {
    Sealer::new("a secret that only tests have")
}

fn gateway(id: &str) -> Current {
    Current::Gateway(Arc::new(Gateway {
        id: id.to_owned(),
        name: id.to_owned(),
        transport: Transport::StreamableHttp,
        ownership: Ownership::default(),
        ..Gateway::default()
    }))
}

fn tool(id: &str, gateway_id: &str, original_name: &str) -> Current {
    Current::Tool(Arc::new(Tool {
        id: id.to_owned(),
        gateway_id: Some(gateway_id.to_owned()),
        original_name: original_name.to_owned(),
        name: format!("{gateway_id}-{original_name}"),
        definition: format!(r#"{{"name":"{original_name}"}}"#),
        ..Tool::default()
    }))
}

fn server(id: &str, tool_prefix: Option<&str>, gateways: &[&str], tools: &[&str]) -> Current {
    Current::Server(Arc::new(Server {
        id: id.to_owned(),
        name: id.to_owned(),
        tool_prefix: tool_prefix.map(str::to_owned),
        associated_gateways: gateways.iter().map(|id| (*id).to_owned()).collect(),
        associated_tools: tools.iter().map(|id| (*id).to_owned()).collect(),
        ..Server::default()
    }))
}

fn apply(catalog: &mut Catalog, records: Vec<Current>) {
    let from = catalog.sequence;
    let changes = records.into_iter().zip(from + 1..);
    let changes = changes.map(|(current, sequence)| Change { sequence, current }).collect();
    catalog.apply(changes, &sealer());
}

fn names(view: &View) -> Vec<String> {
    view.tools.iter().map(|(name, _)| name.to_string()).collect()
}

fn two_upstreams() -> Catalog {
    let mut catalog = Catalog::default();
    let records = vec![
        gateway("time"),
        gateway("git"),
        tool("1", "time", "now"),
        tool("2", "time", "zone"),
        tool("3", "git", "log"),
    ];
    apply(&mut catalog, records);
    catalog
}

#[test]
fn offers_everything_in_the_order_of_names() {
    let catalog = two_upstreams();
    assert_eq!(names(&catalog.everything), ["git-log", "time-now", "time-zone"]);
    assert_eq!(catalog.sequence, 5);
}

#[test]
fn a_server_offers_what_it_chose_and_follows_the_upstreams_it_chose_whole() {
    let mut catalog = two_upstreams();
    apply(&mut catalog, vec![server("s", None, &["time"], &["3"])]);
    let view = |catalog: &Catalog| names(&catalog.server("s").expect("it is there").view);
    assert_eq!(view(&catalog), ["git-log", "time-now", "time-zone"]);
    let gone = Current::Deleted { entity: Entity::Tool, id: "1".to_owned() };
    apply(&mut catalog, vec![tool("4", "time", "sleep"), tool("5", "git", "diff"), gone]);
    assert_eq!(view(&catalog), ["git-log", "time-sleep", "time-zone"]);
}

#[test]
fn an_empty_prefix_gives_the_upstreams_own_names_and_another_stands_before_them() {
    let mut catalog = two_upstreams();
    let servers =
        vec![server("own", Some(""), &["time"], &[]), server("t", Some("t_"), &["time"], &[])];
    apply(&mut catalog, servers);
    assert_eq!(names(&catalog.server("own").expect("it is there").view), ["now", "zone"]);
    assert_eq!(names(&catalog.server("t").expect("it is there").view), ["t_now", "t_zone"]);
}

#[test]
fn an_upstream_that_is_switched_off_takes_its_offer_along_and_brings_it_back() {
    let mut catalog = two_upstreams();
    apply(&mut catalog, vec![server("s", None, &["time", "git"], &[])]);
    let off = Current::Gateway(Arc::new(Gateway {
        id: "time".to_owned(),
        name: "time".to_owned(),
        enabled: false,
        ..Gateway::default()
    }));
    apply(&mut catalog, vec![off]);
    assert_eq!(names(&catalog.everything), ["git-log"]);
    assert_eq!(names(&catalog.server("s").expect("it is there").view), ["git-log"]);
    apply(&mut catalog, vec![gateway("time")]);
    assert_eq!(names(&catalog.everything).len(), 3);
    assert_eq!(names(&catalog.server("s").expect("it is there").view).len(), 3);
}

fn silent(id: &str) -> Current {
    Current::Gateway(Arc::new(Gateway {
        id: id.to_owned(),
        name: id.to_owned(),
        reachable: false,
        ..Gateway::default()
    }))
}

#[test]
fn an_upstream_that_does_not_answer_takes_its_offer_out_of_the_lists_and_it_stays_known() {
    let mut catalog = two_upstreams();
    apply(&mut catalog, vec![server("s", Some(""), &["time", "git"], &[]), silent("time")]);
    let known = |catalog: &Catalog| {
        let server = catalog.server("s").expect("it is there");
        [&catalog.everything, &catalog.away, &server.view, &server.away].map(names)
    };
    let git = vec!["git-log".to_owned()];
    let away = vec!["time-now".to_owned(), "time-zone".to_owned()];
    let own = vec!["now".to_owned(), "zone".to_owned()];
    assert_eq!(known(&catalog), [git, away, vec!["log".to_owned()], own]);
    // A server that is made meanwhile, and a tool that is deleted.
    let gone = Current::Deleted { entity: Entity::Tool, id: "2".to_owned() };
    apply(&mut catalog, vec![server("t", None, &["time"], &[]), gone]);
    assert_eq!(names(&catalog.server("t").expect("it is there").away), ["time-now"]);
    assert_eq!(names(&catalog.away), ["time-now"]);
    apply(&mut catalog, vec![gateway("time")]);
    assert_eq!(names(&catalog.everything), ["git-log", "time-now"]);
    assert!(names(&catalog.away).is_empty());
    assert_eq!(names(&catalog.server("t").expect("it is there").view), ["time-now"]);
    assert!(names(&catalog.server("s").expect("it is there").away).is_empty());
}

#[test]
fn a_tool_that_is_switched_off_stays_off_when_its_upstream_comes_back() {
    let mut catalog = two_upstreams();
    let off = Current::Tool(Arc::new(Tool {
        id: "1".to_owned(),
        gateway_id: Some("time".to_owned()),
        name: "time-now".to_owned(),
        enabled: false,
        ..Tool::default()
    }));
    apply(&mut catalog, vec![off, silent("time")]);
    assert_eq!(names(&catalog.away), ["time-zone"]);
    apply(&mut catalog, vec![gateway("time")]);
    assert_eq!(names(&catalog.everything), ["git-log", "time-zone"]);
}

#[test]
fn a_changed_tool_is_listed_once_under_its_new_name() {
    let mut catalog = two_upstreams();
    apply(&mut catalog, vec![tool("1", "time", "clock")]);
    assert_eq!(names(&catalog.everything), ["git-log", "time-clock", "time-zone"]);
    let version = catalog.everything.version;
    apply(&mut catalog, vec![gateway("git")]);
    assert_eq!(catalog.everything.version, version, "nothing of the offer changed");
}

#[test]
fn a_former_snapshot_stays_as_it_was() {
    let mut catalog = two_upstreams();
    let former = catalog.clone();
    apply(&mut catalog, vec![Current::Deleted { entity: Entity::Tool, id: "3".to_owned() }]);
    assert_eq!(names(&former.everything).len(), 3);
    assert_eq!(names(&catalog.everything).len(), 2);
}

/// The order in which a load and a feed bring things differs; the outcome must not.
#[test]
fn a_loaded_catalog_offers_the_same_as_one_that_followed_the_changes() {
    let mut followed = two_upstreams();
    apply(&mut followed, vec![server("s", Some(""), &["time"], &["3"]), tool("0", "git", "now")]);
    let mut snapshot = Snapshot { sequence: followed.sequence, ..Snapshot::default() };
    snapshot.gateways = followed.upstreams().map(|upstream| upstream.record.clone()).collect();
    snapshot.tools = followed.tools().map(|tool| tool.record.clone()).collect();
    snapshot.tools.reverse();
    snapshot.servers = followed.servers().map(|server| server.record.clone()).collect();
    let loaded = Catalog::load(snapshot, &sealer());
    assert_eq!(names(&loaded.everything), names(&followed.everything));
    let view = |catalog: &Catalog| names(&catalog.server("s").expect("it is there").view);
    assert_eq!(view(&loaded), view(&followed));
}

#[test]
fn the_tool_of_an_agent_comes_and_goes_with_it_and_with_the_servers_that_chose_it() {
    let agent = |enabled| {
        let id = "agent".to_owned();
        Current::Agent(Arc::new(Agent { id, enabled, ..Agent::default() }))
    };
    let called = Tool {
        id: "t".to_owned(),
        agent_id: Some("agent".to_owned()),
        original_name: "ask".to_owned(),
        name: "ask".to_owned(),
        definition: r#"{"name":"ask"}"#.to_owned(),
        ..Tool::default()
    };
    let choosing = Server {
        id: "s".to_owned(),
        associated_a2a_agents: vec!["agent".to_owned()],
        ..Server::default()
    };
    let mut catalog = Catalog::default();
    apply(
        &mut catalog,
        vec![agent(true), Current::Tool(Arc::new(called)), Current::Server(Arc::new(choosing))],
    );
    let offered = |catalog: &Catalog| {
        let server = catalog.server("s").expect("it was put");
        (catalog.everything.tools.get("ask").is_some(), server.view.tools.get("ask").is_some())
    };
    assert_eq!(offered(&catalog), (true, true));
    apply(&mut catalog, vec![agent(false)]);
    assert_eq!(offered(&catalog), (false, false));
    apply(&mut catalog, vec![agent(true)]);
    assert_eq!(offered(&catalog), (true, true));
}
