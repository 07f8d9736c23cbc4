//! Two callers at the same endpoints, lists, cursors and sessions at once, while what is offered
//! changes: neither ever gets a byte of what is the other's.
//!
//! It was seen to fail with a cache of lists whose key forgot the caller.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, LEGACY};

const COUNT: usize = 12;
const ROUNDS: usize = 20;

/// A user with a team, in which everything has their own word in its name.
struct Tenant<'a> {
    gateway: &'a Gateway,
    word: &'static str,
    token: String,
    /// What is theirs, by kind as paths have it.
    ids: Vec<(&'static str, String)>,
}

impl<'a> Tenant<'a> {
    fn settle(gateway: &'a Gateway, word: &'static str) -> Tenant<'a> {
        let email = format!("{word}@example.com");
        let claims = json!({
            "sub": email, "token_use": "session", "iss": "mcpgateway", "aud": "mcpgateway-api",
        });
        let token = gateway.token_with(&["-d", &claims.to_string()]);
        let mut tenant = Tenant { gateway, word, token, ids: Vec::new() };
        let team = tenant.post("/teams", &json!({"name": format!("Team {word}")}));
        for number in 0..COUNT {
            let visibility = if number % 2 == 0 { "team" } else { "private" };
            let name = format!("{word}-{number}");
            let place = json!({"team_id": team["id"], "visibility": visibility});
            let things = [
                (
                    "tools",
                    json!({"name": name, "url": "http://127.0.0.1:9/", "request_type": "GET"}),
                ),
                (
                    "resources",
                    json!({"name": name, "uri": format!("note://{name}"), "content": word}),
                ),
                (
                    "prompts",
                    json!({
                        "name": name, "template": word,
                        "arguments": [{"name": "who", "required": false}],
                    }),
                ),
            ];
            for (kind, thing) in things {
                let mut body = place.clone();
                body[kind.trim_end_matches('s')] = thing;
                let made = tenant.post(&format!("/{kind}"), &body);
                tenant.ids.push((kind, made["id"].as_str().expect("an id").to_owned()));
            }
        }
        tenant
    }

    fn post(&self, target: &str, body: &Value) -> Value {
        let answer = self.gateway.ask_as(Some(&self.token), "POST", target, Some(body));
        assert!(answer.status < 300, "{target}: {}", answer.text());
        answer.json()
    }

    /// Makes one of their tools private or not, which changes nothing of what they see.
    fn shift(&self, number: usize) {
        let (kind, id) = &self.ids[0];
        let visibility = if number.is_multiple_of(2) { "private" } else { "team" };
        let change = json!({"visibility": visibility});
        let target = format!("/{kind}/{id}");
        self.gateway.ask_as(Some(&self.token), "PUT", &target, Some(&change)).expect(200);
    }

    /// Looks at everything, over and over, also at the virtual server at `path` that offers what is
    /// whose ever; the word of `other` must never come.
    fn hammer(&self, other: &Tenant<'_>, path: &str) {
        let token = Some(self.token.as_str());
        let foreign = format!("{}-", other.word);
        let clients = [
            Client::legacy_with(self.gateway, "/mcp", LEGACY, token),
            Client::modern_with(self.gateway, "/mcp", token),
            Client::legacy_with(self.gateway, path, LEGACY, token),
            Client::modern_with(self.gateway, path, token),
        ];
        let mut own_count = 0;
        for round in 0..ROUNDS {
            for client in &clients {
                for (method, kind) in [
                    ("tools/list", "tools"),
                    ("resources/list", "resources"),
                    ("prompts/list", "prompts"),
                ] {
                    own_count += self.page_through(client, method, kind, &foreign);
                }
                let name = format!("{}-{}", self.word, round % COUNT);
                let read = client.ask("resources/read", json!({"uri": format!("note://{name}")}));
                assert_eq!(read["result"]["contents"][0]["text"], self.word, "{read}");
                let name = format!("{}-{}", other.word, round % COUNT);
                for (method, params) in [
                    ("resources/read", json!({"uri": format!("note://{name}")})),
                    ("prompts/get", json!({"name": name})),
                    ("tools/call", json!({"name": name, "arguments": {}})),
                    (
                        "completion/complete",
                        json!({
                            "ref": {"type": "ref/prompt", "name": name},
                            "argument": {"name": "who", "value": ""},
                        }),
                    ),
                ] {
                    let answer = client.ask(method, params);
                    assert!(answer.get("error").is_some(), "{method}: {answer}");
                }
            }
            for target in
                ["/tools?limit=0", "/resources?limit=5", "/prompts?limit=0", "/tags", "/teams"]
            {
                let answer = self.gateway.ask_as(token, "GET", target, None);
                assert!(!answer.text().contains(&foreign), "{target}: {}", answer.text());
            }
        }
        assert!(own_count >= clients.len() * 3 * COUNT * ROUNDS, "it saw its own: {own_count}");
    }

    /// All pages of a list; returns how many entries are its own.
    fn page_through(&self, client: &Client<'_>, method: &str, kind: &str, foreign: &str) -> usize {
        let (mut cursor, mut count) = (None, 0);
        loop {
            let params = cursor.map_or(json!({}), |cursor: Value| json!({"cursor": cursor}));
            let answer = client.ask(method, params);
            let text = answer.to_string();
            assert!(!text.contains(foreign), "{method} of {}: {text}", self.word);
            let page = answer["result"][kind].as_array().expect("a list");
            let is_own = |entry: &&Value| {
                entry["name"].as_str().is_some_and(|name| name.starts_with(self.word))
            };
            count += page.iter().filter(is_own).count();
            match answer["result"].get("nextCursor") {
                Some(next) => cursor = Some(next.clone()),
                None => return count,
            }
        }
    }
}

#[test]
fn two_callers_at_once_never_see_what_is_the_other_s() {
    let gateway = Gateway::setup().set("MCP_LIST_PAGE_SIZE", 5).start();
    let (blue, green) = (Tenant::settle(&gateway, "blue"), Tenant::settle(&gateway, "green"));
    let mut everything = json!({"name": "everything"});
    for kind in ["tools", "resources", "prompts"] {
        let of_kind = blue.ids.iter().chain(&green.ids).filter(|(known, _)| *known == kind);
        let ids: Vec<&String> = of_kind.map(|(_, id)| id).collect();
        everything[format!("associated_{kind}")] = json!(ids);
    }
    let everything = json!({"server": everything, "visibility": "public"});
    let server = gateway.post("/servers", &everything).expect(201).json();
    let path = &format!("/servers/{}/mcp", server["id"].as_str().expect("an id"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let hammering = [(&blue, &green), (&green, &blue), (&blue, &green), (&green, &blue)];
        let hammering = hammering.map(|(own, other)| scope.spawn(move || own.hammer(other, path)));
        // What is offered changes all the while, so that what was rendered is rendered anew.
        scope.spawn(|| {
            for number in 0.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                let tool = json!({
                    "name": format!("public-{}", number % 3),
                    "url": "http://127.0.0.1:9/",
                    "request_type": "GET",
                });
                let made = gateway.post("/tools", &json!({"tool": tool, "visibility": "public"}));
                let id = made.json()["id"].as_str().expect("an id").to_owned();
                gateway.ask("DELETE", &format!("/tools/{id}"), None).expect(200);
                blue.shift(number);
                green.shift(number);
            }
        });
        let outcomes = hammering.map(|thread| thread.join());
        done.store(true, Ordering::Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.expect("it saw only its own"));
    });
}
