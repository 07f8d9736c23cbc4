//! The first administrator.

use std::thread;

use serde_json::json;
use tempfile::TempDir;

use super::{PASSWORD, PATIENCE, ROOT, login, session_of, setup};
use crate::harness::eventually;
use crate::harness::gateway::{Gateway, Setup};

/// How the terminal tells of a password that was made up.
const SHOWN: &str = "the first administrator: admin@example.com with the password ";

fn cheap() -> Setup {
    Gateway::setup().set("ARGON2ID_MEMORY_COST", 8).set("ARGON2ID_TIME_COST", 1)
}

/// The passwords that a gateway has shown.
fn shown(gateway: &Gateway) -> Vec<String> {
    let printed = gateway.printed();
    printed.lines().filter_map(|line| Some(line.split_once(SHOWN)?.1.to_owned())).collect()
}

#[test]
fn gets_a_password_that_is_shown_once_and_must_be_changed_before_anything_else() {
    let folder = TempDir::new().expect("a temporary folder");
    let gateway = cheap().data(folder.path()).start();
    let first = eventually("the password", PATIENCE, || shown(&gateway).pop());
    let begun = eventually("the login", PATIENCE, || {
        let answer = login(&gateway, "admin@example.com", &first);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(begun["user"]["password_change_required"], true, "{begun}");
    assert_eq!(begun["user"]["is_admin"], true);
    let token = begun["access_token"].as_str().expect("a token");
    let refused = gateway.ask_as(Some(token), "GET", "/tools", None).expect(403);
    assert!(refused.text().contains("/auth/email/change-password"), "{}", refused.text());
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let by_mcp = gateway.ask_as(Some(token), "POST", "/rpc", Some(&ping)).json();
    assert!(by_mcp["error"].is_object() || by_mcp["result"]["tools"] == json!([]), "{by_mcp}");
    let change = |old: &str, new: &str| {
        let body = json!({ "old_password": old, "new_password": new });
        gateway.ask_as(Some(token), "POST", "/auth/email/change-password", Some(&body))
    };
    change("wrong", PASSWORD).expect(401);
    change(&first, "short").expect(422);
    change(&first, &first).expect(422);
    change(&first, PASSWORD).expect(200);
    login(&gateway, "admin@example.com", &first).expect(401);
    let token = session_of(&gateway, "admin@example.com", PASSWORD);
    gateway.ask_as(Some(&token), "GET", "/tools", None).expect(200);
    assert_eq!(shown(&gateway).len(), 1);
    gateway.stop();

    let again = cheap().data(folder.path()).start();
    session_of(&again, "admin@example.com", PASSWORD);
    assert!(shown(&again).is_empty(), "it is shown once");
}

#[test]
fn is_as_the_settings_say_and_their_password_is_printed_nowhere() {
    let gateway = setup().set("PLATFORM_ADMIN_FULL_NAME", "The Root").start();
    let token = session_of(&gateway, ROOT, PASSWORD);
    let me = gateway.ask_as(Some(&token), "GET", "/auth/email/me", None).expect(200).json();
    assert_eq!((&me["full_name"], &me["is_admin"]), (&json!("The Root"), &json!(true)));
    assert_eq!(me["password_change_required"], false);
    assert!(!gateway.printed().contains(PASSWORD));
}

#[test]
fn two_gateways_on_one_database_make_one_and_one_of_them_tells_the_password() {
    let folder = TempDir::new().expect("a temporary folder");
    let url = format!("sqlite:///{}", folder.path().join("one.db").display());
    let start = || cheap().set("DATABASE_URL", &url).start();
    let gateways = thread::scope(|scope| {
        let started = [scope.spawn(start), scope.spawn(start)];
        started.map(|gateway| gateway.join().expect("it starts"))
    });
    let password = eventually("a password", PATIENCE, || gateways.iter().flat_map(shown).next());
    for gateway in &gateways {
        session_of(gateway, "admin@example.com", &password);
        let users = gateway.get("/auth/email/admin/users").expect(200).json();
        assert_eq!(users.as_array().expect("a list").len(), 1, "{users}");
    }
    let told: Vec<String> = gateways.iter().flat_map(shown).collect();
    assert_eq!(told, [password]);
}

#[test]
fn is_not_made_where_nobody_logs_in_with_a_password() {
    let gateway = setup().set("EMAIL_AUTH_ENABLED", "false").start();
    login(&gateway, ROOT, PASSWORD).expect(401);
    let users = gateway.get("/auth/email/admin/users").expect(200).json();
    assert_eq!(users, json!([]));
}
