//! MCP as the gateway answers it itself: negotiation, envelopes, both eras.

use serde_json::{Value, json};

use crate::harness::faulty::{Faulty, TOOLS};
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, LEGACY, MODERN, envelope, names};
use crate::harness::wire::request;

#[test]
fn agrees_on_every_legacy_revision_and_offers_the_newest_for_others() {
    let gateway = Gateway::start();
    for (asked, agreed) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("1999-01-01", LEGACY),
        (MODERN, LEGACY),
    ] {
        let client = Client::legacy_with(&gateway, "/mcp", asked, Some(gateway.token()));
        assert_eq!(client.version(), agreed, "asked for {asked}");
        assert!(client.initialized["serverInfo"]["name"].is_string());
        assert!(client.initialized["capabilities"]["tools"].is_object());
        assert_eq!(client.result("ping", json!({})), json!({}));
    }
}

#[test]
fn answers_json_or_an_event_stream_by_accept() {
    let gateway = Gateway::start();
    let client = Client::legacy(&gateway, "/mcp");
    let ping = envelope("ping", &json!({}));
    for (accept, kind) in [
        ("application/json", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("application/json, text/event-stream", "application/json"),
        ("*/*", "application/json"),
    ] {
        let answer = client.post(&ping, &[("Accept", accept)]).expect(200);
        let told = answer.header("content-type").unwrap_or_default().to_owned();
        assert!(told.starts_with(kind), "{accept}: {told}");
        assert_eq!(answer.json()["result"], json!({}), "{accept}");
    }
}

#[test]
fn echoes_ids_as_they_were_written() {
    let gateway = Gateway::start();
    for id in ["1", "-7", "\"1\"", "\"\\u00e9/\"", "12345678901234567890", "\"\""] {
        let body = format!(r#"{{"id":{id},"method":"ping","jsonrpc":"2.0"}}"#);
        let bearer = format!("Bearer {}", gateway.token());
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let answer =
            gateway.wire().send(request("POST", "/rpc", &headers, body.as_bytes())).answer();
        assert!(answer.expect(200).text().contains(&format!(r#""id":{id}"#)), "{id}");
    }
}

#[test]
fn answers_the_standard_errors() {
    let gateway = Gateway::start();
    let unknown = gateway.rpc("no/such", json!({}));
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
    let nameless = gateway.rpc("tools/call", json!({ "arguments": {} }));
    assert_eq!(nameless["error"]["code"], -32602, "{nameless}");
    let missing = gateway.rpc("resources/read", json!({ "uri": "none://at/all" }));
    assert_eq!(missing["error"]["code"], -32002, "{missing}");
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let deep =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}}"#, "[".repeat(100_000));
    for (body, code) in [
        ("{\"jsonrpc\":", -32700),
        ("\u{feff}{}", -32700),
        ("[]", -32600),
        ("7", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"method\":\"tools/list\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", -32600),
        (deep.as_str(), -32600),
    ] {
        let answer =
            gateway.wire().send(request("POST", "/rpc", &headers, body.as_bytes())).answer();
        let shown = &body[..body.len().min(60)];
        assert!([200, 400].contains(&answer.status), "{shown}: {}", answer.text());
        assert_eq!(answer.json()["error"]["code"], code, "{shown}: {}", answer.text());
    }
    let invalid = [b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"p".as_slice(), b"\xff\"}"].concat();
    let answer = gateway.wire().send(request("POST", "/rpc", &headers, &invalid)).answer();
    assert_eq!(answer.json()["error"]["code"], -32700, "{}", answer.text());
}

#[test]
fn takes_json_rpc_at_the_root_too() {
    let gateway = Gateway::start();
    for path in ["/", "/rpc", "/rpc/"] {
        let answer = gateway.post(path, &envelope("ping", &json!({}))).expect(200).json();
        assert_eq!(answer["result"], json!({}), "{path}");
    }
}

#[test]
fn pages_a_long_list_of_tools() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    for index in 0..1_500 {
        upstream.add_tool(
            json!({ "name": format!("tool{index:04}"), "inputSchema": { "type": "object" } }),
        );
    }
    gateway.add(&upstream.registration("up"));
    let client = Client::legacy(&gateway, "/mcp");
    let (mut seen, mut cursor, mut pages) = (Vec::new(), None::<Value>, 0);
    loop {
        let params = cursor.map_or(json!({}), |cursor| json!({ "cursor": cursor }));
        let page = client.result("tools/list", params);
        seen.extend(names(&page["tools"], "name"));
        pages += 1;
        cursor = page.get("nextCursor").cloned();
        if cursor.is_none() {
            break;
        }
    }
    assert!(pages > 1, "all of it came on one page");
    assert_eq!(seen.len(), 1_500 + TOOLS.len());
    let mut sorted = seen.clone();
    sorted.dedup();
    assert_eq!(sorted.len(), seen.len(), "a tool came twice");
    let bad = client.ask("tools/list", json!({ "cursor": "made up" }));
    assert_eq!(bad["error"]["code"], -32602, "{bad}");
}

#[test]
fn lists_tools_in_the_same_order_every_time() {
    let gateway = Gateway::start();
    let (one, other) = (Faulty::legacy(), Faulty::legacy());
    gateway.add(&one.registration("zulu"));
    gateway.add(&other.registration("alpha"));
    let first = gateway.tool_names();
    for _ in 0..5 {
        assert_eq!(gateway.tool_names(), first);
    }
}

#[test]
fn discovers_lists_and_calls_without_a_session_in_the_modern_era() {
    let gateway = Gateway::start();
    let upstream = Faulty::modern();
    gateway.add(&upstream.registration("up"));
    let client = Client::modern(&gateway, "/mcp");
    let discovered = client.result("server/discover", json!({}));
    assert_eq!(discovered["supportedVersions"], json!([MODERN]));
    assert_eq!(discovered["resultType"], "complete");
    let list = client.send("tools/list", json!({})).expect(200);
    assert_eq!(list.header("mcp-session-id"), None);
    let list = list.json()["result"].clone();
    assert_eq!(list["resultType"], "complete");
    assert!(list["ttlMs"].is_u64() && list["cacheScope"].is_string(), "{list}");
    assert!(names(&list["tools"], "name").contains(&"up-echo".to_owned()));
    for result in [&discovered, &list] {
        let server = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(server["name"], "Ringway", "{result}");
        assert!(server["version"].is_string(), "{result}");
    }
    let result =
        client.result("tools/call", json!({ "name": "up-echo", "arguments": { "a": [1] } }));
    assert_eq!(result["structuredContent"], json!({ "a": [1] }));
    assert_eq!(result["resultType"], "complete");
    let seen = upstream.seen();
    let call = seen.iter().find(|seen| seen.tool() == Some("echo")).expect("the call arrived");
    assert_eq!(call.header("mcp-protocol-version"), Some(MODERN));
    assert_eq!(call.header("mcp-method"), Some("tools/call"));
    assert_eq!(call.header("mcp-name"), Some("echo"));
    assert_eq!(call.header("authorization"), None, "the caller's token went upstream");
}

/// A modern request with everything right.
fn modern_ping_params() -> Value {
    json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }})
}

