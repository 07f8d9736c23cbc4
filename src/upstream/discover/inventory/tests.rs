use std::{cell::RefCell, pin::pin, task::Poll};

use net::Span;

use super::*;

/// Gives canned results, by method and cursor, and writes down what it was asked.
struct Canned {
    handshake: Handshake,
    answers: Vec<(&'static str, &'static str, String)>,
    asked: RefCell<Vec<String>>,
}

impl Requester for Canned {
    async fn handshake(&self, _: Duration) -> Result<Handshake, Failure> {
        Ok(self.handshake.clone())
    }

    async fn request(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        let params: serde_json::Value = serde_json::from_slice(outgoing.params).unwrap();
        let cursor = params["cursor"].as_str().unwrap_or_default();
        self.asked.borrow_mut().push(format!("{} {cursor}", outgoing.method).trim().to_owned());
        let found = self
            .answers
            .iter()
            .find(|(method, at, _)| (*method, *at) == (outgoing.method, cursor))
            .map(|(_, _, text)| text.as_str())
            .unwrap_or(r#"{"code":-32601,"message":"Method not found"}"#);
        let outcome =
            if found.starts_with(r#"{"code""#) { Outcome::Error } else { Outcome::Result };
        let bytes = found.as_bytes().to_vec();
        let span = Span::new(0, bytes.len());
        Ok(Answer::Whole(Reply { bytes, span, outcome }))
    }
}

fn canned(era: Era, capabilities: &str, answers: &[(&'static str, &'static str, &str)]) -> Canned {
    let handshake =
        Handshake { era, capabilities: Some(capabilities.into()), ..Handshake::modern() };
    let owned = |(method, cursor, text): &(_, _, &str)| (*method, *cursor, (*text).to_owned());
    Canned { handshake, answers: answers.iter().map(owned).collect(), asked: RefCell::default() }
}

fn now<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn found(canned: &Canned, limits: DiscoverLimits) -> Result<Inventory, String> {
    now(discover(canned, "up", &limits)).map_err(|failure| failure.to_string())
}

fn names(items: &[Listed]) -> Vec<&str> {
    items.iter().map(|item| item.uri.as_deref().unwrap_or(&item.name)).collect()
}

const TOOL: &str = r#"{ "name":"a", "title":"A", "inputSchema":{ "type":"object" } }"#;

fn tool(name: &str) -> String {
    format!(r#"{{"name":"{name}","inputSchema":{{}}}}"#)
}

#[test]
fn reads_every_list_that_the_upstream_says_it_has() {
    let answers = [
        ("tools/list", "", format!(r#"{{"tools":[{TOOL}]}}"#)),
        (
            "resources/list",
            "",
            r#"{"resources":[{"uri":"a://b","name":"b","mimeType":"text/plain","size":5}]}"#.into(),
        ),
        (
            "resources/templates/list",
            "",
            r#"{"resourceTemplates":[{"uriTemplate":"a://{id}","description":"d"}]}"#.into(),
        ),
        ("prompts/list", "", r#"{"prompts":[{"name":"p"}],"nextCursor":null}"#.into()),
    ];
    let answers: Vec<_> = answers.iter().map(|(m, c, text)| (*m, *c, text.as_str())).collect();
    let all = r#"{"tools":{},"resources":{},"prompts":{}}"#;
    let canned = canned(Era::Legacy, all, &answers);
    let got = found(&canned, DiscoverLimits::default()).unwrap();
    assert_eq!(got.tools[0].definition, TOOL, "byte by byte");
    assert_eq!(got.tools[0].title.as_deref(), Some("A"));
    let resource = &got.resources[0];
    assert_eq!((resource.uri.as_deref(), resource.name.as_str()), (Some("a://b"), "b"));
    assert_eq!((resource.mime_type.as_deref(), resource.size), (Some("text/plain"), Some(5)));
    assert_eq!(names(&got.templates), ["a://{id}"]);
    assert_eq!(names(&got.prompts), ["p"]);
    assert_eq!(got.skipped, [""; 0]);
}

#[test]
fn asks_only_for_tools_where_nothing_is_advertised() {
    let none = canned(Era::Legacy, "{}", &[]);
    let got = found(&none, DiscoverLimits::default()).unwrap();
    assert!(got.tools.is_empty() && got.skipped.is_empty());
    assert_eq!(*none.asked.borrow(), ["tools/list"]);
    let advertised = canned(Era::Legacy, r#"{"tools":{}}"#, &[]);
    let text = found(&advertised, DiscoverLimits::default()).unwrap_err();
    assert!(text.contains("tools/list was answered with error -32601"), "{text}");
}

#[test]
fn a_failing_list_of_resources_or_prompts_is_noted_and_not_fatal() {
    let answers = [
        ("tools/list", "", r#"{"tools":[]}"#),
        ("resources/list", "", r#"{"code":-32603,"message":"disk on fire"}"#),
        ("prompts/list", "", r#"{"promptz":[]}"#),
    ];
    let canned = canned(Era::Legacy, r#"{"resources":{},"prompts":{}}"#, &answers);
    let got = found(&canned, DiscoverLimits::default()).unwrap();
    assert_eq!(got.skipped.len(), 2, "templates are optional: {:?}", got.skipped);
    assert!(got.skipped[0].contains("no resources") && got.skipped[0].contains("disk on fire"));
    assert!(got.skipped[1].contains("prompts/list has no list"), "{:?}", got.skipped);
}

#[test]
fn follows_pages_to_the_end_and_takes_an_empty_cursor_for_one() {
    let pages = [
        ("tools/list", "", format!(r#"{{"tools":[{}],"nextCursor":"x\"y"}}"#, tool("a"))),
        ("tools/list", "x\"y", format!(r#"{{"tools":[{}]}}"#, tool("b"))),
    ];
    let pages: Vec<_> = pages.iter().map(|(m, c, text)| (*m, *c, text.as_str())).collect();
    let got = found(&canned(Era::Legacy, "{}", &pages), DiscoverLimits::default()).unwrap();
    assert_eq!(names(&got.tools), ["a", "b"]);
    // "" is a cursor too (and here one that leads back to the first page).
    let page = format!(r#"{{"tools":[{}],"nextCursor":""}}"#, tool("a"));
    let canned = canned(Era::Legacy, "{}", &[("tools/list", "", &page)]);
    let got = found(&canned, DiscoverLimits::default()).unwrap();
    assert_eq!(names(&got.tools), ["a"]);
    assert!(got.skipped.iter().any(|text| text.contains("leads back to itself")));
    assert_eq!(canned.asked.borrow().len(), 2);
}

#[test]
fn stops_at_its_bounds_and_says_so() {
    let page = |next: &str| {
        format!(
            r#"{{"tools":[{},{}],"nextCursor":"{next}"}}"#,
            tool(next),
            tool(&format!("{next}x"))
        )
    };
    let (first, second, third) = (page("1"), page("2"), page("3"));
    let pages = [
        ("tools/list", "", first.as_str()),
        ("tools/list", "1", &second),
        ("tools/list", "2", &third),
    ];
    let few = DiscoverLimits { item_count_max: 3, ..DiscoverLimits::default() };
    let got = found(&canned(Era::Legacy, "{}", &pages), few).unwrap();
    assert_eq!(names(&got.tools), ["1", "1x", "2"]);
    assert!(got.skipped[0].contains("after the first 3"), "{:?}", got.skipped);
    let small = DiscoverLimits { size_max: 40, ..DiscoverLimits::default() };
    let got = found(&canned(Era::Legacy, "{}", &pages), small).unwrap();
    assert_eq!(names(&got.tools), ["1", "1x"]);
    let short = DiscoverLimits { page_count_max: 2, ..DiscoverLimits::default() };
    let got = found(&canned(Era::Legacy, "{}", &pages), short).unwrap();
    assert_eq!(got.tools.len(), 4);
    assert!(got.skipped[0].contains("after page 2"), "{:?}", got.skipped);
}

#[test]
fn leaves_out_what_no_client_could_use_and_says_why() {
    let long = "n".repeat(129);
    let entries = [
        tool("good"),
        tool(""),
        tool(&long),
        tool("a\\u0000b"),
        tool("good"),
        r#"{"name":"schemaless"}"#.to_owned(),
        r#"{"title":"nameless","inputSchema":{}}"#.to_owned(),
        r#"{"name":"x","name":"y","inputSchema":{}}"#.to_owned(),
        "7".to_owned(),
    ];
    let page = format!(r#"{{"tools":[{}]}}"#, entries.join(","));
    let canned = canned(Era::Legacy, "{}", &[("tools/list", "", &page)]);
    let got = found(&canned, DiscoverLimits::default()).unwrap();
    assert_eq!(names(&got.tools), ["good"]);
    let reasons = [
        "no name",
        "over 128 characters",
        "control characters",
        "listed twice",
        "no inputSchema",
        "no name",
        "cannot be read",
        "cannot be read",
    ];
    assert_eq!(got.skipped.len(), reasons.len(), "{:?}", got.skipped);
    for (reason, skipped) in reasons.iter().zip(&got.skipped) {
        assert!(skipped.contains(reason), "{skipped}");
    }
}

#[test]
fn leaves_out_modern_tools_with_invalid_header_annotations() {
    let bad =
        r#"{"name":"bad","inputSchema":{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}}"#;
    let page = format!(r#"{{"tools":[{bad},{}]}}"#, tool("good"));
    let answers = [("tools/list", "", page.as_str())];
    let got = found(&canned(Era::Modern, "{}", &answers), DiscoverLimits::default()).unwrap();
    assert_eq!(names(&got.tools), ["good"]);
    assert!(got.skipped[0].contains("\"bad\"") && got.skipped[0].contains("x-mcp-header"));
    // In a legacy upstream's tool it means nothing.
    let got = found(&canned(Era::Legacy, "{}", &answers), DiscoverLimits::default()).unwrap();
    assert_eq!(names(&got.tools), ["bad", "good"]);
}

#[test]
fn keeps_a_bounded_number_of_reasons() {
    let page = format!(r#"{{"tools":[{}]}}"#, vec!["{}"; 1000].join(","));
    let canned = canned(Era::Legacy, "{}", &[("tools/list", "", &page)]);
    let got = found(&canned, DiscoverLimits::default()).unwrap();
    assert_eq!(got.skipped.len(), SKIPPED_COUNT_MAX);
}
