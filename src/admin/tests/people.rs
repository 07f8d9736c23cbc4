//! Users, logins and API tokens.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::harness::{Gateway, Request};
use crate::admin::Backend;
use crate::auth::password::tests::work_count;

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
fn an_unknown_user_costs_as_much_work_as_a_known_one_whatever_is_wrong() {
    let gateway = with_user("anna@example.com");
    let mut body = json!({"email": "off@example.com", "password": PASSWORD, "is_active": false});
    gateway.send(Request::post("/auth/email/admin/users", &body.to_string()));
    body["email"] = json!("locked@example.com");
    body["is_active"] = json!(true);
    gateway.send(Request::post("/auth/email/admin/users", &body.to_string()));
    for _ in 0..3 {
        login(&gateway, "locked@example.com", "wrong");
    }
    gateway.user("without-password@example.com");
    for (email, password) in [
        ("anna@example.com", PASSWORD),
        ("anna@example.com", "wrong"),
        ("nobody@example.com", PASSWORD),
        ("off@example.com", PASSWORD),
        ("locked@example.com", PASSWORD),
        ("without-password@example.com", PASSWORD),
    ] {
        let before = work_count();
        login(&gateway, email, password);
        assert_eq!(work_count() - before, 1, "{email} {password}");
    }
}

#[test]
fn why_a_login_failed_is_told_to_operators_and_to_the_user_alone() {
    let gateway = with_user("anna@example.com");
    for password in ["wrong", "wrong", "wrong", PASSWORD] {
        let (status, answer) = login(&gateway, "ANNA@example.com", password);
        assert_eq!((status, answer["detail"].as_str()), (401, Some("Invalid email or password")));
    }
    login(&gateway, "nobody@example.com", PASSWORD);
    gateway.send(Request::post("/auth/email/admin/users/anna@example.com/unlock", ""));
    login(&gateway, "anna@example.com", PASSWORD);
    let anna = gateway.login("anna@example.com");
    let events = |path: &str| gateway.send(Request::get(path).by(&anna));
    let (status, own) = events("/auth/email/events");
    assert_eq!(status, 200, "{own}");
    let told = |event: &Value| {
        let texts = ["event_type", "failure_reason", "user_email", "ip_address"];
        let [kind, reason, email, ip] = texts.map(|name| event[name].as_str().unwrap_or(""));
        assert_eq!((email, ip), ("anna@example.com", "192.0.2.7"));
        format!("{kind} {} {reason}", event["success"])
    };
    let own: Vec<String> = own.as_array().unwrap().iter().map(told).collect();
    assert_eq!(
        own,
        [
            "login true ",
            "login false The user is locked",
            "login false The password is wrong, and the user is locked now",
            "login false The password is wrong",
            "login false The password is wrong",
        ]
    );
    assert_eq!(events("/auth/email/events?limit=2&offset=4").1.as_array().unwrap().len(), 1);
    assert_eq!(events("/auth/email/admin/events").0, 403);
    let (_, all) = gateway.send(Request::get("/auth/email/admin/events"));
    assert_eq!(all.as_array().unwrap().len(), 6);
    assert!(!all.to_string().contains(PASSWORD), "{all}");
    let (_, one) =
        gateway.send(Request::get("/auth/email/admin/events?user_email=Nobody@example.com"));
    assert_eq!(one[0]["failure_reason"], "There is no such user");
}

#[test]
fn a_forgotten_password_is_replaced_by_an_administrator_and_the_answer_says_so() {
    let gateway = with_user("anna@example.com");
    for path in ["/auth/email/forgot-password", "/auth/email/reset-password/token"] {
        for email in ["anna@example.com", "nobody@example.com"] {
            let body = json!({"email": email}).to_string();
            let answer = gateway.answer(Request::post(path, &body).by_nobody());
            assert_eq!((answer.status, answer.retry_after), (503, false));
            let text = String::from_utf8(answer.body).unwrap();
            assert!(text.contains("ringway user password"), "{text}");
        }
    }
}

#[test]
fn a_new_token_ends_the_one_that_it_is_given_for() {
    let gateway = with_user("anna@example.com");
    let (_, begun) = login(&gateway, "anna@example.com", PASSWORD);
    let claims = claims_of(&begun);
    let old = crate::auth::Caller {
        email: "anna@example.com".to_owned(),
        token_id: claims["jti"].as_str().map(str::to_owned),
        is_session: true,
        ..crate::auth::Caller::nobody()
    };
    let settled = gateway.settle(&old);
    let (status, fresh) = gateway.send(Request::post("/auth/refresh", "").by(&settled));
    assert_eq!(status, 200, "{fresh}");
    assert_ne!(claims_of(&fresh)["jti"], claims["jti"]);
    let catalog = gateway.catalog();
    let standing = &gateway.rules().standing;
    let refused = crate::auth::settle::settle(&old, catalog.people(), standing, 0);
    assert_eq!(refused.err(), Some(crate::auth::Fault::Revoked));
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