#[test]
fn refuses_modern_requests_whose_headers_and_body_disagree() {
    let gateway = Gateway::start();
    let client = Client::modern(&gateway, "/mcp");
    let list = envelope("tools/list", &modern_ping_params());
    client.post(&list, &[("Mcp-Method", "tools/list")]).expect(200);
    let mut other_version = list.clone();
    other_version["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] =
        json!("2099-01-01");
    let mut named = envelope("tools/call", &modern_ping_params());
    named["params"]["name"] = json!("up-echo");
    let bare = envelope("tools/list", &json!({}));
    for (reason, body, headers, status, code) in [
        ("another method", &list, vec![("Mcp-Method", "tools/call")], 400, -32020),
        ("no method header", &list, vec![], 400, -32020),
        ("method in another case", &list, vec![("Mcp-Method", "Tools/List")], 400, -32020),
        (
            "another name",
            &named,
            vec![("Mcp-Method", "tools/call"), ("Mcp-Name", "x")],
            400,
            -32020,
        ),
        ("versions differ", &other_version, vec![("Mcp-Method", "tools/list")], 400, -32020),
        (
            "unknown version",
            &other_version,
            vec![("Mcp-Method", "tools/list"), ("MCP-Protocol-Version", "2099-01-01")],
            400,
            -32022,
        ),
        ("no _meta", &bare, vec![("Mcp-Method", "tools/list")], 400, -32602),
    ] {
        let answer = client.post(body, &headers);
        assert_eq!(answer.status, status, "{reason}: {}", answer.text());
        assert_eq!(answer.json()["error"]["code"], code, "{reason}: {}", answer.text());
        assert_eq!(answer.json()["id"], "test-1", "{reason}");
    }
    let removed = envelope("logging/setLevel", &modern_ping_params());
    let answer = client.post(&removed, &[("Mcp-Method", "logging/setLevel")]).expect(404);
    assert_eq!(answer.json()["error"]["code"], -32601);
}

#[test]
fn crosses_the_eras_both_ways() {
    let gateway = Gateway::start();
    let (old, new) = (Faulty::legacy(), Faulty::modern());
    gateway.add(&old.registration("old"));
    gateway.add(&new.registration("new"));
    let (legacy, modern) = (Client::legacy(&gateway, "/mcp"), Client::modern(&gateway, "/mcp"));
    for name in ["old-echo", "new-echo"] {
        for client in [&legacy, &modern] {
            let call = json!({ "name": name, "arguments": { "via": client.version() } });
            let result = client.result("tools/call", call);
            assert_eq!(result["structuredContent"]["via"], client.version(), "{name}");
        }
    }
    assert_eq!(old.call_count("echo"), 2);
    assert_eq!(new.call_count("echo"), 2);
    let discovers =
        new.seen().iter().filter(|seen| seen.body["method"] == "server/discover").count();
    assert!(discovers <= 2, "the era was probed {discovers} times");
}
