//! What one revision knows and another does not, through the gateway: links and sound for older
//! clients, users who are sent to a URL, codes of errors.

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, MODERN, envelope};
use crate::harness::upstreams::Served;

#[test]
fn older_clients_get_content_that_they_know() {
    let (everything, reference) = (Served::everything_http(), Served::conformance());
    let gateway = Gateway::start();
    gateway.add(&everything.registration("all"));
    gateway.add(&reference.registration("ref"));
    let kinds = |version: &str, tool: &str, arguments: Value| {
        let client = Client::legacy_with(&gateway, "/mcp", version, Some(gateway.token()));
        assert_eq!(client.version(), version);
        let result = client.result("tools/call", json!({ "name": tool, "arguments": arguments }));
        let content = result["content"].as_array().expect("content").clone();
        let kinds = content.iter().map(|block| block["type"].as_str().expect("a type").to_owned());
        (kinds.collect::<Vec<_>>(), content)
    };
    for (version, expected) in [("2025-06-18", "resource_link"), ("2025-03-26", "text")] {
        let (kinds, content) = kinds(version, "all-get-resource-links", json!({ "count": 1 }));
        assert_eq!(kinds, ["text", expected], "{version}: {content:?}");
        let link = content[1].to_string();
        assert!(link.contains("demo://resource/dynamic/blob/1"), "{version}: {link}");
    }
    for (version, expected) in [("2025-03-26", "audio"), ("2024-11-05", "resource")] {
        let (kinds, content) = kinds(version, "ref-test-audio-content", json!({}));
        assert_eq!(kinds, [expected], "{version}");
        assert!(content[0].to_string().contains("audio/wav"), "{version}: {content:?}");
    }
}

#[test]
fn a_resource_that_is_not_there_is_called_so_in_the_code_of_each_revision() {
    for era in ["modern", "legacy"] {
        let upstream = Served::conformance();
        let gateway = Gateway::start();
        let mut registration = upstream.registration("ref");
        registration["protocol"] = era.into();
        gateway.add(&registration);
        let code = |client: Client<'_>| {
            let answer = client.ask("resources/read", json!({ "uri": "test://nothing" }));
            answer["error"]["code"].as_i64()
        };
        assert_eq!(code(Client::modern(&gateway, "/mcp")), Some(-32602), "{era}");
        let legacy = code(Client::legacy(&gateway, "/mcp"));
        // A server of the revision with a handshake says what it says.
        let expected = if era == "modern" { [-32002; 2] } else { [-32002, -32602] };
        assert!(legacy.is_some_and(|code| expected.contains(&code)), "{era}: {legacy:?}");
    }
}

/// Asks as a modern client that can send its user to a URL.
fn ask(gateway: &Gateway, params: &Value) -> Value {
    let mut params = params.clone();
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "url": {} } },
    });
    let name = params["name"].as_str().expect("a name").to_owned();
    let headers = [("Mcp-Method", "tools/call"), ("Mcp-Name", name.as_str())];
    let client = Client::modern(gateway, "/mcp");
    client.post(&envelope("tools/call", &params), &headers).json()["result"].clone()
}

#[test]
fn a_user_is_sent_to_a_url_whether_the_upstream_asks_for_it_or_demands_it() {
    let upstream = Served::everything_http();
    let gateway = Gateway::start();
    gateway.add(&upstream.registration("up"));
    for demands in [false, true] {
        let arguments = json!({ "url": "https://example.com/form", "errorPath": demands });
        let call = json!({ "name": "up-trigger-url-elicitation", "arguments": arguments });
        let (mut params, mut urls) = (call.clone(), Vec::new());
        let result = loop {
            let result = ask(&gateway, &params);
            if result["resultType"] != "input_required" {
                break result;
            }
            assert!(urls.len() < 8, "{urls:?}");
            let asked = result["inputRequests"].as_object().expect("questions");
            let (key, question) = asked.iter().next().expect("one");
            assert_eq!(question["method"], "elicitation/create", "{question}");
            assert_eq!(question["params"]["mode"], "url", "{question}");
            assert!(question["params"].get("elicitationId").is_none(), "{question}");
            urls.push(question["params"]["url"].as_str().expect("a URL").to_owned());
            params = call.clone();
            params["inputResponses"] = json!({ key: { "action": "accept" } });
            if let Some(state) = result.get("requestState") {
                params["requestState"] = state.clone();
            }
        };
        assert_eq!(result["resultType"], "complete", "{result}");
        assert!(result["content"][0]["text"].is_string(), "{result}");
        assert_eq!(urls.last().map(String::as_str), Some("https://example.com/form"), "{urls:?}");
        assert_eq!(urls.len() > 1, demands, "{urls:?}");
    }
}
