//! Logging in with another provider: who comes in, as whom, and every way in which nobody does.

use std::cell::RefCell;
use std::rc::Rc;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use storage::Mutation;
use storage::record::{Team, User, new_id, now};

use super::harness::{Gateway, Request, block_on};
use crate::admin::Backend;
use crate::auth::external::tests::{Signer, jwks};
use crate::failure::{Failure, UpstreamKind};

const LOGIN: &str = "/auth/sso/login/corp";

/// A provider, and what it answers next.
struct Corp {
    gateway: Gateway,
    signer: Rc<Signer>,
    id_token: Rc<RefCell<String>>,
    userinfo: Rc<RefCell<Value>>,
}

/// A login that was begun.
struct Begun {
    cookie: String,
    state: String,
    nonce: String,
}

impl Corp {
    fn new() -> Corp {
        let (signer, gateway) = (Rc::new(Signer::new("k1")), Gateway::new());
        let (id_token, userinfo) = (Rc::new(RefCell::default()), Rc::new(RefCell::default()));
        let corp = Corp { gateway, signer, id_token, userinfo };
        let (signer, id_token) = (corp.signer.clone(), corp.id_token.clone());
        let userinfo = corp.userinfo.clone();
        *corp.gateway.pages.borrow_mut() = Box::new(move |url| {
            let place = |name: &str| format!("https://id.example/{name}");
            let body = match url.strip_prefix("https://id.example/") {
                Some(".well-known/openid-configuration") => json!({
                    "issuer": "https://id.example",
                    "authorization_endpoint": place("in?x=1"), "token_endpoint": place("token"),
                    "userinfo_endpoint": place("me"), "jwks_uri": place("jwks"),
                }),
                Some("jwks") => return Ok(jwks(&[&signer])),
                Some("token") => json!({"access_token": "t", "id_token": *id_token.borrow()}),
                Some("me") => userinfo.borrow().clone(),
                _ => return Err(Failure::upstream(url, UpstreamKind::Unreachable, "no", false)),
            };
            Ok(body.to_string().into_bytes())
        });
        corp
    }

    fn begin(&self) -> Begun {
        let answer = self.gateway.answer(Request::get(LOGIN).by_nobody());
        assert_eq!(answer.status, 200);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let url = url::Url::parse(body["authorization_url"].as_str().unwrap()).unwrap();
        let of = |name: &str| {
            let found = url.query_pairs().find(|(known, _)| known == name);
            found.unwrap_or_else(|| panic!("no {name}")).1.into_owned()
        };
        assert_eq!(of("state"), body["state"].as_str().unwrap());
        let cookie = answer.cookies[0].split(';').next().unwrap().to_owned();
        Begun { cookie, state: of("state"), nonce: of("nonce") }
    }

    /// Claims of a user who logged in, with some laid over.
    fn claims(begun: &Begun, over: &Value) -> Value {
        let at = now() / 1_000_000;
        let mut claims = json!({"iss": "https://id.example", "aud": "us", "sub": "17",
            "exp": at + 60, "iat": at, "nonce": begun.nonce, "email": "Ann@example.com",
            "email_verified": true, "name": "Ann", "groups": []});
        for (name, value) in over.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    fn come_back(&self, begun: &Begun, token: &str) -> (u16, Value) {
        *self.id_token.borrow_mut() = token.to_owned();
        let target = format!("/auth/sso/callback/corp?code=c&state={}", begun.state);
        self.gateway.send(Request::get(&target).by_nobody().with_cookie(&begun.cookie))
    }

    fn log_in(&self, over: Value) -> (u16, Value) {
        let begun = self.begin();
        let token = self.signer.token(&Corp::claims(&begun, &over));
        self.come_back(&begun, &token)
    }

    fn user(&self, email: &str) -> Option<User> {
        let catalog = self.gateway.catalog();
        catalog.people().user_by_email(email).map(|user| User::clone(user))
    }

    fn put(&self, mutation: Mutation) {
        block_on(Backend::apply(&self.gateway, vec![mutation])).unwrap();
    }
}

#[test]
fn whoever_the_provider_vouches_for_becomes_a_user_and_has_a_session() {
    let corp = Corp::new();
    let (status, body) = corp.log_in(json!({}));
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["user"]["email"], "ann@example.com");
    let ann = corp.user("ann@example.com").unwrap();
    assert_eq!((&*ann.auth_provider, ann.email_verified, ann.is_admin), ("corp", true, false));
    assert_eq!((ann.full_name.as_deref(), ann.password_hash.is_none()), (Some("Ann"), true));
    assert!(corp.gateway.catalog().people().personal_team("ann@example.com").is_some());
    // The code went with what only we know, and the secret in no URL.
    let asked = corp.gateway.inquired.borrow();
    let (url, form) = &asked[0];
    assert_eq!(url, "https://id.example/token");
    for part in ["grant_type=authorization_code", "code=c", "code_verifier=", "client_secret=hush"]
    {
        assert!(form.contains(part), "{part}: {form}");
    }
    drop(asked);
    // They are the same user when they come again.
    let (status, _) = corp.log_in(json!({"email": "ANN@EXAMPLE.COM"}));
    assert_eq!((status, corp.user("ann@example.com").unwrap().id), (200, ann.id));
}

