//! Users, logins and API tokens.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::harness::{Gateway, Request};
use crate::admin::Backend;

const PASSWORD: &str = "correct horse";

fn with_user(email: &str) -> Gateway {
    let gateway = Gateway::new();
    let body = json!({"email": email, "password": PASSWORD, "full_name": "A"});
    let (status, made) = gateway.send(Request::post("/auth/email/admin/users", &body.to_string()));
    assert_eq!(status, 201, "{made}");
    gateway
}

/// What the token in an answer says: the harness signs nothing.
fn claims_of(answer: &Value) -> Value {
    let token = answer["access_token"].as_str().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap()
}

fn login(gateway: &Gateway, email: &str, password: &str) -> (u16, Value) {
    let body = json!({"email": email, "password": password}).to_string();
    gateway.send(Request::post("/auth/login", &body).by_nobody())
}

#[test]
fn a_login_gives_a_token_of_its_user_and_no_hash() {
    let gateway = with_user("Anna@Example.com");
    let (status, answer) = login(&gateway, "ANNA@example.com", PASSWORD);
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("bearer"), &json!(86400)));
    assert_eq!(answer["user"]["email"], "anna@example.com");
    assert!(!answer.to_string().contains("argon2"), "{answer}");
    let claims = claims_of(&answer);
    let user = gateway.catalog().people().user_by_email("anna@example.com").unwrap().clone();
    assert_eq!((&claims["sub"], &claims["token_use"]), (&json!(user.id), &json!("session")));
    assert!(user.last_login.is_some());
    let old = json!({"username": "anna@example.com", "password": PASSWORD}).to_string();
    assert_eq!(gateway.send(Request::post("/auth/email/login", &old).by_nobody()).0, 200);
}

#[test]
fn whatever_is_wrong_with_a_login_the_answer_is_the_same() {
    let gateway = with_user("anna@example.com");
    let off = json!({"email": "off@example.com", "password": PASSWORD, "is_active": false});
    gateway.send(Request::post("/auth/email/admin/users", &off.to_string()));
    let wrong = login(&gateway, "anna@example.com", "wrong");
    assert_eq!(wrong, (401, json!({"detail": "Invalid email or password"})));
    assert_eq!(login(&gateway, "nobody@example.com", PASSWORD), wrong);
    assert_eq!(login(&gateway, "off@example.com", PASSWORD), wrong);
}

#[test]
fn a_user_is_locked_after_some_failures_until_an_administrator_unlocks_them() {
    let gateway = with_user("anna@example.com");
    for _ in 0..3 {
        assert_eq!(login(&gateway, "anna@example.com", "wrong").0, 401);
    }
    assert_eq!(login(&gateway, "anna@example.com", PASSWORD).0, 401, "locked");
    let path = "/auth/email/admin/users/anna%40example.com";
    assert_eq!(gateway.send(Request::get(path)).1["is_locked"], true);
    assert_eq!(gateway.send(Request::post(&format!("{path}/unlock"), "")).0, 200);
    assert_eq!(login(&gateway, "anna@example.com", PASSWORD).0, 200);
    for _ in 0..2 {
        assert_eq!(login(&gateway, "anna@example.com", "wrong").0, 401);
    }
    assert_eq!(login(&gateway, "anna@example.com", PASSWORD).0, 200, "the count began anew");
}

#[test]
fn another_password_ends_the_tokens_of_before_and_the_old_one() {
    let gateway = with_user("anna@example.com");
    let change = |old: &str, new: &str| {
        let body = json!({"old_password": old, "new_password": new}).to_string();
        let anna = gateway.login("anna@example.com");
        gateway.send(Request::post("/auth/email/change-password", &body).by(&anna))
    };
    assert_eq!(change("wrong", "another horse").0, 401);
    assert_eq!(change(PASSWORD, PASSWORD).0, 422);
    assert_eq!(change(PASSWORD, "short").0, 422);
    assert_eq!(change(PASSWORD, "another horse").0, 200);
    assert_eq!(login(&gateway, "anna@example.com", PASSWORD).0, 401);
    assert_eq!(login(&gateway, "anna@example.com", "another horse").0, 200);
    let user = gateway.catalog().people().user_by_email("anna@example.com").unwrap().clone();
    assert!(user.tokens_valid_from > 0);
}

