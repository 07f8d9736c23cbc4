//! Logins through the whole gateway: the first administrator, sessions and their end, passwords, API
//! tokens, and the command line that lets whoever has the machine in again.

mod endings;
mod first;
mod machine;
mod sessions;
mod usage;

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::wire::Answer;

/// How long a gateway may take to notice something.
const PATIENCE: Duration = Duration::from_secs(30);

const ROOT: &str = "admin@example.com";
const ANN: &str = "ann@example.com";
const PASSWORD: &str = "Korrekt-Pferd-7";

/// A gateway with an administrator whose password is [`PASSWORD`], where hashing costs next to
/// nothing and a failed login is answered at once.
fn setup() -> Setup {
    Gateway::setup()
        .set("PLATFORM_ADMIN_PASSWORD", PASSWORD)
        .set("ARGON2ID_MEMORY_COST", 8)
        .set("ARGON2ID_TIME_COST", 1)
        .set("FAILED_LOGIN_MIN_RESPONSE_MS", 0)
}

/// Starts [`setup`] and waits for its administrator, who is made when the gateway is up.
fn start() -> Gateway {
    let gateway = setup().start();
    session_of(&gateway, ROOT, PASSWORD);
    gateway
}

fn login(gateway: &Gateway, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    gateway.ask_as(None, "POST", "/auth/login", Some(&body))
}

/// Logs in, as soon as that user is known, and gives the token.
fn session_of(gateway: &Gateway, email: &str, password: &str) -> String {
    let answer = eventually("the user to be known", PATIENCE, || {
        let answer = login(gateway, email, password);
        (answer.status == 200).then(|| answer.json())
    });
    answer["access_token"].as_str().expect("a token").to_owned()
}

/// Makes a user, and gives the token of a login.
fn user(gateway: &Gateway, email: &str) -> String {
    let body = json!({ "email": email, "password": PASSWORD });
    gateway.post("/auth/email/admin/users", &body).expect(201);
    session_of(gateway, email, PASSWORD)
}

/// The status of a request with this token.
fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.ask_as(Some(token), "GET", "/auth/email/me", None).status
}

/// Makes an API token, and gives its id and the token.
fn api_token(gateway: &Gateway, session: &str, body: &Value) -> (String, String) {
    let made = gateway.ask_as(Some(session), "POST", "/tokens", Some(body)).expect(201).json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&made["token"]["id"]), text(&made["access_token"]))
}

/// Runs `ringway user` with a line on its standard input.
fn cli(gateway: &Gateway, arguments: &[&str], line: &str) -> Output {
    let arguments: Vec<&str> = ["user"].iter().chain(arguments).copied().collect();
    let mut command = gateway.command(&arguments);
    command.env("ARGON2ID_MEMORY_COST", "8").env("ARGON2ID_TIME_COST", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // It may have ended already, and said why.
    let _ = writeln!(stdin, "{line}");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("it prints text")
}
