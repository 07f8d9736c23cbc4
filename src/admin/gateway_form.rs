//! What a request says of an upstream, checked, and laid over what is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use storage::record::{Gateway, ProtocolPin, SessionMode, Transport};
use storage::seal::Sealer;
use url::{Host, Url};

use super::Rules;
use super::credentials::{self, Auth, Stored, Ways};
use super::fields::Fields;
use super::record_form::{self, OwnershipForm};
use crate::catalog::{Upstream, naming};

/// The most words of a command; no shell line of people is as long.
const COMMAND_WORD_COUNT_MAX: usize = 256;

/// The most headers of callers that are handed on.
const PASSTHROUGH_COUNT_MAX: usize = 100;

/// An upstream as it shall be, not stored yet.
pub struct Draft {
    /// The record, without its sealed parts.
    pub gateway: Gateway,
    /// The headers that prove us to it.
    pub headers: BTreeMap<String, String>,
    /// The environment of its child process.
    pub environment: BTreeMap<String, String>,
    /// The transport is to be found out.
    pub transport_is_open: bool,
    /// The headers are not those that are stored sealed.
    headers_are_new: bool,
    /// The environment is not the one that is stored sealed.
    environment_is_new: bool,
}

/// The fields of a request.
pub struct Form {
    name: Option<String>,
    description: Option<Option<String>>,
    url: Option<String>,
    command: Option<Vec<String>>,
    transport: Option<Option<Transport>>,
    protocol: Option<ProtocolPin>,
    session_mode: Option<SessionMode>,
    ca_certificate: Option<Option<String>>,
    passthrough_headers: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    ownership: OwnershipForm,
    auth: Option<Auth>,
    environment: Option<BTreeMap<String, String>>,
}

impl Form {
    /// Reads the fields; `stored` is the upstream that is to be changed.
    pub fn read(fields: &mut Fields, rules: &Rules, stored: Option<&Upstream>) -> Form {
        Form {
            name: record_form::name(fields, rules),
            description: record_form::description(fields, rules),
            url: url_field(fields, rules),
            command: command(fields),
            transport: fields.word("transport", transport, TRANSPORT_FORM),
            protocol: fields.word("protocol", protocol, "auto, legacy or modern"),
            session_mode: fields.word("session_mode", session_mode, "shared or per_client"),
            ca_certificate: ca_certificate(fields),
            passthrough_headers: passthrough_headers(fields),
            tags: record_form::tags(fields),
            ownership: OwnershipForm::read(fields),
            auth: credentials::read_auth(fields, Stored::of(stored), Ways::Headers),
            environment: credentials::read_environment(fields, stored),
        }
    }

    /// Whether a command is to be run, or the environment of one to be set.
    pub fn is_command(&self) -> bool {
        self.command.is_some() || self.transport == Some(Some(Transport::Stdio))
    }

    /// Lays the fields over a draft, and checks what must fit together.
    pub fn apply(self, draft: &mut Draft, fields: &mut Fields, rules: &Rules) {
        let gateway = &mut draft.gateway;
        match (self.name, gateway.name.is_empty()) {
            (Some(name), _) => gateway.name = name,
            (None, true) => fields.missing("name"),
            (None, false) => {}
        }
        gateway.slug = naming::slug(&gateway.name, rules.separator);
        gateway.description = self.description.unwrap_or_else(|| gateway.description.take());
        gateway.protocol = self.protocol.unwrap_or(gateway.protocol);
        gateway.session_mode = self.session_mode.unwrap_or(gateway.session_mode);
        gateway.tags = self.tags.unwrap_or_else(|| std::mem::take(&mut gateway.tags));
        if let Some(certificate) = self.ca_certificate {
            gateway.ca_certificate = certificate;
        }
        if self.passthrough_headers.is_some() {
            gateway.passthrough_headers = self.passthrough_headers;
        }
        self.ownership.apply(&mut gateway.ownership, fields);
        if let Some(auth) = self.auth {
            // What was sent back as it was read stays sealed as it is.
            draft.headers_are_new = auth.headers != draft.headers || auth.kind.is_none();
            gateway.auth_type = auth.kind;
            draft.headers = auth.headers;
        }
        if let Some(environment) = self.environment {
            draft.environment_is_new = environment != draft.environment || environment.is_empty();
            draft.environment = environment;
        }
        draft.aim(
            Target { url: self.url, command: self.command, transport: self.transport },
            fields,
        );
    }
}

