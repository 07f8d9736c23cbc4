//! Passwords, sessions and cookies.

use serde_json::{Value, json};

use super::{ANN, PASSWORD, PATIENCE, ROOT, login, session_of, setup, start, status, user};
use crate::harness::eventually;
use crate::harness::gateway::Gateway;
use crate::harness::wire::{Answer, request};

fn unlock(gateway: &Gateway, email: &str) {
    let path = format!("/auth/email/admin/users/{email}/unlock");
    gateway.ask("POST", &path, None).expect(200);
}

#[test]
fn whatever_is_wrong_with_a_login_the_answer_is_the_same_to_the_byte() {
    let gateway = setup().set("MAX_FAILED_LOGIN_ATTEMPTS", 3).start();
    session_of(&gateway, ROOT, PASSWORD);
    for email in [ANN, "off@example.com", "locked@example.com"] {
        user(&gateway, email);
    }
    let off = json!({ "is_active": false });
    gateway.ask("PUT", "/auth/email/admin/users/off@example.com", Some(&off)).expect(200);
    for _ in 0..3 {
        login(&gateway, "locked@example.com", "wrong").expect(401);
    }
    let answers = [
        login(&gateway, ANN, "wrong"),
        login(&gateway, "nobody@example.com", PASSWORD),
        login(&gateway, "off@example.com", PASSWORD),
        login(&gateway, "locked@example.com", PASSWORD),
    ];
    for answer in &answers {
        let mut seen = answer.clone().expect(401);
        seen.headers.retain(|(name, _)| name != "date");
        let mut first = answers[0].clone();
        first.headers.retain(|(name, _)| name != "date");
        assert_eq!((seen.text(), &seen.headers), (first.text(), &first.headers));
    }
    unlock(&gateway, "locked@example.com");
    login(&gateway, "locked@example.com", PASSWORD).expect(200);
    let events = gateway.get("/auth/email/admin/events?user_email=locked@example.com").json();
    let reasons: Vec<&str> = events
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["failure_reason"].as_str())
        .collect();
    let wrong = "The password is wrong";
    let expected =
        ["The user is locked", "The password is wrong, and the user is locked now", wrong, wrong];
    assert_eq!(reasons, expected);
    assert_eq!(events[0]["ip_address"], "127.0.0.1");
}

#[test]
fn a_password_that_is_chosen_must_be_as_the_settings_say() {
    let gateway = setup()
        .set("PASSWORD_REQUIRE_UPPERCASE", "true")
        .set("PASSWORD_REQUIRE_NUMBERS", "true")
        .set("PUBLIC_REGISTRATION_ENABLED", "true")
        .start();
    session_of(&gateway, ROOT, PASSWORD);
    for weak in ["lowercase-only", "Short-1", "No-Digit-Here", "Has-ann-in-1"] {
        let body =
            json!({ "email": "annabel@example.com", "password": weak.replace("ann", "annabel") });
        for (token, path) in
            [(Some(gateway.token()), "/auth/email/admin/users"), (None, "/auth/email/register")]
        {
            let answer = gateway.ask_as(token, "POST", path, Some(&body)).expect(422);
            assert!(!answer.text().contains(weak), "{}", answer.text());
        }
    }
    let body = json!({ "email": "annabel@example.com", "password": PASSWORD });
    let begun = gateway.ask_as(None, "POST", "/auth/email/register", Some(&body)).expect(200);
    let token = begun.json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(status(&gateway, &token), 200);
    gateway.ask_as(None, "POST", "/auth/email/register", Some(&body)).expect(409);
    gateway.ask_as(Some(&token), "GET", "/auth/email/admin/users", None).expect(403);
}

/// The names and values of the cookies that an answer sets.
fn cookies(answer: &Answer) -> Vec<(String, String)> {
    let set = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    set.map(|(_, value)| {
        let (name, value) =
            value.split(';').next().and_then(|it| it.split_once('=')).expect("a cookie");
        (name.to_owned(), value.to_owned())
    })
    .collect()
}

/// Sends a change as a page of this gateway does: by cookies alone, with what proves that it is meant.
fn by_page(gateway: &Gateway, path: &str, cookies: &[(String, String)], is_meant: bool) -> Answer {
    let jar: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let jar = jar.join("; ");
    let mut fields = vec![("Connection", "close"), ("Cookie", jar.as_str())];
    if is_meant {
        fields.push(("X-CSRF-Token", cookies[1].1.as_str()));
    }
    gateway.wire().send(request("POST", path, &fields, b"")).answer()
}