#[test]
fn a_forged_or_foreign_token_logs_nobody_in_and_says_why() {
    let corp = Corp::new();
    let refused = |over: Value| corp.log_in(over);
    let at = now() / 1_000_000;
    let cases = [
        (json!({"aud": "them"}), 401, "The token is for another audience"),
        (json!({"aud": ["us", "them"]}), 401, "The token is for another audience"),
        (json!({"iss": "https://evil.example"}), 401, "The token is from another issuer"),
        (json!({"exp": at - 1}), 401, "The token has expired"),
        (json!({"nonce": "other"}), 400, "The token is for another login"),
        (json!({"email_verified": false}), 403, "not say that this user's address is verified"),
        (json!({"email": "ann"}), 403, "tells no address of mail"),
        (json!({"email": "ann@other.example"}), 403, "Users of this domain do not log in here"),
        (json!({"email": "ann@example.com.evil"}), 403, "Users of this domain"),
    ];
    for (over, expected, text) in cases {
        let (status, body) = refused(over.clone());
        let detail = body["detail"].as_str().unwrap();
        assert!(status == expected && detail.contains(text), "{over}: {status} {body}");
    }
    assert!(corp.user("ann@example.com").is_none());
}

#[test]
fn no_token_counts_that_is_signed_by_nobody_or_with_what_is_public() {
    let corp = Corp::new();
    let begun = corp.begin();
    let claims = Corp::claims(&begun, &json!({}));
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    let public = EncodingKey::from_secret(&jwks(&[&corp.signer]));
    let confused = jsonwebtoken::encode(&header, &claims, &public).unwrap();
    let with_secret = EncodingKey::from_secret(b"hush");
    let shared = jsonwebtoken::encode(&header, &claims, &with_secret).unwrap();
    let plain = |value: &Value| {
        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, value.to_string())
    };
    let unsigned = format!("{}.{}.", plain(&json!({"alg": "none", "kid": "k1"})), plain(&claims));
    let stranger = Signer::new("k1").token(&claims);
    let unknown = Signer::new("k2").token(&claims);
    let cases = [
        (&*confused, "The token is signed with another algorithm"),
        (&shared, "The token is signed with another algorithm"),
        (&unsigned, "The token cannot be read"),
        (&stranger, "The signature of the token is wrong"),
        (&unknown, "The token names a key that its issuer does not have"),
        ("x", "The token cannot be read"),
        ("", "The token cannot be read"),
    ];
    for (token, text) in cases {
        let begun = corp.begin();
        let (status, body) = corp.come_back(&begun, token);
        assert_eq!((status, &body["detail"]), (401, &json!(text)), "{token}");
    }
    assert!(corp.user("ann@example.com").is_none());
}