/// Where an upstream is and how it is reached.
struct Target {
    url: Option<String>,
    command: Option<Vec<String>>,
    transport: Option<Option<Transport>>,
}

impl Draft {
    /// A draft of a new upstream.
    pub fn new(gateway: Gateway) -> Draft {
        Draft {
            gateway,
            headers: BTreeMap::new(),
            environment: BTreeMap::new(),
            transport_is_open: false,
            headers_are_new: false,
            environment_is_new: false,
        }
    }

    /// A draft of a stored one.
    pub fn of(upstream: &Upstream) -> Draft {
        Draft {
            gateway: Gateway::clone(&upstream.record),
            headers: upstream.headers.iter().cloned().collect(),
            environment: upstream.environment.clone(),
            transport_is_open: false,
            headers_are_new: false,
            environment_is_new: false,
        }
    }

    /// Points the draft at its target: a URL or a command, never both.
    fn aim(&mut self, target: Target, fields: &mut Fields) {
        let Target { url, command, transport } = target;
        if url.is_some() && command.is_some() {
            fields.error("command", "An upstream has a url or a command, not both");
            return;
        }
        let is_stdio = match transport {
            Some(Some(transport)) => transport == Transport::Stdio,
            _ => command.is_some() || (url.is_none() && !self.gateway.command.is_empty()),
        };
        if is_stdio {
            self.aim_at_command(url, command, fields);
        } else {
            self.aim_at_url(url, command, transport, fields);
        }
    }

    fn aim_at_command(
        &mut self,
        url: Option<String>,
        command: Option<Vec<String>>,
        fields: &mut Fields,
    ) {
        if url.is_some() {
            fields.error("transport", "Transport STDIO takes a command and no url");
        }
        match command {
            Some(command) => self.gateway.command = command,
            None if self.gateway.command.is_empty() => fields.missing("command"),
            None => {}
        }
        self.gateway.url = None;
        self.gateway.transport = Transport::Stdio;
        self.transport_is_open = false;
        if !self.headers.is_empty() {
            fields.hidden_error("auth_type", "A command has no headers; pass secrets in env");
        }
    }

    fn aim_at_url(
        &mut self,
        url: Option<String>,
        command: Option<Vec<String>>,
        transport: Option<Option<Transport>>,
        fields: &mut Fields,
    ) {
        if command.is_some() {
            fields.error("command", "Only transport STDIO takes a command");
        }
        if self.gateway.transport == Transport::Stdio {
            self.environment.clear();
            self.environment_is_new = true;
        } else if !self.environment.is_empty() {
            fields.hidden_error("env", "Only a command has an environment");
        }
        let is_moved = url.is_some() && url != self.gateway.url;
        match url {
            Some(url) => self.gateway.url = Some(url),
            None if self.gateway.url.is_none() => fields.missing("url"),
            None => {}
        }
        self.gateway.command.clear();
        self.transport_is_open = match transport {
            Some(transport) => transport.is_none(),
            None => is_moved,
        };
        self.gateway.transport = transport.flatten().unwrap_or(self.gateway.transport);
        self.match_scheme(transport.flatten().is_some(), fields);
    }

    /// Makes a URL and its transport fit: a WebSocket has a scheme of its own, which says enough.
    fn match_scheme(&mut self, is_named: bool, fields: &mut Fields) {
        let is_socket = self.gateway.url.as_deref().is_some_and(is_socket_url);
        match (is_socket, self.gateway.transport == Transport::WebSocket) {
            (true, false) if is_named => {
                fields.error("transport", "A url of ws:// or wss:// has transport WEBSOCKET");
            }
            (true, _) => {
                self.gateway.transport = Transport::WebSocket;
                self.transport_is_open = false;
            }
            (false, true) if is_named && self.gateway.url.is_some() => {
                fields.error("transport", "Transport WEBSOCKET takes a url of ws:// or wss://");
            }
            (false, _) => {}
        }
    }

    /// Whether the upstream has to be asked anew, since it is reached otherwise than before.
    pub fn is_reached_otherwise(&self, upstream: &Upstream) -> bool {
        let (new, old) = (&self.gateway, &upstream.record);
        self.transport_is_open
            || new.url != old.url
            || new.command != old.command
            || new.transport != old.transport
            || new.protocol != old.protocol
            || new.ca_certificate != old.ca_certificate
            || !self.headers.iter().eq(upstream.headers.iter().map(|(key, value)| (key, value)))
            || self.environment != upstream.environment
    }

