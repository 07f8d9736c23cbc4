//! How a client command ends badly, and what mends it.

use std::fmt;
use std::io::ErrorKind;

use serde_json::Value;

/// How a client command ends badly.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody answers there.
    NoGateway {
        /// Where.
        url: String,
    },
    /// The connection failed, or broke.
    Unreachable {
        /// Where.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// Something answers there, and not as a gateway does.
    Nonsense {
        /// Where.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The gateway refused.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The gateway's own words.
        sentence: String,
    },
    /// The gateway or the upstream answered with a JSON-RPC error.
    Rpc {
        /// The code.
        code: i64,
        /// The sentence.
        message: String,
    },
    /// The tool ran, and reported an error of its own; it was printed.
    Tool {
        /// The tool.
        name: String,
    },
    /// What was typed cannot be.
    Input(String),
    /// No token could be made.
    Token(String),
    /// The output cannot be written.
    Output(std::io::Error),
}

impl ClientError {
    /// A request that did not come through.
    pub fn unsent(url: &str, error: &ureq::Error) -> ClientError {
        let url = url.to_owned();
        match error {
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                ClientError::NoGateway { url }
            }
            ureq::Error::ConnectionFailed => ClientError::NoGateway { url },
            other => ClientError::Unreachable { url, reason: other.to_string() },
        }
    }

    /// A refusal with the gateway's own words.
    pub fn refused(status: u16, body: &Value) -> ClientError {
        let sentence = sentence(body).unwrap_or_else(|| "it gave no reason".to_owned());
        ClientError::Refused { status, sentence }
    }
}

impl ClientError {
    /// Takes it as well done when whoever read the output has enough of it, as `head` does.
    ///
    /// # Errors
    ///
    /// Every other error, as it is.
    pub fn unless_closed(self) -> Result<(), ClientError> {
        match self {
            ClientError::Output(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => Err(other),
        }
    }
}

/// What an error body says, in whichever of the contract's shapes.
fn sentence(body: &Value) -> Option<String> {
    if let Value::Array(faults) = &body["detail"] {
        let lines: Vec<_> = faults.iter().map(fault).collect();
        return Some(lines.join("\n  "));
    }
    let text = body["message"].as_str().or(body["detail"].as_str());
    let text = text.or(body["error"]["message"].as_str()).or(body["error"].as_str());
    text.map(str::to_owned)
}

/// One field that holds what it must not: `name: Field required`.
fn fault(fault: &Value) -> String {
    let place = fault["loc"].as_array().into_iter().flatten().skip(1);
    let place: Vec<_> = place.map(|part| part.to_string().replace('"', "")).collect();
    let message = fault["msg"].as_str().unwrap_or("cannot be");
    if place.is_empty() { message.to_owned() } else { format!("{}: {message}", place.join(".")) }
}

impl fmt::Display for ClientError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NoGateway { url } => {
                write!(out, "no gateway at {url}; start one with `ringway`, or name one by --url")
            }
            ClientError::Unreachable { url, reason } => {
                write!(out, "the gateway at {url} cannot be reached: {reason}")
            }
            ClientError::Nonsense { url, reason } => write!(out, "{url}: {reason}"),
            ClientError::Refused { status: 401, sentence } => write!(
                out,
                "{sentence}; give a token by --token or RINGWAY_TOKEN (where the gateway runs, \
                 `ringway token --username admin@example.com` makes one)"
            ),
            ClientError::Refused { sentence, .. } => out.write_str(sentence),
            ClientError::Rpc { code, message } => write!(out, "{message} (error {code})"),
            ClientError::Tool { name } => write!(out, "the tool {name} reported an error"),
            ClientError::Input(problem) => out.write_str(problem),
            ClientError::Token(problem) => write!(out, "no token can be made: {problem}"),
            ClientError::Output(error) => write!(out, "the output cannot be written: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<std::io::Error> for ClientError {
    fn from(error: std::io::Error) -> ClientError {
        ClientError::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_shape_of_a_refusal_becomes_a_sentence() {
        for (body, expected) in [
            (json!({"detail": "Not Found"}), "Not Found"),
            (json!({"message": "Gateway name already exists"}), "Gateway name already exists"),
            (
                json!({"message": "m", "detail": [
                    {"loc": ["body", "url"], "msg": "URL must not be empty"},
                    {"loc": ["body", "auth_headers", 0, "key"], "msg": "Field required"}]}),
                "url: URL must not be empty\n  auth_headers.0.key: Field required",
            ),
            (json!({"error": {"code": -32600, "message": "no"}}), "no"),
            (json!({"status": "not ready", "error": "draining"}), "draining"),
            (Value::Null, "it gave no reason"),
        ] {
            assert_eq!(ClientError::refused(422, &body).to_string(), expected);
        }
    }

    #[test]
    fn a_reader_that_has_enough_is_no_error() {
        let closed = ClientError::Output(ErrorKind::BrokenPipe.into());
        assert!(closed.unless_closed().is_ok());
        let full = ClientError::Output(ErrorKind::StorageFull.into());
        assert!(full.unless_closed().is_err());
    }

    #[test]
    fn a_refused_connection_and_a_missing_token_name_their_mend() {
        let refused = ureq::Error::Io(ErrorKind::ConnectionRefused.into());
        let error = ClientError::unsent("http://127.0.0.1:4444", &refused).to_string();
        assert!(error.starts_with("no gateway at http://127.0.0.1:4444; start one with `ringway`"));
        let body = json!({"detail": "Authorization token required"});
        let error = ClientError::refused(401, &body).to_string();
        assert!(error.contains("RINGWAY_TOKEN"), "{error}");
    }
}
