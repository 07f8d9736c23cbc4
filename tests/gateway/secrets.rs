//! What is secret stays so: masked when read, sealed when stored, out of the data folder's reach.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::faulty::Faulty;
use crate::harness::gateway::Gateway;

const PASSWORD: &str = "pa55word-of-the-upstream";

/// Each way to authenticate to an upstream, and what the upstream must see of it.
fn ways() -> [(Value, &'static str, String); 4] {
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("user:{PASSWORD}"));
    [
        (
            json!({ "auth_type": "basic", "auth_username": "user", "auth_password": PASSWORD }),
            "authorization",
            format!("Basic {basic}"),
        ),
        (
            json!({ "auth_type": "bearer", "auth_token": PASSWORD }),
            "authorization",
            format!("Bearer {PASSWORD}"),
        ),
        (
            json!({ "auth_type": "authheaders", "auth_header_key": "X-Key", "auth_header_value": PASSWORD }),
            "x-key",
            PASSWORD.to_owned(),
        ),
        (
            json!({ "auth_type": "authheaders", "auth_headers": [{ "key": "X-Other", "value": PASSWORD }] }),
            "x-other",
            PASSWORD.to_owned(),
        ),
    ]
}

fn assert_nowhere_in(folder: &Path, secret: &str) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder stays").path();
        if path.is_dir() {
            assert_nowhere_in(&path, secret);
            continue;
        }
        let bytes = fs::read(&path).expect("a file of ours is readable");
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds the secret in clear", path.display());
    }
}

#[test]
fn sends_credentials_upstream_but_never_shows_or_stores_them_in_clear() {
    for (way, header, value) in ways() {
        let folder = TempDir::new().expect("a temporary folder");
        let gateway = Gateway::setup().data(folder.path()).start();
        let upstream = Faulty::legacy();
        let mut body = upstream.registration("up");
        body.as_object_mut()
            .expect("an object")
            .extend(way.as_object().expect("an object").clone());
        let added = gateway.add(&body);
        gateway.call("up-echo", json!({}));
        for seen in upstream.seen() {
            assert_eq!(
                seen.header(header),
                Some(value.as_str()),
                "{way}: {:?}",
                seen.body["method"]
            );
        }
        let path = format!("/gateways/{}", added["id"].as_str().expect("an id"));
        for text in [added.to_string(), gateway.get(&path).text(), gateway.get("/gateways").text()]
        {
            assert!(!text.contains(PASSWORD), "{way}: {text}");
            assert!(text.contains("*****"), "{way}: no mask in {text}");
        }
        assert!(!gateway.printed().contains(PASSWORD), "{way}: printed");
        gateway.stop();
        assert_nowhere_in(folder.path(), PASSWORD);
        // What was sealed can be opened again.
        let again = Gateway::setup().data(folder.path()).start();
        let before = upstream.seen().len();
        again.call("up-echo", json!({}));
        let last = upstream.seen().split_off(before);
        assert!(last.iter().all(|seen| seen.header(header) == Some(value.as_str())), "{way}");
    }
}

#[test]
fn keeps_a_credential_that_is_sent_back_masked() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let mut body = upstream.registration("up");
    body["auth_type"] = json!("bearer");
    body["auth_token"] = json!(PASSWORD);
    let mut read = gateway.add(&body);
    read["description"] = json!("changed");
    let path = format!("/gateways/{}", read["id"].as_str().expect("an id"));
    gateway.ask("PUT", &path, Some(&read)).expect(200);
    gateway.call("up-echo", json!({}));
    let last = upstream.seen().pop().expect("the call arrived");
    assert_eq!(last.header("authorization"), Some(format!("Bearer {PASSWORD}").as_str()));
}

#[test]
fn keeps_its_data_folder_and_secrets_to_itself() {
    let parent = TempDir::new().expect("a temporary folder");
    let folder = parent.path().join("new/data");
    let gateway = Gateway::setup()
        .data(&folder)
        .set("JWT_SECRET_KEY", "")
        .set("AUTH_ENCRYPTION_SECRET", "")
        .start();
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).expect("the folder is readable") {
        let path = entry.expect("the folder stays").path();
        assert_eq!(mode(&path) & 0o077, 0, "{} is open to others", path.display());
    }
    // A token made in the same folder is good without any secret given.
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    gateway.post("/rpc", &ping).expect(401);
    let mut command = gateway.command(&["token", "--username", "admin@example.com", "--exp", "5"]);
    let output = command.env_remove("JWT_SECRET_KEY").env_remove("AUTH_ENCRYPTION_SECRET").output();
    let token = String::from_utf8(output.expect("it starts").stdout).expect("tokens are ASCII");
    gateway.ask_as(Some(token.trim()), "POST", "/rpc", Some(&ping)).expect(200);
}