    /// The draft as an upstream that can be asked.
    pub fn upstream(&self) -> Upstream {
        Upstream {
            record: Arc::new(self.gateway.clone()),
            headers: self.headers.clone().into_iter().collect(),
            environment: self.environment.clone(),
        }
    }

    /// The record to store, its secrets sealed.
    ///
    /// Those that did not change stay sealed as they are: they may be sealed under a secret that
    /// this process does not have.
    pub fn seal(self, sealer: &Sealer) -> Gateway {
        let seal = |secrets: &BTreeMap<_, _>| (!secrets.is_empty()).then(|| sealer.seal(secrets));
        let mut gateway = self.gateway;
        if self.headers_are_new {
            gateway.auth_sealed = seal(&self.headers);
        }
        if self.environment_is_new {
            gateway.env_sealed = seal(&self.environment);
        }
        gateway
    }
}

/// The form of a URL in which two that lead to the same place are equal: `127.0.0.1` is
/// `localhost`.
pub fn same_url(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return url.to_owned() };
    let is_loopback =
        matches!(parsed.host(), Some(Host::Ipv4(address)) if address.octets() == [127, 0, 0, 1]);
    if is_loopback && parsed.set_host(Some("localhost")).is_err() {
        return url.to_owned();
    }
    parsed.into()
}

const TRANSPORT_FORM: &str = "STREAMABLEHTTP, SSE, HTTP, WEBSOCKET, STDIO or auto";

fn transport(text: &str) -> Option<Option<Transport>> {
    let word: String = text.chars().filter(|letter| !matches!(letter, '-' | '_')).collect();
    let word = word.to_ascii_uppercase();
    match word.as_str() {
        "AUTO" | "" => Some(None),
        "WS" => Some(Some(Transport::WebSocket)),
        word => word.parse().ok().map(Some),
    }
}

fn protocol(text: &str) -> Option<ProtocolPin> {
    text.to_ascii_lowercase().parse().ok()
}

fn session_mode(text: &str) -> Option<SessionMode> {
    text.to_ascii_lowercase().parse().ok()
}

fn url_field(fields: &mut Fields, rules: &Rules) -> Option<String> {
    let text = fields.text("url")?;
    // The other rules are those of HTTP, by which a WebSocket begins.
    let checked = match is_socket_url(&text) {
        true => format!("http{}", &text["ws".len()..]),
        false => text.clone(),
    };
    if let Err(problem) = check_url(&checked, rules.url_length_max) {
        let problem = problem.replace(SCHEMES, "http://, https://, ws:// or wss://");
        // A password in a URL is a secret too.
        if text.contains('@') {
            fields.hidden_error("url", problem);
        } else {
            fields.error("url", problem);
        }
    }
    Some(text)
}

/// How a URL of anything but a gateway begins.
const SCHEMES: &str = "http:// or https://";

fn is_socket_url(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("ws") || scheme.eq_ignore_ascii_case("wss")
}

