//! What a REST service answered, made into the result of a tool.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use net::jsonrpc::write_string;

use super::{compact, compression};

/// Most characters of the text of an HTTP error that are shown.
const ERROR_TEXT_MAX: usize = 4000;

/// What is said where a secret stood.
const MASK: &str = "********";

/// An answer, read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: Kind,
    /// The value of `Content-Encoding`, in small letters.
    pub(super) coding: String,
    pub(super) data: Vec<u8>,
}

/// What an answer says that it is.
pub(super) struct Kind {
    /// The media type in small letters, without parameters; empty if there was none.
    essence: String,
    charset: Option<String>,
}

/// What an answer holds.
pub(super) enum Content<'a> {
    /// JSON, without the space between its parts.
    Json(String),
    Text(Cow<'a, str>),
    /// An image or a sound.
    Media(&'static str),
    Binary,
}

impl Kind {
    /// Reads a `Content-Type`.
    pub(super) fn parse(value: &[u8]) -> Kind {
        let value = String::from_utf8_lossy(value);
        let mut parts = value.split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let charset = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let is_charset = name.trim().eq_ignore_ascii_case("charset");
            is_charset.then(|| value.trim().trim_matches('"').to_owned())
        });
        Kind { essence, charset }
    }

    fn is_json(&self) -> bool {
        matches!(&*self.essence, "application/json" | "text/json" | "application/x-ndjson")
            || self.essence.ends_with("+json")
    }

    fn is_text(&self) -> bool {
        const TEXTS: [&str; 7] = [
            "application/xml",
            "application/javascript",
            "application/x-www-form-urlencoded",
            "application/yaml",
            "application/x-yaml",
            "application/x-ndjson",
            "application/graphql",
        ];
        self.essence.starts_with("text/")
            || TEXTS.contains(&&*self.essence)
            || self.essence.ends_with("+xml")
            || self.is_json()
    }

    /// What an answer of no known type is shown as.
    fn named(&self) -> &str {
        if self.essence.is_empty() { "application/octet-stream" } else { &self.essence }
    }

    /// The bytes as text; `None` if they are none in the charset that they claim.
    fn decode<'a>(&self, data: &'a [u8]) -> Option<Cow<'a, str>> {
        let label = self.charset.as_deref().unwrap_or("utf-8");
        let encoding = encoding_rs::Encoding::for_label(label.as_bytes())?;
        let (text, _, had_errors) = encoding.decode(data);
        (!had_errors).then_some(text)
    }
}

impl Answer {
    /// Undoes a coding that was not asked for.
    ///
    /// # Errors
    ///
    /// A sentence: it is unknown, broken, or has more than `size_max` bytes inside.
    pub(super) fn unpack(mut self, size_max: usize) -> Result<Answer, String> {
        if !matches!(&*self.coding, "" | "identity") && !self.data.is_empty() {
            self.data = compression::decode(&self.coding, &self.data, size_max)?;
        }
        Ok(self)
    }

    /// Finds what the answer holds. What claims to be JSON or text and is not is what its bytes are.
    pub(super) fn content(&self) -> Content<'_> {
        for (prefix, media) in [("image/", "image"), ("audio/", "audio")] {
            if self.kind.essence.starts_with(prefix) {
                return Content::Media(media);
            }
        }
        if !self.kind.essence.is_empty() && !self.kind.is_text() {
            return Content::Binary;
        }
        let Some(text) = self.kind.decode(&self.data) else { return Content::Binary };
        let may_be_json = self.kind.is_json() || self.kind.essence.is_empty();
        match may_be_json.then(|| compact::json(&text)).flatten() {
            Some(json) => Content::Json(json),
            None => Content::Text(text),
        }
    }

    /// The text of an HTTP error, with nothing in it that proves us to the service.
    pub(super) fn error_text(&self, host: &str, secrets: &[String]) -> String {
        let reason = net::http1::encode::reason(self.status);
        let space = if reason.is_empty() { "" } else { " " };
        let text = format!("{host} answered HTTP {}{space}{reason}", self.status);
        match self.content() {
            _ if self.data.is_empty() => text,
            Content::Json(body) => format!("{text}: {}", shown(&body, secrets)),
            Content::Text(body) => format!("{text}: {}", shown(&body, secrets)),
            Content::Media(_) | Content::Binary => {
                format!("{text}, with {} bytes of {}", self.data.len(), self.kind.named())
            }
        }
    }
}

fn shown(text: &str, secrets: &[String]) -> String {
    let masked = secrets.iter().fold(Cow::Borrowed(text), |text, secret| {
        if text.contains(secret) { text.replace(secret, MASK).into() } else { text }
    });
    match masked.char_indices().nth(ERROR_TEXT_MAX) {
        Some((end, _)) => format!("{}…", &masked[..end]),
        None => masked.into_owned(),
    }
}

