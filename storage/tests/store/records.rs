//! What is put comes back, field by field and byte by byte.

use std::sync::Arc;
use std::time::Instant;

use storage::record::{
    Agent, Audit, AuthType, Era, Gateway, IntegrationType, Ownership, Prompt, ProtocolPin,
    Resource, Root, Server, SessionMode, Tool, Transport, Visibility,
};
use storage::{Current, Mutation, Snapshot};

use crate::harness::*;

/// A text that no other field has, with what text may hold.
fn text(field: &str) -> String {
    format!("{field}: \"q\" \\ \n\t é 名 🦀 $1 %")
}

fn some(field: &str) -> Option<String> {
    Some(text(field))
}

fn audit() -> Audit {
    Audit {
        created_at: 1_763_800_000_000_001,
        created_by: some("created_by"),
        created_from_ip: some("created_from_ip"),
        created_via: some("created_via"),
        created_user_agent: some("created_user_agent"),
        updated_at: i64::MAX,
        modified_by: some("modified_by"),
        modified_from_ip: some("modified_from_ip"),
        modified_via: some("modified_via"),
        modified_user_agent: some("modified_user_agent"),
        import_batch_id: some("import_batch_id"),
        federation_source: some("federation_source"),
        version: 77,
    }
}

fn ownership() -> Ownership {
    Ownership { team_id: some("team"), owner_email: some("owner"), visibility: Visibility::Team }
}

fn full_gateway() -> Gateway {
    Gateway {
        id: "g".to_owned(),
        name: text("name"),
        slug: text("slug"),
        url: some("url"),
        description: some("description"),
        transport: Transport::Stdio,
        command: vec!["npx".to_owned(), text("command"), String::new()],
        env_sealed: some("env_sealed"),
        protocol: ProtocolPin::Modern,
        session_mode: SessionMode::PerClient,
        era: Some(Era::Legacy),
        protocol_version: some("protocol_version"),
        capabilities: some("capabilities"),
        instructions: some("instructions"),
        server_info: some("server_info"),
        auth_type: Some(AuthType::AuthHeaders),
        auth_sealed: some("auth_sealed"),
        ca_certificate: some("ca_certificate"),
        passthrough_headers: Some(vec![text("passthrough")]),
        skipped_tools: vec![text("skipped")],
        tags: vec![text("tag"), "b".to_owned()],
        enabled: false,
        reachable: false,
        last_seen: Some(1),
        last_error: some("last_error"),
        last_refresh_at: Some(2),
        refresh_interval_seconds: Some(3),
        ownership: ownership(),
        audit: audit(),
    }
}

fn full_tool() -> Tool {
    Tool {
        id: "t".to_owned(),
        gateway_id: Some("g".to_owned()),
        agent_id: Some("a".to_owned()),
        original_name: text("original_name"),
        custom_name: some("custom_name"),
        custom_name_slug: text("custom_name_slug"),
        name: text("name"),
        display_name: some("display_name"),
        title: some("title"),
        original_description: some("original_description"),
        custom_description: some("custom_description"),
        integration_type: IntegrationType::A2a,
        definition: text("definition"),
        rest: some("rest"),
        auth_type: Some(AuthType::QueryParam),
        auth_sealed: some("auth_sealed"),
        deprecated: true,
        validate_arguments: false,
        extension_metadata: some("extension_metadata"),
        position: -4,
        tags: vec![text("tag")],
        enabled: false,
        reachable: false,
        ownership: ownership(),
        audit: audit(),
    }
}

fn full_resource() -> Resource {
    Resource {
        id: "r".to_owned(),
        gateway_id: Some("g".to_owned()),
        uri: text("uri"),
        uri_template: some("uri_template"),
        name: text("name"),
        title: some("title"),
        description: some("description"),
        mime_type: some("mime_type"),
        size: Some(5),
        definition: text("definition"),
        content: some("content"),
        is_binary: true,
        extension_metadata: some("extension_metadata"),
        position: 6,
        tags: vec![text("tag")],
        enabled: false,
        ownership: ownership(),
        audit: audit(),
    }
}

