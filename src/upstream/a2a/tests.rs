//! Calls of agents against a hand-written server, on every driver of this machine.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use serde_json::json;
use storage::record::Agent;

use super::*;
use crate::upstream::http::tests::{AGES, Fake, Seen, answer, on_each_driver, result};

const JSON: &str = "content-type: application/json\r\n";

fn say(to: &mut TcpStream, seen: &Seen, value: Value) {
    answer(to, 200, JSON, &result(&seen.body["id"], value));
}

fn refuse(to: &mut TcpStream, status: u16, code: i64) {
    let body = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "not so"}});
    answer(to, status, JSON, &body.to_string());
}

/// An agent at a fake server, with a credential in its head and one in its query.
fn agent(fake: &Fake, change: impl Fn(&mut Agent)) -> Arc<AgentEntry> {
    let mut record = Agent {
        id: "a1".to_owned(),
        name: "Helper".to_owned(),
        slug: "helper".to_owned(),
        endpoint_url: format!("http://{}/run", fake.address),
        ..Agent::default()
    };
    change(&mut record);
    let headers = vec![
        ("?key".to_owned(), "q s3cret".to_owned()),
        ("Authorization".to_owned(), "Bearer t-s3cret".to_owned()),
    ];
    Arc::new(AgentEntry { record: Arc::new(record), headers })
}

async fn call_within(fake: &Fake, agent: &Arc<AgentEntry>, within: Duration) -> Value {
    let agents = Agents::new(10_000);
    let call = AgentCall { agent, arguments: r#"{"query": "hi"}"#, within };
    let raw = agents.call(&call, |_, _| Ok(fake.setup())).await.expect("no bound is met");
    let text = String::from_utf8(raw).expect("text");
    assert!(!text.contains("s3cret"), "a credential shows: {text}");
    serde_json::from_str(&text).expect("JSON")
}

async fn call(fake: &Fake, agent: &Arc<AgentEntry>) -> Value {
    call_within(fake, agent, AGES).await
}

/// The text of a call that failed.
async fn failed(fake: &Fake) -> String {
    let result = call(fake, &agent(fake, |_| ())).await;
    assert_eq!(result["isError"], true, "{result}");
    result["content"][0]["text"].as_str().expect("text").to_owned()
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().expect("text")
}

#[test]
fn a_question_becomes_a_message_and_its_answer_a_result() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            say(to, seen, json!({"message": {"role": "ROLE_AGENT", "parts": [{"text": "hello"}]}}));
        });
        let got = call(&fake, &agent(&fake, |_| ())).await;
        assert_eq!((text(&got), &got["isError"]), ("hello", &json!(false)));
        let seen = fake.seen().remove(0);
        assert_eq!(seen.method(), "SendMessage");
        assert!(seen.has("post /run?key=q%20s3cret http/1.1"), "{}", seen.head);
        assert!(seen.has("authorization: bearer t-s3cret"), "{}", seen.head);
        assert!(seen.has("a2a-version: 1.0"), "{}", seen.head);
        assert_eq!(seen.body["params"]["message"]["parts"], json!([{"text": "hi"}]));
    });
}

#[test]
fn a_task_is_asked_for_until_it_is_done() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            let state = if seen.index < 2 { "working" } else { "completed" };
            let artifacts = json!([{"parts": [{"kind": "text", "text": "done"}]}]);
            let status = json!({"state": state});
            let task =
                json!({"kind": "task", "id": "t7", "status": status, "artifacts": artifacts});
            say(to, seen, task);
        });
        let early = agent(&fake, |record| record.protocol_version = "0.3".to_owned());
        assert_eq!(text(&call(&fake, &early).await), "done");
        assert_eq!(fake.methods(), ["message/send", "tasks/get", "tasks/get"]);
        assert_eq!(fake.seen()[2].body["params"]["id"], "t7");
    });
}