/// Writes the result of a call that went well. `uri` names what is neither text, image nor sound.
pub(super) fn result(
    answer: &Answer,
    content: &Content<'_>,
    uri: &str,
    structured: bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(answer.data.len() + answer.data.len() / 2 + 128);
    out.extend_from_slice(b"{\"content\":[");
    match content {
        Content::Json(text) => write_text(&mut out, text),
        Content::Text(text) => write_text(&mut out, text),
        Content::Media(media) => {
            out.extend_from_slice(b"{\"type\":");
            write_string(&mut out, media);
            write_member(&mut out, "data", &STANDARD.encode(&answer.data));
            write_member(&mut out, "mimeType", &answer.kind.essence);
            out.push(b'}');
        }
        Content::Binary => {
            out.extend_from_slice(b"{\"type\":\"resource\",\"resource\":{\"uri\":");
            write_string(&mut out, uri);
            write_member(&mut out, "mimeType", answer.kind.named());
            write_member(&mut out, "blob", &STANDARD.encode(&answer.data));
            out.extend_from_slice(b"}}");
        }
    }
    out.push(b']');
    if let Content::Json(text) = content
        && (structured || text.starts_with('{'))
    {
        out.extend_from_slice(b",\"structuredContent\":");
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(b",\"isError\":false}");
    out
}

/// Writes the result of a call that failed.
pub(super) fn error(text: &str) -> Vec<u8> {
    let mut out = b"{\"content\":[".to_vec();
    write_text(&mut out, text);
    out.extend_from_slice(b"],\"isError\":true}");
    out
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
    write_string(out, text);
    out.push(b'}');
}

fn write_member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    write_string(out, name);
    out.push(b':');
    write_string(out, value);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answered(kind: &str, data: &[u8], structured: bool) -> Value {
        let kind = Kind::parse(kind.as_bytes());
        let answer = Answer { status: 200, kind, coding: String::new(), data: data.to_vec() };
        let raw = result(&answer, &answer.content(), "ringway://tools/1/answer", structured);
        serde_json::from_slice(&raw).expect("JSON")
    }

    fn text(kind: &str, data: &[u8]) -> Value {
        answered(kind, data, false)["content"][0]["text"].clone()
    }

    #[test]
    fn json_becomes_text_and_an_object_structure_too() {
        let got =
            answered("application/json; charset=utf-8", b" { \"a\" : [1.50 , \"x y\"] } ", false);
        let compact = r#"{"a":[1.50,"x y"]}"#;
        assert_eq!(got["content"], json!([{"type": "text", "text": compact}]));
        assert_eq!(got["structuredContent"], json!({"a": [1.5, "x y"]}));
        assert_eq!(got["isError"], false);
        assert!(answered("application/json", b"[1]", false).get("structuredContent").is_none());
        assert_eq!(answered("application/json", b"[1]", true)["structuredContent"], json!([1]));
        assert_eq!(answered("application/hal+json", b"{}", false)["structuredContent"], json!({}));
        assert_eq!(answered("", b"{}", false)["structuredContent"], json!({}));
    }

    #[test]
    fn what_claims_to_be_json_and_is_not_is_text() {
        let deep = "[".repeat(500) + &"]".repeat(500);
        for data in ["<html>", "{\"a\":1", "{} {}", &deep] {
            let got = answered("application/json", data.as_bytes(), true);
            assert_eq!(got["content"][0]["text"], *data);
            assert!(got.get("structuredContent").is_none());
        }
    }

    #[test]
    fn text_is_read_in_its_charset_and_never_with_losses() {
        assert_eq!(text("text/plain", "grüße".as_bytes()), "grüße");
        assert_eq!(text("text/plain; charset=\"ISO-8859-1\"", b"gr\xfc\xdfe"), "grüße");
        assert_eq!(text("application/xml; charset=utf-16le", b"<\0a\0/\0>\0"), "<a/>");
        assert_eq!(text("text/html", b""), "");
        for (kind, data) in
            [("text/plain", b"gr\xfc".as_slice()), ("text/x; charset=klingon", b"a")]
        {
            let got = answered(kind, data, false);
            assert_eq!(got["content"][0]["resource"]["blob"], STANDARD.encode(data), "{kind}");
        }
    }

    #[test]
    fn images_sounds_and_other_bytes_have_their_kinds() {
        let got = answered("image/PNG", b"\x89PNG", false);
        let expected = json!([{"type": "image", "data": "iVBORw==", "mimeType": "image/png"}]);
        assert_eq!(got["content"], expected);
        assert_eq!(answered("audio/wav", b"R", false)["content"][0]["type"], "audio");
        let got = answered("application/pdf", b"%PDF", false);
        let resource = json!({
            "uri": "ringway://tools/1/answer", "mimeType": "application/pdf", "blob": "JVBERg=="
        });
        assert_eq!(got["content"], json!([{"type": "resource", "resource": resource}]));
    }

    #[test]
    fn an_error_shows_its_text_and_none_of_our_secrets() {
        let answer = |data: &str| Answer {
            status: 401,
            kind: Kind::parse(b"text/plain"),
            coding: String::new(),
            data: data.as_bytes().to_vec(),
        };
        let secrets = ["Bearer tok-1".to_owned(), "tok-1".to_owned()];
        let got = answer("you sent Bearer tok-1, and tok-1").error_text("a.example", &secrets);
        let expected = "a.example answered HTTP 401 Unauthorized: you sent ********, and ********";
        assert_eq!(got, expected);
        assert_eq!(answer("").error_text("a", &[]), "a answered HTTP 401 Unauthorized");
        let long = answer(&"ü".repeat(10_000)).error_text("a", &[]);
        assert!(long.chars().count() < ERROR_TEXT_MAX + 100);
    }
}
