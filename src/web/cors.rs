//! What pages of other origins may do with answers (CORS), as the fetch standard has it.
//!
//! Whether a page may call at all was decided before, by [`crate::auth::Gate`].

use net::http1::server::{Request, Responder};

use crate::settings::Settings;
use crate::settings::authority::{Allowed, Origin, split};

/// What a page may read besides the body and the fields that it always may.
const EXPOSED: &[u8] = b"etag, mcp-session-id, retry-after, www-authenticate, x-request-id, \
                         ratelimit, ratelimit-policy";

/// What a page may ask by.
const METHODS: &[u8] = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// How long a browser may remember that, in seconds.
const AGE_MAX: &[u8] = b"600";

/// Which pages are told what.
#[derive(Debug, Clone)]
pub struct Cors {
    is_enabled: bool,
    /// `ALLOWED_ORIGINS` is `*`.
    any: bool,
    /// The origins whose pages may send cookies.
    trusted: Vec<Origin>,
}

impl Cors {
    /// Takes what the settings say.
    pub fn new(settings: &Settings) -> Cors {
        let origins = &settings.origins;
        let mut trusted = match &origins.allowed_origins {
            Allowed::Only(listed) => listed.clone(),
            Allowed::Any => Vec::new(),
        };
        trusted.extend(origins.app_domain.clone());
        if !settings.web.cors_credentials {
            trusted.clear();
        }
        let any = origins.allowed_origins == Allowed::Any;
        Cors { is_enabled: settings.web.cors_enabled, any, trusted }
    }

    /// Lets the page that sent a request, and that was let in, read the answer, whatever that is.
    pub fn expose(&self, request: &Request<'_>, responder: &mut Responder) {
        let Some(origin) = self.origin(request) else { return };
        self.allow(origin, responder);
        responder.always_header("access-control-expose-headers", EXPOSED);
    }

    /// Answers the question whether a page may ask what it wants to; false if this was none.
    pub fn answer_preflight(&self, request: &Request<'_>, responder: &mut Responder) -> bool {
        let is_question = request.header("access-control-request-method").is_some();
        let Some(origin) = self.origin(request).filter(|_| is_question) else { return false };
        self.allow(origin, responder);
        responder.begin(204);
        responder.header("access-control-allow-methods", METHODS);
        // Any field: what it holds is checked when it comes.
        if let Some(names) = request.header("access-control-request-headers") {
            responder.header("access-control-allow-headers", names);
        }
        responder.header("access-control-max-age", AGE_MAX);
        responder.finish_empty();
        true
    }

    fn origin<'a>(&self, request: &Request<'a>) -> Option<&'a [u8]> {
        request.header("origin").filter(|_| self.is_enabled)
    }

    fn allow(&self, origin: &[u8], responder: &mut Responder) {
        let is_trusted = self.is_trusted(origin);
        let allowed = if self.any && !is_trusted { b"*" } else { origin };
        responder.always_header("access-control-allow-origin", allowed);
        responder.always_header("vary", b"origin");
        if is_trusted {
            responder.always_header("access-control-allow-credentials", b"true");
        }
    }

    fn is_trusted(&self, origin: &[u8]) -> bool {
        let Some(at) = memchr::memmem::find(origin, b"://") else { return false };
        let Some((name, port)) = split(&origin[at + 3..]) else { return false };
        self.trusted.iter().any(|known| known.matches(&origin[..at], name, port))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use net::http1::{HeadLimits, RequestHead};

    use super::*;

    /// The head that a request is answered with: to a preflight by itself, else 200.
    fn answer(settings: &[(&str, &str)], method: &str, fields: &str) -> String {
        let given: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let cors = Cors::new(&crate::settings::parse("", [], &given).unwrap().settings);
        let text = format!("{method} / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        head.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
        let peer = "127.0.0.1:5555".parse().unwrap();
        let request = Request { head: &head, bytes: text.as_bytes(), peer, tls: false };
        let mut responder = Responder::new(&head, true, Rc::new(Cell::new(false)));
        if !cors.answer_preflight(&request, &mut responder) {
            cors.expose(&request, &mut responder);
            responder.begin(200);
            responder.finish(&[]);
        }
        String::from_utf8(responder.bytes().to_vec()).unwrap()
    }

    const LISTED: (&str, &str) = ("ALLOWED_ORIGINS", "https://app.example");
    const ORIGIN: &str = "Origin: https://app.example\r\n";

    #[test]
    fn a_page_may_read_what_it_was_answered() {
        let head = answer(&[LISTED], "POST", ORIGIN);
        for line in [
            "access-control-allow-origin: https://app.example\r\n",
            "access-control-allow-credentials: true\r\n",
            "vary: origin\r\n",
        ] {
            assert!(head.contains(line), "{line} is not in {head}");
        }
        assert!(head.contains("mcp-session-id") && head.contains("www-authenticate"), "{head}");
    }

    #[test]
    fn only_pages_that_are_named_may_send_cookies() {
        let head = answer(&[LISTED], "POST", "Origin: http://localhost:3000\r\n");
        assert!(head.contains("access-control-allow-origin: http://localhost:3000\r\n"), "{head}");
        assert!(!head.contains("credentials"), "{head}");
        let head = answer(&[("ALLOWED_ORIGINS", "*")], "POST", "Origin: https://a.example\r\n");
        assert!(head.contains("access-control-allow-origin: *\r\n"), "{head}");
        assert!(!head.contains("credentials"), "{head}");
        let named = ("APP_DOMAIN", "https://app.example");
        assert!(answer(&[named], "POST", ORIGIN).contains("credentials: true"));
        let head = answer(&[LISTED, ("CORS_ALLOW_CREDENTIALS", "false")], "POST", ORIGIN);
        assert!(!head.contains("credentials"), "{head}");
    }

    #[test]
    fn answers_whether_a_page_may_ask() {
        let fields = format!(
            "{ORIGIN}Access-Control-Request-Method: DELETE\r\n\
             Access-Control-Request-Headers: authorization,x-own\r\n"
        );
        let head = answer(&[LISTED], "OPTIONS", &fields);
        assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
        for line in [
            "access-control-allow-origin: https://app.example\r\n",
            "access-control-allow-methods: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
            "access-control-allow-headers: authorization,x-own\r\n",
            "access-control-max-age: 600\r\n",
        ] {
            assert!(head.contains(line), "{line} is not in {head}");
        }
        assert_eq!(head.matches("access-control-allow-origin").count(), 1, "{head}");
    }

    #[test]
    fn says_nothing_to_whoever_is_no_page_or_where_it_is_off() {
        assert!(!answer(&[LISTED], "POST", "").contains("access-control"));
        let off = [LISTED, ("CORS_ENABLED", "false")];
        assert!(!answer(&off, "POST", ORIGIN).contains("access-control"));
        assert!(answer(&[LISTED], "OPTIONS", ORIGIN).starts_with("HTTP/1.1 200 "));
    }
}