#[test]
fn a_task_that_takes_too_long_is_shown_as_it_stands() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            say(to, seen, json!({"task": {"id": "t7", "status": {"state": "TASK_STATE_WORKING"}}}));
        });
        let within = Duration::from_secs(1);
        let got = call_within(&fake, &agent(&fake, |_| ()), within).await;
        assert_eq!((text(&got), &got["isError"]), ("Task t7 is working.", &json!(false)));
    });
}

#[test]
fn an_agent_of_the_other_dialect_is_asked_once_more_in_its_own() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| match seen.method() {
            "message/send" => {
                say(
                    to,
                    seen,
                    json!({"kind": "message", "parts": [{"kind": "text", "text": "early"}]}),
                );
            }
            _ => refuse(to, 200, METHOD_NOT_FOUND),
        });
        assert_eq!(text(&call(&fake, &agent(&fake, |_| ())).await), "early");
        assert_eq!(fake.methods(), ["SendMessage", "message/send"]);
        let neither = Fake::new(|_, to| refuse(to, 200, METHOD_NOT_FOUND));
        assert_eq!(failed(&neither).await, "The agent answered error -32601: not so");
        assert_eq!(neither.seen().len(), 2);
    });
}

#[test]
fn an_agent_with_an_api_of_its_own_gets_the_parameters() {
    on_each_driver(|| async {
        let fake = Fake::new(|_, to| answer(to, 200, JSON, r#"{"response": "yes"}"#));
        let custom = agent(&fake, |record| record.agent_type = "custom".to_owned());
        assert_eq!(text(&call(&fake, &custom).await), "yes");
        let expected = json!({"interaction_type": "query", "parameters": {"query": "hi"},
            "protocol_version": "1.0"});
        assert_eq!(fake.seen()[0].body, expected);
        assert!(!fake.seen()[0].head.contains("a2a-version"));
    });
}

#[test]
fn what_goes_wrong_is_told_without_a_credential() {
    on_each_driver(|| async {
        let echo = Fake::new(|seen, to| answer(to, 403, "", &format!("you are {}", seen.head)));
        let told = failed(&echo).await;
        assert!(told.starts_with("The agent Helper answered HTTP 403: you are"), "{told}");
        let page = Fake::new(|_, to| answer(to, 200, "", "<html>"));
        assert_eq!(failed(&page).await, "The agent Helper answered what is no JSON: <html>");
        let cut = Fake::new(|_, to| {
            let _ = to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{");
            let _ = to.shutdown(Shutdown::Both);
        });
        assert!(failed(&cut).await.starts_with("The agent Helper broke off"));
        let huge = Fake::new(|_, to| answer(to, 200, JSON, &"[0],".repeat(10_000)));
        assert!(failed(&huge).await.starts_with("The answer of the agent Helper has"));
        let strict = Fake::new(|_, to| refuse(to, 400, -32602));
        assert_eq!(failed(&strict).await, "The agent answered error -32602: not so");
        let away = Fake::new(|_, to| {
            answer(to, 307, "location: http://elsewhere.example/?key=q%20s3cret\r\n", "");
        });
        let told = failed(&away).await;
        assert!(told.contains("another origin") && told.contains("*****"), "{told}");
    });
}

#[test]
fn a_request_is_answered_byte_for_byte() {
    on_each_driver(|| async {
        let body = r#"{"jsonrpc":"2.0", "id":1,"result":{ "n":1.50 }}"#;
        let fake = Fake::new(move |_, to| answer(to, 200, JSON, body));
        let agent = agent(&fake, |_| ());
        let call = json!({"jsonrpc": "2.0", "method": "tasks/get", "params": {"id": "1"}});
        let Value::Object(call) = call else { panic!("no object") };
        let request = Request::of_call(call).expect("a call");
        let agents = Agents::new(10_000);
        let answer = agents.send(&agent, &request, AGES, |_, _| Ok(fake.setup())).await;
        assert_eq!(answer.expect("an answer").get(), body);
        // What is kept is used again, until the record changes.
        agents.send(&agent, &request, AGES, |_, _| panic!("it is open")).await.expect("an answer");
        agents.retain(|_| None);
        assert!(agents.wires.borrow().is_empty());
    });
}