fn full_prompt() -> Prompt {
    Prompt {
        id: "p".to_owned(),
        gateway_id: Some("g".to_owned()),
        original_name: text("original_name"),
        custom_name: some("custom_name"),
        custom_name_slug: text("custom_name_slug"),
        name: text("name"),
        display_name: some("display_name"),
        title: some("title"),
        description: some("description"),
        definition: text("definition"),
        template: some("template"),
        position: 7,
        tags: vec![text("tag")],
        enabled: false,
        ownership: ownership(),
        audit: audit(),
    }
}

fn full_server() -> Server {
    Server {
        id: "s".to_owned(),
        name: text("name"),
        description: some("description"),
        icon: some("icon"),
        associated_tools: vec!["t".to_owned()],
        associated_resources: vec!["r".to_owned()],
        associated_prompts: vec!["p".to_owned()],
        associated_a2a_agents: vec!["a".to_owned()],
        associated_gateways: vec!["g".to_owned()],
        tool_prefix: some("tool_prefix"),
        tool_overrides: some("tool_overrides"),
        auth_required: false,
        oauth_enabled: true,
        oauth_config: Some("{}".to_owned()),
        tags: vec![text("tag")],
        enabled: false,
        ownership: ownership(),
        audit: audit(),
    }
}

fn full_agent() -> Agent {
    Agent {
        id: "a".to_owned(),
        name: text("name"),
        slug: text("slug"),
        description: some("description"),
        endpoint_url: text("endpoint_url"),
        agent_type: text("agent_type"),
        protocol_version: text("protocol_version"),
        capabilities: text("capabilities"),
        config: text("config"),
        auth_type: Some(AuthType::OAuth),
        auth_sealed: some("auth_sealed"),
        passthrough_headers: Some(vec![text("passthrough")]),
        tags: vec![text("tag")],
        enabled: false,
        reachable: false,
        ownership: ownership(),
        audit: audit(),
    }
}

fn full_root() -> Root {
    Root {
        id: "o".to_owned(),
        uri: text("uri"),
        name: some("name"),
        ownership: ownership(),
        audit: audit(),
    }
}

fn expected(sequence: i64) -> Snapshot {
    Snapshot {
        sequence,
        gateways: vec![Arc::new(full_gateway())],
        tools: vec![Arc::new(full_tool())],
        resources: vec![Arc::new(full_resource())],
        prompts: vec![Arc::new(full_prompt())],
        servers: vec![Arc::new(full_server())],
        agents: vec![Arc::new(full_agent())],
        roots: vec![Arc::new(full_root())],
        identities: Vec::new(),
    }
}

fn puts() -> Vec<Mutation> {
    vec![
        Mutation::PutGateway(Box::new(full_gateway())),
        Mutation::PutAgent(Box::new(full_agent())),
        Mutation::PutTool(Box::new(full_tool())),
        Mutation::PutResource(Box::new(full_resource())),
        Mutation::PutPrompt(Box::new(full_prompt())),
        Mutation::PutServer(Box::new(full_server())),
        Mutation::PutRoot(Box::new(full_root())),
    ]
}

/// Every field holds a value that is neither its default nor another field's, so that a column
/// forgotten or swapped shows.
fn every_field_comes_back_by_all_three_ways_after_reopening(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let applied = apply(&store, puts()).unwrap();
    block_on(store.close());

    let store = fixture.open();
    let snapshot = block_on(store.load()).unwrap();
    assert_eq!(snapshot, expected(7));
    let told = changes(&store, 0, 10).items;
    assert_eq!(told, applied.changes);
    let currents: Vec<Current> = told.into_iter().map(|change| change.current).collect();
    assert_eq!(
        currents,
        [
            Current::Gateway(snapshot.gateways[0].clone()),
            Current::Agent(snapshot.agents[0].clone()),
            Current::Tool(snapshot.tools[0].clone()),
            Current::Resource(snapshot.resources[0].clone()),
            Current::Prompt(snapshot.prompts[0].clone()),
            Current::Server(snapshot.servers[0].clone()),
            Current::Root(snapshot.roots[0].clone()),
        ]
    );
}

