//! Transactions: all or nothing, who is named when nothing, and what follows from a deletion.

use storage::record::{Agent, Entity, IntegrationType, Tool, Visibility};
use storage::{Current, Mutation, Store, StoreError};

use crate::harness::*;

fn stocked(backend: Backend) -> (Fixture, Store) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    apply(&store, registry()).unwrap();
    (fixture, store)
}

/// Applies the mutations, which must fail, and leave everything as it was.
fn refusal(backend: Backend, mutations: Vec<Mutation>) -> StoreError {
    let (_fixture, store) = stocked(backend);
    let before = block_on(store.load()).unwrap();
    let error = apply(&store, mutations).unwrap_err();
    assert_eq!(block_on(store.load()).unwrap(), before, "something was written");
    assert_eq!(changes(&store, before.sequence, 10).items, []);
    error
}

fn conflict(entity: Entity, field: &'static str, value: &str) -> StoreError {
    StoreError::Conflict { entity, field, value: value.to_owned() }
}

fn not_found(entity: Entity, id: &str) -> StoreError {
    StoreError::NotFound { entity, id: id.to_owned() }
}

fn a_conflict_in_the_middle_undoes_what_came_before_it(backend: Backend) {
    let mut same_name = tool("new", "b");
    same_name.name = "a-a1".to_owned();
    let error = refusal(
        backend,
        vec![
            put_gateway(gateway("c")),
            Mutation::DeleteTool("a2".to_owned()),
            put_tool(same_name),
            put_tool(tool("never", "c")),
        ],
    );
    assert_eq!(error, conflict(Entity::Tool, "name", "a-a1"));
}

fn every_unique_field_is_named_with_its_value(backend: Backend) {
    let mut slug = gateway("c");
    slug.slug = "gateway-a".to_owned();
    let error = refusal(backend, vec![put_gateway(slug)]);
    assert_eq!(error, conflict(Entity::Gateway, "slug", "gateway-a"));

    let mut url = gateway("c");
    url.url = gateway("a").url;
    let error = refusal(backend, vec![put_gateway(url)]);
    assert_eq!(error, conflict(Entity::Gateway, "url", "http://a.example/mcp"));

    let mut name = server("s2");
    name.name = "Server s".to_owned();
    assert_eq!(
        refusal(backend, vec![put_server(name)]),
        conflict(Entity::Server, "name", "Server s")
    );

    let mut name = prompt("p2", "b");
    name.name = "a-p1".to_owned();
    let error = refusal(backend, vec![Mutation::PutPrompt(Box::new(name))]);
    assert_eq!(error, conflict(Entity::Prompt, "name", "a-p1"));

    let mut uri = resource("r2", "a");
    uri.uri = "demo://r1".to_owned();
    let error = refusal(backend, vec![Mutation::PutResource(Box::new(uri))]);
    assert_eq!(error, conflict(Entity::Resource, "uri", "demo://r1"));
}

fn two_upstreams_may_offer_one_uri_and_a_template_may_read_like_a_uri(backend: Backend) {
    let (_fixture, store) = stocked(backend);
    let mut elsewhere = resource("r2", "b");
    elsewhere.uri = "demo://r1".to_owned();
    let mut template = resource("r3", "a");
    template.uri = "demo://r1".to_owned();
    template.uri_template = Some("demo://r1".to_owned());
    let puts = [elsewhere, template].map(|record| Mutation::PutResource(Box::new(record)));
    apply(&store, puts.into()).unwrap();
}

fn gateways_without_a_url_do_not_collide(backend: Backend) {
    let (_fixture, store) = stocked(backend);
    for id in ["x", "y"] {
        let mut child = gateway(id);
        child.url = None;
        apply(&store, vec![put_gateway(child)]).unwrap();
    }
}

fn a_name_may_be_used_again_in_another_team_but_not_twice_in_one(backend: Backend) {
    let (_fixture, store) = stocked(backend);
    let of_team = |id: &str, team: &str| {
        let mut named = server(id);
        named.name = "Server s".to_owned();
        named.ownership.visibility = Visibility::Team;
        named.ownership.team_id = Some(team.to_owned());
        put_server(named)
    };
    apply(&store, vec![of_team("s1", "red"), of_team("s2", "blue")]).unwrap();
    let error = apply(&store, vec![of_team("s3", "red")]).unwrap_err();
    assert_eq!(error, conflict(Entity::Server, "name", "Server s"));
}