#[test]
fn only_the_browser_that_began_a_login_ends_it_and_only_once() {
    let corp = Corp::new();
    let (mine, theirs) = (corp.begin(), corp.begin());
    let token = |begun: &Begun| corp.signer.token(&Corp::claims(begun, &json!({})));
    let mixed = Begun {
        cookie: mine.cookie.clone(),
        state: theirs.state.clone(),
        nonce: theirs.nonce.clone(),
    };
    assert_eq!(corp.come_back(&mixed, &token(&theirs)).0, 400);
    let bare = Begun { cookie: String::new(), ..mixed };
    assert_eq!(corp.come_back(&bare, &token(&theirs)).0, 400);
    assert_eq!(corp.come_back(&mine, &token(&mine)).0, 200);
    let (status, body) = corp.come_back(&mine, &token(&mine));
    assert_eq!(
        (status, &body["detail"]),
        (400, &json!("This login has ended already; begin it anew"))
    );
    // An answer of another provider, and a refusal.
    let begun = corp.begin();
    for (more, text) in [
        ("code=c&iss=https://evil.example", "This answer is from another provider"),
        ("error=access_denied", "The provider refused the login: access_denied"),
        ("error=a%0d%0ab%22%3cc", "The provider refused the login: abc"),
        ("x=y", "The provider gave no code"),
    ] {
        let target = format!("/auth/sso/callback/corp?state={}&{more}", begun.state);
        let request = Request::get(&target).by_nobody().with_cookie(&begun.cookie);
        assert_eq!(corp.gateway.send(request), (400, json!({"detail": text})));
    }
}

#[test]
fn a_disabled_user_stays_outside_and_a_user_of_ours_keeps_what_they_have() {
    let corp = Corp::new();
    let old = User {
        id: new_id(),
        email: "ann@example.com".to_owned(),
        is_admin: true,
        is_active: true,
        auth_provider: "local".to_owned(),
        password_hash: Some("hash".to_owned()),
        ..User::default()
    };
    corp.put(Mutation::PutIdentity(old.clone().into()));
    assert_eq!(corp.log_in(json!({})).0, 200);
    let ann = corp.user("ann@example.com").unwrap();
    assert_eq!((ann.is_admin, ann.password_hash.as_deref()), (true, Some("hash")));
    assert_eq!((&*ann.auth_provider, ann.email_verified), ("local", true));
    corp.put(Mutation::PutIdentity(User { is_active: false, ..ann }.into()));
    let (status, body) = corp.log_in(json!({}));
    assert_eq!((status, body), (403, json!({"detail": "This user is disabled"})));
}

#[test]
fn groups_make_administrators_and_members_and_take_it_back() {
    let corp = Corp::new();
    let boss = User {
        id: new_id(),
        email: "boss@example.com".to_owned(),
        is_admin: true,
        is_active: true,
        ..User::default()
    };
    corp.put(Mutation::PutIdentity(boss.into()));
    let team = Team {
        id: "eng-team".to_owned(),
        slug: "eng".to_owned(),
        is_active: true,
        ..Team::default()
    };
    corp.put(Mutation::PutIdentity(team.into()));
    let is_member = || {
        let catalog = corp.gateway.catalog();
        catalog.people().member("eng-team", "ann@example.com").is_some()
    };
    let is_admin = || corp.user("ann@example.com").unwrap().is_admin;
    assert_eq!(corp.log_in(json!({"groups": ["root", "eng"]})).0, 200);
    assert!(is_admin() && is_member());
    // Nothing said of groups changes nothing; they are asked for.
    *corp.userinfo.borrow_mut() = json!({"sub": "17"});
    assert_eq!(corp.log_in(json!({"groups": null})).0, 200);
    assert!(is_admin() && is_member());
    *corp.userinfo.borrow_mut() = json!({"sub": "18", "groups": ["root"]});
    assert_eq!(corp.log_in(json!({"groups": null})).0, 502, "it tells of somebody else");
    assert_eq!(corp.log_in(json!({"groups": ["others"]})).0, 200);
    assert!(!is_admin() && !is_member());
}

#[test]
fn the_last_administrator_stays_one() {
    let corp = Corp::new();
    assert_eq!(corp.log_in(json!({"groups": ["root"]})).0, 200);
    assert_eq!(corp.log_in(json!({"groups": []})).0, 200);
    assert!(corp.user("ann@example.com").unwrap().is_admin);
}

