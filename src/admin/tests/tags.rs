//! Tags.

use serde_json::{Value, json};

use super::harness::{Gateway, Request};

fn tagged(gateway: &Gateway) {
    for (path, body) in [
        ("/tools", json!({"name": "one", "url": "http://a.example/", "tags": ["shared", "rest"]})),
        (
            "/tools",
            json!({"name": "two", "url": "http://a.example/", "tags": ["shared", "hidden"],
                   "visibility": "private"}),
        ),
        ("/servers", json!({"name": "s", "description": "d", "tags": ["shared"]})),
    ] {
        let (status, body) = gateway.send(Request::post(path, &body.to_string()));
        assert!(status < 300, "{body}");
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect()
}

#[test]
fn tags_are_counted_by_kind_and_only_on_what_the_caller_may_see() {
    let gateway = Gateway::new();
    assert_eq!(gateway.send(Request::get("/tags")), (200, json!([])));
    tagged(&gateway);
    let (_, list) = gateway.send(Request::get("/tags"));
    assert_eq!(names(&list), ["hidden", "rest", "shared"]);
    let expected = json!({"tools": 2, "resources": 0, "prompts": 0, "servers": 1, "gateways": 0,
                          "agents": 0, "total": 3});
    assert_eq!((&list[2]["stats"], &list[2]["entities"]), (&expected, &json!([])));
    let (_, list) = gateway.send(Request::get("/tags").by_user());
    assert_eq!(names(&list), ["rest", "shared"]);
    assert_eq!(list[1]["stats"]["total"], 2);
    let (_, list) = gateway.send(Request::get("/tags?entity_types=servers,planets"));
    assert_eq!(names(&list), ["shared"]);
    assert_eq!(gateway.send(Request::get("/tags?entity_types=planets")).1, json!([]));
}

#[test]
fn the_records_of_a_tag_are_listed_with_their_kind() {
    let gateway = Gateway::new();
    tagged(&gateway);
    let (_, list) = gateway.send(Request::get("/tags?include_entities=true&entity_types=servers"));
    let server = &list[0]["entities"][0];
    assert_eq!((&server["name"], &server["type"]), (&json!("s"), &json!("server")));
    assert_eq!(server["description"], "d");
    let (_, list) = gateway.send(Request::get("/tags/Shared/entities").by_user());
    assert_eq!(names(&list), ["one", "s"]);
    let (_, list) = gateway.send(Request::get("/tags/sha%72ed/entities?entity_types=tools"));
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(gateway.send(Request::get("/tags/none/entities")), (200, json!([])));
}