#[test]
fn the_last_administrator_stays_one() {
    let gateway = Gateway::new();
    let body = json!({"email": "root@example.com", "password": PASSWORD, "is_admin": true});
    gateway.send(Request::post("/auth/email/admin/users", &body.to_string()));
    let path = "/auth/email/admin/users/root@example.com";
    for body in [r#"{"is_admin": false}"#, r#"{"is_active": false}"#] {
        let (status, answer) = gateway.send(Request::put(path, body));
        assert_eq!(status, 400, "{answer}");
    }
    assert_eq!(gateway.send(Request::delete(path)).0, 400);
    let body = json!({"email": "two@example.com", "password": PASSWORD, "is_admin": true});
    gateway.send(Request::post("/auth/email/admin/users", &body.to_string()));
    assert_eq!(gateway.send(Request::put(path, r#"{"is_admin": false}"#)).0, 200);
}

#[test]
fn a_user_comes_with_a_team_and_a_role_and_goes_with_them() {
    let gateway = with_user("anna@example.com");
    let catalog = gateway.catalog();
    let team = catalog.people().personal_team("anna@example.com").expect("a team of their own");
    assert_eq!(catalog.people().grants_of("anna@example.com").count(), 1);
    let anna = gateway.login("anna@example.com");
    let token = json!({"name": "robot", "team_id": team.id}).to_string();
    assert_eq!(gateway.send(Request::post("/tokens", &token).by(&anna)).0, 201);
    let path = "/auth/email/admin/users/anna@example.com";
    assert_eq!(gateway.send(Request::delete(path)).0, 200);
    let catalog = gateway.catalog();
    let people = catalog.people();
    assert_eq!((people.users().count(), people.teams().count()), (0, 0));
    assert_eq!((people.tokens().count(), people.grants().count()), (0, 0));
}

#[test]
fn a_token_is_shown_once_and_does_no_more_than_its_terms_say() {
    let gateway = with_user("anna@example.com");
    let anna = gateway.login("anna@example.com");
    let make = |scope: Value| {
        let body = json!({"name": format!("t {scope}"), "expires_in_days": 1, "scope": scope});
        gateway.send(Request::post("/tokens", &body.to_string()).by(&anna))
    };
    assert_eq!(make(json!({"permissions": ["tools.fly"]})).0, 422);
    assert_eq!(make(json!({"permissions": ["admin.export"]})).0, 422, "Anna has it not");
    let (status, made) = make(json!({"permissions": ["tools.read"]}));
    assert_eq!(status, 201, "{made}");
    let claims = claims_of(&made);
    assert_eq!(claims["token_use"], "api");
    let bearer = crate::auth::Caller {
        email: "anna@example.com".to_owned(),
        token_id: Some(claims["jti"].as_str().unwrap().to_owned()),
        is_api_token: true,
        ..crate::auth::Caller::nobody()
    };
    let settled = gateway.settle(&bearer);
    assert_eq!(gateway.send(Request::get("/tools").by(&settled)).0, 200);
    assert_eq!(gateway.send(Request::get("/prompts").by(&settled)).0, 403);
    let (_, list) = gateway.send(Request::get("/tokens").by(&anna));
    assert_eq!(list["total"], 1);
    assert!(!list.to_string().contains("access_token"), "{list}");
    let id = made["token"]["id"].as_str().unwrap();
    let path = format!("/tokens/{id}");
    gateway.user("bert@example.com");
    assert_eq!(gateway.send_as("bert@example.com", Request::get(&path)).0, 404, "it is Anna's");
    assert_eq!(gateway.answer(Request::delete(&path).by(&anna)).status, 204);
    let catalog = gateway.catalog();
    let standing = &gateway.rules().standing;
    let refused = crate::auth::settle::settle(&bearer, catalog.people(), standing, 0);
    assert_eq!(refused.err(), Some(crate::auth::Fault::Revoked));
}

#[test]
fn who_must_change_their_password_is_told_where() {
    let gateway = Gateway::new();
    let body = json!({"email": "new@example.com", "password": PASSWORD,
        "password_change_required": true});
    gateway.send(Request::post("/auth/email/admin/users", &body.to_string()));
    let fresh = gateway.login("new@example.com");
    let (status, answer) = gateway.send(Request::get("/tools").by(&fresh));
    assert_eq!(status, 403);
    assert!(answer["detail"].as_str().unwrap().contains("change-password"), "{answer}");
    assert_eq!(gateway.send(Request::get("/auth/email/me").by(&fresh)).0, 200);
}