/// Checks a URL by the contract's rules.
///
/// # Errors
///
/// What is wrong with it, and what would be right.
pub fn check_url(text: &str, length_max: usize) -> Result<(), String> {
    if text.is_empty() {
        return Err("URL must not be empty".to_owned());
    }
    if text.chars().count() > length_max {
        return Err(format!("URL must have at most {length_max} characters"));
    }
    if text.chars().any(|letter| letter.is_whitespace() || letter.is_control() || letter == '\\') {
        return Err("URL must not contain blanks, control characters or backslashes".to_owned());
    }
    let url = Url::parse(text)
        .map_err(|error| format!("URL cannot be read: {error}; write http://host:port/path"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("URL must begin with {SCHEMES}, not {}:", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("URL must not contain credentials; use the auth_ fields".to_owned());
    }
    if url.fragment().is_some() {
        return Err("URL must not contain a fragment (#)".to_owned());
    }
    match url.host() {
        Some(Host::Ipv4(address)) if address.is_unspecified() => {
            Err("URL must name a host, not 0.0.0.0".to_owned())
        }
        Some(_) if url.port() != Some(0) => Ok(()),
        _ => Err("URL must name a host and no port 0".to_owned()),
    }
}

/// A command: a list of words, or a line that is split as a shell splits it.
fn command(fields: &mut Fields) -> Option<Vec<String>> {
    let words = match fields.given("command")? {
        Value::String(line) => shlex::split(line),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let Some(words) = words else {
        fields.hidden_error(
            "command",
            "Command should be a list of texts, or a line whose quotes are closed",
        );
        return None;
    };
    if words.first().is_none_or(String::is_empty) {
        fields.hidden_error("command", "Command must name a program");
    } else if words.len() > COMMAND_WORD_COUNT_MAX {
        let message = format!("Command must have at most {COMMAND_WORD_COUNT_MAX} words");
        fields.hidden_error("command", message);
    } else if words.iter().any(|word| word.contains('\0')) {
        fields.hidden_error("command", "Command must not contain a zero byte");
    }
    Some(words)
}

/// A certificate authority of its own, in PEM; the empty text says that there is none.
fn ca_certificate(fields: &mut Fields) -> Option<Option<String>> {
    let text = fields.text("ca_certificate")?;
    if text.is_empty() {
        return Some(None);
    }
    if let Err(error) = net::tls::Connector::with_roots(&text) {
        fields.hidden_error("ca_certificate", error.to_string());
    }
    Some(Some(text))
}

/// The names of headers of callers that are handed on.
pub fn passthrough_headers(fields: &mut Fields) -> Option<Vec<String>> {
    let names = fields.list("passthrough_headers")?;
    if names.len() > PASSTHROUGH_COUNT_MAX {
        let message = format!("At most {PASSTHROUGH_COUNT_MAX} headers are allowed");
        fields.error("passthrough_headers", message);
    }
    for name in &names {
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            let message = format!("Header name {name:?} may contain letters, digits and - only");
            fields.error("passthrough_headers", message);
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_held_to_the_rules() {
        for (url, problem) in [
            ("http://127.0.0.1:9000/mcp", None),
            ("https://time.example/mcp?x=1", None),
            ("http://[::1]:9000/mcp", None),
            ("", Some("must not be empty")),
            ("time.example/mcp", Some("cannot be read")),
            ("ftp://time.example/mcp", Some("must begin with http://")),
            ("file:///etc/passwd", Some("must begin with http://")),
            ("javascript:alert(1)", Some("must begin with http://")),
            ("http://u:p@time.example/", Some("credentials")),
            ("http://u@time.example/", Some("credentials")),
            ("http://time.example/a b", Some("blanks")),
            ("http://time.example/\tb", Some("blanks")),
            ("http://time.example\\@evil.example/", Some("backslashes")),
            ("http://time.example/#x", Some("fragment")),
            ("http://0.0.0.0:1/", Some("0.0.0.0")),
            ("http://time.example:0/", Some("port 0")),
        ] {
            let found = check_url(url, 2048);
            match problem {
                None => assert_eq!(found, Ok(()), "{url}"),
                Some(part) => {
                    assert!(found.clone().unwrap_err().contains(part), "{url}: {found:?}")
                }
            }
        }
        assert!(check_url(&format!("http://h/{}", "x".repeat(2048)), 2048).is_err());
    }

    #[test]
    fn the_two_names_of_this_machine_are_one_url() {
        assert_eq!(same_url("http://127.0.0.1:9000/mcp"), same_url("http://localhost:9000/mcp"));
        assert_eq!(same_url("HTTP://LOCALHOST:80/mcp"), same_url("http://localhost/mcp"));
        assert_ne!(same_url("http://localhost/mcp"), same_url("http://localhost/mcp/"));
        assert_ne!(same_url("http://127.0.0.2/mcp"), same_url("http://localhost/mcp"));
    }

    #[test]
    fn transports_are_known_by_every_spelling() {
        for text in ["STREAMABLEHTTP", "streamable-http", "Streamable_HTTP"] {
            assert_eq!(transport(text), Some(Some(Transport::StreamableHttp)));
        }
        assert_eq!(transport("sse"), Some(Some(Transport::Sse)));
        for text in ["WEBSOCKET", "websocket", "ws"] {
            assert_eq!(transport(text), Some(Some(Transport::WebSocket)));
        }
        assert_eq!(transport("auto"), Some(None));
        assert_eq!(transport("carrier pigeon"), None);
    }
}