fn a_name_given_up_in_a_transaction_can_be_taken_later_in_it(backend: Backend) {
    let (_fixture, store) = stocked(backend);
    let mut heir = tool("heir", "a");
    heir.name = "a-a1".to_owned();
    apply(&store, vec![Mutation::DeleteTool("a1".to_owned()), put_tool(heir)]).unwrap();
}

fn what_is_missing_is_named(backend: Backend) {
    assert_eq!(
        refusal(backend, vec![Mutation::DeleteTool("gone".to_owned())]),
        not_found(Entity::Tool, "gone")
    );
    assert_eq!(
        refusal(backend, vec![Mutation::DeleteGateway("gone".to_owned())]),
        not_found(Entity::Gateway, "gone")
    );
    assert_eq!(
        refusal(backend, vec![put_tool(tool("orphan", "gone"))]),
        not_found(Entity::Gateway, "gone")
    );
    let of_nobody = Tool { agent_id: Some("gone".to_owned()), ..tool("orphan", "a") };
    assert_eq!(refusal(backend, vec![put_tool(of_nobody)]), not_found(Entity::Agent, "gone"));
    for entity in [Entity::Tool, Entity::Resource, Entity::Prompt, Entity::Agent, Entity::Gateway] {
        let mut choosing = server("s2");
        let list = match entity {
            Entity::Tool => &mut choosing.associated_tools,
            Entity::Resource => &mut choosing.associated_resources,
            Entity::Prompt => &mut choosing.associated_prompts,
            Entity::Agent => &mut choosing.associated_a2a_agents,
            _ => &mut choosing.associated_gateways,
        };
        list.push("gone".to_owned());
        assert_eq!(refusal(backend, vec![put_server(choosing)]), not_found(entity, "gone"));
    }
}

fn a_stale_version_stops_the_transaction_and_a_fresh_one_does_not(backend: Backend) {
    let expect =
        |version| Mutation::Expect { entity: Entity::Gateway, id: "a".to_owned(), version };
    let error = refusal(backend, vec![Mutation::DeleteTool("a1".to_owned()), expect(7)]);
    let mismatch = StoreError::VersionMismatch {
        entity: Entity::Gateway,
        id: "a".to_owned(),
        expected: 7,
        found: 1,
    };
    assert_eq!(error, mismatch);

    let (_fixture, store) = stocked(backend);
    let mut renamed = gateway("a");
    renamed.name = "renamed".to_owned();
    renamed.audit.version = 2;
    apply(&store, vec![expect(1), put_gateway(renamed.clone())]).unwrap();
    let error = apply(&store, vec![expect(1), put_gateway(renamed)]).unwrap_err();
    assert!(matches!(error, StoreError::VersionMismatch { found: 2, .. }));
}

fn deleting_a_gateway_takes_its_offers_and_their_places_in_servers(backend: Backend) {
    let (_fixture, store) = stocked(backend);
    let applied = apply(&store, vec![Mutation::DeleteGateway("a".to_owned())]).unwrap();
    let mut told = words(&applied.changes);
    // The tools of one gateway go in no promised order.
    told[..2].sort();
    assert_eq!(
        told,
        ["-tool a1", "-tool a2", "-resource r1", "-prompt p1", "-gateway a", "server s"]
    );
    let sequences: Vec<i64> = applied.changes.iter().map(|change| change.sequence).collect();
    assert_eq!(sequences, [9, 10, 11, 12, 13, 14]);

    let snapshot = block_on(store.load()).unwrap();
    assert_eq!((snapshot.gateways.len(), snapshot.tools.len()), (1, 1));
    assert!(snapshot.resources.is_empty() && snapshot.prompts.is_empty());
    let left = &snapshot.servers[0];
    assert_eq!(left.associated_tools, ["b1"]);
    assert_eq!(left.associated_gateways, ["b"]);
    assert!(left.associated_resources.is_empty() && left.associated_prompts.is_empty());
    assert_eq!(left.audit.version, 2);
    assert!(left.audit.updated_at > 0);
    assert_eq!(applied.changes[5].current, Current::Server(left.clone()));
    assert_eq!(changes(&store, 8, 100).items, applied.changes);
}