/// The second put goes the way of `ON CONFLICT DO UPDATE`, column by column.
fn a_second_put_replaces_every_field(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let bare = vec![
        put_gateway(Gateway { id: "g".to_owned(), ..Gateway::default() }),
        Mutation::PutAgent(Box::new(Agent { id: "a".to_owned(), ..Agent::default() })),
        put_tool(Tool { id: "t".to_owned(), ..Tool::default() }),
        Mutation::PutResource(Box::new(Resource { id: "r".to_owned(), ..Resource::default() })),
        Mutation::PutPrompt(Box::new(Prompt { id: "p".to_owned(), ..Prompt::default() })),
        put_server(Server { id: "s".to_owned(), ..Server::default() }),
        Mutation::PutRoot(Box::new(Root { id: "o".to_owned(), ..Root::default() })),
    ];
    apply(&store, bare).unwrap();
    apply(&store, puts()).unwrap();
    assert_eq!(block_on(store.load()).unwrap(), expected(14));
}

fn a_definition_keeps_its_spaces_order_escapes_and_numbers(backend: Backend) {
    let definition = concat!(
        "{ \"name\":\"x\",\r\n\t\"z\" : 1.0e+2, \"a\":12345678901234567890.10,",
        " \"u\":\"\\u00e9\\ud83e\\udd80\\u0000\", \"u\":null ,\"é\": \"\u{2028}\" }"
    );
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let mut kept = tool("t", "g");
    kept.definition = definition.to_owned();
    apply(&store, vec![put_gateway(gateway("g")), put_tool(kept)]).unwrap();
    let snapshot = block_on(store.load()).unwrap();
    assert_eq!(snapshot.tools[0].definition.as_bytes(), definition.as_bytes());
}

fn no_passthrough_list_and_an_empty_one_stay_two_things(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let mut none = gateway("a");
    none.passthrough_headers = None;
    let mut empty = gateway("b");
    empty.passthrough_headers = Some(Vec::new());
    apply(&store, vec![put_gateway(none.clone()), put_gateway(empty.clone())]).unwrap();
    let mut gateways = block_on(store.load()).unwrap().gateways;
    gateways.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(*gateways[0], none);
    assert_eq!(*gateways[1], empty);
}

fn a_server_keeps_the_order_of_its_choices_and_each_once(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    apply(&store, registry()).unwrap();
    let mut chosen = server("s");
    let ids = ["a2", "b1", "a2", "a1", "b1"];
    chosen.associated_tools = ids.iter().map(|id| (*id).to_owned()).collect();
    let applied = apply(&store, vec![put_server(chosen)]).unwrap();
    let stored = block_on(store.load()).unwrap().servers.remove(0);
    assert_eq!(stored.associated_tools, ["a2", "b1", "a1"]);
    assert!(stored.associated_gateways.is_empty());
    assert_eq!(applied.changes[0].current, Current::Server(stored));
}

/// The largest registry that is promised, in one transaction, and back. The bounds are ten times
/// what a slow machine needs in a debug build: they catch work that grows with the square.
fn twenty_thousand_tools_go_in_at_once_and_come_back(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let mut mutations = vec![put_gateway(gateway("g"))];
    for index in 0..20_000 {
        let mut one = tool(&format!("t{index}"), "g");
        one.definition = format!(r#"{{"name":"t{index}","description":"{}"}}"#, "x".repeat(900));
        mutations.push(put_tool(one));
    }
    let begin = Instant::now();
    let applied = apply(&store, mutations).unwrap();
    assert_eq!((applied.sequence, applied.changes.len()), (20_001, 20_001));
    let written = begin.elapsed();

    let begin = Instant::now();
    let snapshot = block_on(store.load()).unwrap();
    assert_eq!(snapshot.tools.len(), 20_000);
    let loaded = begin.elapsed();

    let begin = Instant::now();
    let applied = apply(&store, vec![Mutation::DeleteGateway("g".to_owned())]).unwrap();
    assert_eq!(applied.changes.len(), 20_001);
    let deleted = begin.elapsed();
    println!("20,000 tools: written in {written:?}, loaded in {loaded:?}, deleted in {deleted:?}");
    assert!(written.as_secs() < 30 && loaded.as_secs() < 10 && deleted.as_secs() < 30);
}

on_every_backend! {
    every_field_comes_back_by_all_three_ways_after_reopening,
    a_second_put_replaces_every_field,
    a_definition_keeps_its_spaces_order_escapes_and_numbers,
    no_passthrough_list_and_an_empty_one_stay_two_things,
    a_server_keeps_the_order_of_its_choices_and_each_once,
    twenty_thousand_tools_go_in_at_once_and_come_back,
}