#[test]
fn a_browser_gets_its_session_by_cookies_and_loses_it_when_it_logs_out() {
    let gateway = start();
    let begun = login(&gateway, ROOT, PASSWORD).expect(200);
    let set: Vec<&str> = begun
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| &**value)
        .collect();
    assert!(set[0].contains("HttpOnly") && set[0].contains("SameSite="), "{set:?}");
    assert!(!set[1].contains("HttpOnly") && set[1].contains("SameSite=Strict"), "{set:?}");
    let kept = cookies(&begun);
    assert_eq!((kept[0].0.as_str(), kept[1].0.as_str()), ("jwt_token", "mcpgateway_csrf_token"));
    by_page(&gateway, "/auth/logout", &kept, false).expect(403);
    assert_eq!(status(&gateway, &kept[0].1), 200);

    let renewed = by_page(&gateway, "/auth/refresh", &kept, true).expect(200);
    let fresh = cookies(&renewed);
    assert_ne!(fresh[0].1, kept[0].1);
    assert_eq!((status(&gateway, &kept[0].1), status(&gateway, &fresh[0].1)), (401, 200));

    let ended = by_page(&gateway, "/auth/logout", &fresh, true).expect(200);
    assert!(cookies(&ended).iter().all(|(_, value)| value.is_empty()), "{ended:?}");
    assert_eq!(status(&gateway, &fresh[0].1), 401);
    by_page(&gateway, "/auth/refresh", &fresh, true).expect(401);
}

#[test]
fn another_password_ends_every_session_and_a_login_is_seen_by_its_user() {
    let gateway = start();
    let (one, two) = (user(&gateway, ANN), session_of(&gateway, ANN, PASSWORD));
    // Tokens tell whole seconds: one of the second of the change would count as made after it.
    let issued_at = claims(&one)["iat"]
        .as_i64()
        .expect("a time")
        .max(claims(&two)["iat"].as_i64().expect("a time"));
    eventually("the next second", PATIENCE, || {
        let probe = session_of(&gateway, ANN, PASSWORD);
        (claims(&probe)["iat"].as_i64()? > issued_at).then_some(())
    });
    let body = json!({ "old_password": PASSWORD, "new_password": "Another-Horse-8" });
    gateway.ask_as(Some(&one), "POST", "/auth/email/change-password", Some(&body)).expect(200);
    assert_eq!((status(&gateway, &one), status(&gateway, &two)), (401, 401));
    login(&gateway, ANN, PASSWORD).expect(401);
    let token = session_of(&gateway, ANN, "Another-Horse-8");
    let events =
        gateway.ask_as(Some(&token), "GET", "/auth/email/events?limit=3", None).expect(200).json();
    let kinds: Vec<String> = events
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| format!("{} {}", event["event_type"].as_str().unwrap_or(""), event["success"]))
        .collect();
    assert_eq!(kinds, ["login true", "login false", "password_change true"], "{events}");
    assert!(!gateway.printed().contains("Another-Horse"));
}

/// What a token says.
fn claims(token: &str) -> Value {
    use base64::Engine;
    let part = token.split('.').nth(1).expect("a token has three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("base64");
    serde_json::from_slice(&bytes).expect("claims are JSON")
}

#[test]
fn the_last_administrator_can_neither_be_removed_nor_switched_off() {
    let gateway = start();
    let path = format!("/auth/email/admin/users/{ROOT}");
    for body in [json!({ "is_active": false }), json!({ "is_admin": false })] {
        gateway.ask("PUT", &path, Some(&body)).expect(400);
    }
    gateway.ask("DELETE", &path, None).expect(400);
    let body = json!({ "email": ANN, "password": PASSWORD, "is_admin": true });
    gateway.post("/auth/email/admin/users", &body).expect(201);
    let (root, ann) = (session_of(&gateway, ROOT, PASSWORD), session_of(&gateway, ANN, PASSWORD));
    let by_ann = |path: &str| gateway.ask_as(Some(&ann), "DELETE", path, None);
    by_ann(&path).expect(200);
    login(&gateway, ROOT, PASSWORD).expect(401);
    assert_eq!(status(&gateway, &root), 401, "whoever is gone commands nothing");
    by_ann(&format!("/auth/email/admin/users/{ANN}")).expect(400);
}

#[test]
fn a_refusal_of_an_origin_or_a_host_is_in_the_audit_trail_without_what_it_asked_with() {
    let gateway = start();
    let fields = [("Connection", "close"), ("Origin", "https://evil.example")];
    let target = "/auth/email/reset-password/hunter2";
    gateway.wire().send(request("POST", target, &fields, b"")).answer().expect(403);
    let found = gateway.get("/audit?action=auth.refused").expect(200).json();
    let entry = &found["entries"][0];
    assert_eq!(entry["entityName"], "/auth/email/reset-password/", "{found}");
    assert!(entry["reason"].as_str().expect("a reason").contains("Origin not allowed"), "{entry}");
    assert!(!found.to_string().contains("hunter2"), "{found}");
}
