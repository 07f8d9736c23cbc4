//! A client of a running gateway: where it is, who we are, and what it answers.

mod error;
mod rpc;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};
use url::Url;

pub use error::ClientError;
pub use rpc::ToolCall;

use super::token::{self, TokenArgs};
use crate::settings::Settings;

/// How long connecting may take. The gateway is usually on this machine or near it.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long an answer may take: registering a command may download a package first.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// The largest answer that is read, in bytes: a list of the largest registry that is promised.
const ANSWER_SIZE_MAX: u64 = 256 << 20;

/// Minutes that a token made for one command lives.
const TOKEN_MINUTES: u32 = 15;

/// How many entries are asked for at once.
const PAGE_COUNT: usize = 500;

/// Which gateway, and who we are.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ClientArgs {
    /// The gateway to speak to. Default: the HOST and PORT of the settings.
    #[arg(long, value_name = "URL", env = "RINGWAY_URL")]
    pub url: Option<String>,
    /// The token to show it. Default: MCPGATEWAY_BEARER_TOKEN, or for a gateway on this machine a
    /// short-lived one, made with its own secret.
    #[arg(long, value_name = "TOKEN", env = "RINGWAY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// A client. Requests block.
pub struct Client {
    base: String,
    token: Option<String>,
    agent: Agent,
}

impl Client {
    /// Makes a client of what was typed and what is set. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`ClientError::Input`] if the URL is none, [`ClientError::Token`] if no token can be made.
    pub fn new(args: &ClientArgs, settings: &Settings) -> Result<Client, ClientError> {
        let base = match &args.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => local_url(settings),
        };
        let parsed = Url::parse(&base).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = parsed.ok_or_else(|| {
            ClientError::Input(format!("{base:?} is no URL; write --url http://127.0.0.1:4444"))
        })?;
        let is_here = args.url.is_none() || is_loopback(&url);
        let token = match given_token(args) {
            Some(token) => Some(token),
            None if is_here => own_token(settings)?,
            None => None,
        };
        Ok(Client { base, token, agent: agent(&url) })
    }

    /// The gateway that is spoken to.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Reads what is at a path.
    ///
    /// # Errors
    ///
    /// [`ClientError`]: no gateway, or its refusal.
    pub fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.send("GET", path, None)
    }

    /// Sends JSON to a path.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.send("POST", path, Some(body))
    }

    /// Replaces fields of what is at a path.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub fn put(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.send("PUT", path, Some(body))
    }

    /// Deletes what is at a path.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.send("DELETE", path, None)
    }

    /// Reads all entries of a list, page by page; `query` ends with `&` unless it is empty.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub fn list(&self, name: &str, query: &str) -> Result<Vec<Value>, ClientError> {
        self.list_at(&format!("/{name}"), name, query)
    }

    /// As [`Client::list`], of a list that is at `path` and stands under `name` in a page.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub fn list_at(&self, path: &str, name: &str, query: &str) -> Result<Vec<Value>, ClientError> {
        let mut entries = Vec::new();
        let mut cursor = String::new();
        loop {
            let query = format!("{query}limit={PAGE_COUNT}&include_pagination=true{cursor}");
            let mut page = self.get(&format!("{path}?{query}"))?;
            let Some(Value::Array(part)) = page.get_mut(name).map(Value::take) else {
                return Err(self.nonsense(&format!("its answer has no list of {name}")));
            };
            entries.extend(part);
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(entries),
            }
        }
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("accept", "application/json");
        let (status, answer) = self.exchange(request, body)?.into_json(self)?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        Err(ClientError::refused(status, &answer))
    }

    /// Sends one request and gives the answer, whatever its status.
    fn exchange(
        &self,
        mut request: ureq::http::request::Builder,
        body: Option<&Value>,
    ) -> Result<Answer, ClientError> {
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let bytes = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(bytes).map_err(|error| {
            ClientError::Input(format!("the request cannot be written: {error}"))
        })?;
        let sent = self.agent.run(request);
        sent.map(Answer).map_err(|error| ClientError::unsent(&self.base, &error))
    }

    fn nonsense(&self, reason: &str) -> ClientError {
        ClientError::Nonsense { url: self.base.clone(), reason: reason.to_owned() }
    }
}

/// An answer whose body was not read.
struct Answer(Response<Body>);

impl Answer {
    /// Reads the body as JSON; null if it is empty.
    fn into_json(mut self, client: &Client) -> Result<(u16, Value), ClientError> {
        let status = self.0.status().as_u16();
        let reading = self.0.body_mut().with_config().limit(ANSWER_SIZE_MAX);
        let bytes =
            reading.read_to_vec().map_err(|error| ClientError::unsent(&client.base, &error))?;
        if bytes.is_empty() {
            return Ok((status, Value::Null));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok((status, value)),
            Err(_) if (200..300).contains(&status) => {
                Err(client.nonsense("its answer is no JSON; is it a gateway?"))
            }
            Err(_) => Ok((status, Value::Null)),
        }
    }
}

/// The address of the gateway that these settings start, as a client on this machine reaches it.
fn local_url(settings: &Settings) -> String {
    let scheme = if settings.tls().is_some() { "https" } else { "http" };
    let mut address = settings.address();
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{scheme}://{address}")
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

fn given_token(args: &ClientArgs) -> Option<String> {
    let given = args.token.clone().or_else(|| std::env::var("MCPGATEWAY_BEARER_TOKEN").ok());
    let token = given.map(|token| token.trim().trim_start_matches("Bearer ").to_owned());
    token.filter(|token| !token.is_empty())
}

/// A token of the platform's administrator, made with the secret of the gateway on this machine;
/// none if there is no sign of such a secret here. A client makes no secret: the gateway would not
/// know it.
fn own_token(settings: &Settings) -> Result<Option<String>, ClientError> {
    let auth = &settings.auth;
    let has_key = auth.secret_key.is_some() || auth.private_key_path.is_some();
    if !has_key && !settings.storage.data_dir.is_dir() {
        return Ok(None);
    }
    let args = TokenArgs {
        username: Some(auth.admin_email.clone()),
        exp: Some(TOKEN_MINUTES),
        ..TokenArgs::default()
    };
    let mut token = Vec::new();
    token::run(&args, settings, &mut token, &mut std::io::sink())
        .map_err(|error| ClientError::Token(error.to_string()))?;
    Ok(Some(String::from_utf8_lossy(&token).trim().to_owned()))
}

fn agent(url: &Url) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(CONNECT_WAIT_MAX))
        .timeout_global(Some(ANSWER_WAIT_MAX))
        .user_agent(concat!("ringway/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        // A proxy of the environment does not lead back to this machine.
        config = config.proxy(None);
    }
    if url.scheme() == "https" {
        config = config.tls_config(tls());
    }
    config.build().new_agent()
}

/// TLS with the roots of the system, or those that SSL_CERT_FILE names.
fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    let roots = found.certs.iter().map(|root| Certificate::from_der(root).to_owned());
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build()
}

#[cfg(test)]
mod tests;