fn deleting_an_agent_takes_its_tool_and_its_place_in_servers(backend: Backend) {
    let (_fixture, store) = stocked(backend);
    let agent = Agent { id: "g".to_owned(), slug: "g".to_owned(), ..Agent::default() };
    let called = Tool {
        gateway_id: None,
        agent_id: Some("g".to_owned()),
        integration_type: IntegrationType::A2a,
        ..tool("gt", "agent")
    };
    let mut choosing = server("s2");
    choosing.associated_a2a_agents = vec!["g".to_owned()];
    let put = vec![Mutation::PutAgent(Box::new(agent)), put_tool(called), put_server(choosing)];
    apply(&store, put).unwrap();
    let applied = apply(&store, vec![Mutation::DeleteAgent("g".to_owned())]).unwrap();
    assert_eq!(words(&applied.changes), ["-tool gt", "-a2a_agent g", "server s2"]);
    let snapshot = block_on(store.load()).unwrap();
    assert!(snapshot.agents.is_empty());
    assert!(snapshot.servers.iter().all(|server| server.associated_a2a_agents.is_empty()));
}

fn a_server_that_loses_many_tools_is_told_of_once(backend: Backend) {
    let (_fixture, store) = stocked(backend);
    let deletions = ["a1", "a2", "b1"].map(|id| Mutation::DeleteTool(id.to_owned()));
    let applied = apply(&store, deletions.into()).unwrap();
    assert_eq!(words(&applied.changes), ["-tool a1", "-tool a2", "-tool b1", "server s"]);
    assert_eq!(block_on(store.load()).unwrap().servers[0].audit.version, 2);
}

fn a_server_written_or_deleted_after_it_lost_a_tool_is_not_told_of_again(backend: Backend) {
    let (_fixture, store) = stocked(backend);
    let lose = Mutation::DeleteTool("a1".to_owned());
    let applied = apply(&store, vec![lose, put_server(server("s"))]).unwrap();
    assert_eq!(words(&applied.changes), ["-tool a1", "server s"]);

    let (_fixture, store) = stocked(backend);
    let lose = Mutation::DeleteTool("a1".to_owned());
    let applied = apply(&store, vec![lose, Mutation::DeleteServer("s".to_owned())]).unwrap();
    assert_eq!(words(&applied.changes), ["-tool a1", "-server s"]);
}

fn deleting_a_server_leaves_what_it_chose(backend: Backend) {
    let (_fixture, store) = stocked(backend);
    let applied = apply(&store, vec![Mutation::DeleteServer("s".to_owned())]).unwrap();
    assert_eq!(words(&applied.changes), ["-server s"]);
    assert_eq!(block_on(store.load()).unwrap().tools.len(), 3);
}

fn an_empty_transaction_changes_nothing(backend: Backend) {
    let (_fixture, store) = stocked(backend);
    let applied = apply(&store, Vec::new()).unwrap();
    assert_eq!((applied.sequence, applied.changes.len()), (8, 0));
}

fn a_small_value_is_kept_and_replaced(backend: Backend) {
    let (fixture, store) = stocked(backend);
    assert_eq!(block_on(store.get_meta("node")).unwrap(), None);
    block_on(store.put_meta("node", "one")).unwrap();
    block_on(store.put_meta("node", "two")).unwrap();
    block_on(store.close());
    let store = fixture.open();
    assert_eq!(block_on(store.get_meta("node")).unwrap().as_deref(), Some("two"));
}

on_every_backend! {
    a_conflict_in_the_middle_undoes_what_came_before_it,
    every_unique_field_is_named_with_its_value,
    two_upstreams_may_offer_one_uri_and_a_template_may_read_like_a_uri,
    gateways_without_a_url_do_not_collide,
    a_name_may_be_used_again_in_another_team_but_not_twice_in_one,
    a_name_given_up_in_a_transaction_can_be_taken_later_in_it,
    what_is_missing_is_named,
    a_stale_version_stops_the_transaction_and_a_fresh_one_does_not,
    deleting_a_gateway_takes_its_offers_and_their_places_in_servers,
    deleting_an_agent_takes_its_tool_and_its_place_in_servers,
    a_server_that_loses_many_tools_is_told_of_once,
    a_server_written_or_deleted_after_it_lost_a_tool_is_not_told_of_again,
    deleting_a_server_leaves_what_it_chose,
    an_empty_transaction_changes_nothing,
    a_small_value_is_kept_and_replaced,
}
