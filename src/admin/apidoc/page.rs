//! The page that shows the document to people: one file, from no other host.
//!
//! The page holds nothing but its program, so it is open to everybody; the document that it fetches
//! needs a token, which the page asks for and keeps in its own memory.

use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::RestAnswer;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// `GET /docs`.
pub fn page() -> RestAnswer {
    let body = PAGE.replace("{STYLE}", STYLE).replace("{SCRIPT}", SCRIPT);
    RestAnswer { headers: headers(), ..RestAnswer::of(200, body.into_bytes()) }
}

/// Header lines by which a browser runs this style and this script, loads nothing from anywhere,
/// and talks to this origin alone.
fn headers() -> &'static str {
    static HEADERS: OnceLock<String> = OnceLock::new();
    HEADERS.get_or_init(|| {
        format!(
            "content-type: text/html; charset=utf-8\r\n\
             content-security-policy: default-src 'none'; connect-src 'self'; img-src data:; \
             style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'\r\nreferrer-policy: no-referrer\r\n\
             cache-control: public, max-age=300\r\n",
            hash(STYLE),
            hash(SCRIPT)
        )
    })
}

/// How a content security policy names an inline text.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(digest(&SHA256, text.as_bytes())))
}