#[test]
fn a_provider_that_may_not_make_users_lets_in_those_who_are_there() {
    let corp = Corp::new();
    let body = json!({"id": "hub", "provider_type": "oauth2", "client_id": "us",
        "authorization_url": "https://id.example/in", "token_url": "https://id.example/token",
        "userinfo_url": "https://id.example/me", "auto_create_users": false});
    let made = corp.gateway.send(Request::post("/auth/sso/admin/providers", &body.to_string()));
    assert_eq!(made.0, 200, "{}", made.1);
    let log_in = || {
        let answer = corp.gateway.answer(Request::get("/auth/sso/login/hub").by_nobody());
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let cookie = answer.cookies[0].split(';').next().unwrap().to_owned();
        let target =
            format!("/auth/sso/callback/hub?code=c&state={}", body["state"].as_str().unwrap());
        corp.gateway.send(Request::get(&target).by_nobody().with_cookie(&cookie))
    };
    *corp.userinfo.borrow_mut() = json!({"login": "eve", "email": "eve@example.com"});
    assert_eq!(log_in().0, 403, "nobody says that the address is verified");
    *corp.userinfo.borrow_mut() = json!({"email": "eve@example.com", "email_verified": true});
    let (status, body) = log_in();
    assert!(
        status == 403 && body["detail"].as_str().unwrap().contains("an administrator"),
        "{body}"
    );
    corp.gateway.user("eve@example.com");
    assert_eq!(log_in().0, 200);
}

#[test]
fn the_secret_of_a_provider_is_sealed_and_never_shown() {
    let corp = Corp::new();
    let path = "/auth/sso/admin/providers";
    let body = json!({"id": "kc", "issuer": "https://kc.example", "client_id": "us",
        "client_secret": "planted-secret"});
    for request in [
        Request::post(path, &body.to_string()),
        Request::get(path),
        Request::get("/auth/sso/admin/providers/kc"),
        Request::get("/auth/sso/providers").by_nobody(),
    ] {
        let (status, answer) = corp.gateway.send(request);
        assert!(status == 200 && !answer.to_string().contains("planted"), "{answer}");
        assert!(answer.to_string().contains("kc"), "{answer}");
    }
    let catalog = corp.gateway.catalog();
    let stored = catalog.people().provider("kc").unwrap();
    assert!(!format!("{stored:?}").contains("planted"));
    // Whoever is no administrator neither sees nor makes any.
    assert_eq!(corp.gateway.send(Request::get(path).by_user()).0, 403);
    let another = json!({"id": "x", "issuer": "https://x.example", "client_id": "us"}).to_string();
    assert_eq!(corp.gateway.send(Request::post(path, &another).by_user()).0, 403);
    // The id of one of the settings is taken.
    let corp_too = json!({"id": "corp", "issuer": "https://x.example", "client_id": "us"});
    let (status, _) = corp.gateway.send(Request::post(path, &corp_too.to_string()));
    assert_eq!(status, 422);
}

#[test]
fn a_provider_that_is_switched_off_or_unknown_is_not_there() {
    let corp = Corp::new();
    assert_eq!(corp.gateway.send(Request::get("/auth/sso/login/nobody").by_nobody()).0, 404);
    let body = json!({"id": "kc", "issuer": "https://id.example", "client_id": "us",
        "is_enabled": false});
    corp.gateway.send(Request::post("/auth/sso/admin/providers", &body.to_string()));
    assert_eq!(corp.gateway.send(Request::get("/auth/sso/login/kc").by_nobody()).0, 404);
    let (_, listed) = corp.gateway.send(Request::get("/auth/sso/providers").by_nobody());
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&json!("corp")]);
}

#[test]
fn a_login_asks_for_what_it_needs_and_tells_no_secret() {
    let corp = Corp::new();
    let (_, begun) = corp.gateway.send(Request::get(LOGIN).by_nobody());
    let url = begun["authorization_url"].as_str().unwrap();
    let begins = "https://id.example/in?x=1&response_type=code&client_id=us&redirect_uri=";
    assert!(url.starts_with(begins), "{url}");
    assert!(url.contains("code_challenge_method=S256") && !url.contains("hush"), "{url}");
    assert_eq!(begun["authorization_url"], begun["authorizationUrl"]);
}
