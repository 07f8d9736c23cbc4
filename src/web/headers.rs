//! The fields that keep browsers from harm, rendered once.

use crate::settings::{Framing, Settings};

use super::Scheme;

/// Lines for every head; made once in the life of a process, since they stay for good.
#[derive(Debug, Clone, Copy)]
pub struct Headers {
    data: Lines,
    page: Lines,
}

/// The same lines for both schemes.
#[derive(Debug, Clone, Copy)]
struct Lines {
    http: &'static str,
    https: &'static str,
}

/// What answers that are no pages may do in a browser that shows them all the same: nothing.
const DATA_POLICY: &str = "content-security-policy: default-src 'none'";

impl Headers {
    /// Renders the lines that the settings mean.
    pub fn new(settings: &Settings) -> Headers {
        Headers { data: Lines::new(settings, true), page: Lines::new(settings, false) }
    }

    /// The lines of an answer that is data.
    pub fn data(&self, scheme: Scheme) -> &'static str {
        self.data.of(scheme)
    }

    /// The lines of an answer that is a page, which says itself what it may load.
    pub fn page(&self, scheme: Scheme) -> &'static str {
        self.page.of(scheme)
    }
}

impl Lines {
    fn new(settings: &Settings, is_data: bool) -> Lines {
        let web = &settings.web;
        if !web.headers_enabled {
            return Lines { http: "", https: "" };
        }
        let mut lines = String::from(
            "x-content-type-options: nosniff\r\nx-xss-protection: 0\r\n\
             x-download-options: noopen\r\n",
        );
        let (option, ancestors) = match web.framing {
            Framing::Nobody => ("x-frame-options: DENY\r\n", "; frame-ancestors 'none'"),
            Framing::Ourselves => ("x-frame-options: SAMEORIGIN\r\n", "; frame-ancestors 'self'"),
            Framing::Everybody => ("", ""),
        };
        lines.push_str(option);
        if is_data {
            lines.push_str("referrer-policy: strict-origin-when-cross-origin\r\n");
            lines.push_str(&format!("{DATA_POLICY}{ancestors}\r\n"));
        }
        let mut secure = lines.clone();
        if web.hsts_enabled {
            let below = if web.hsts_subdomains { "; includeSubDomains" } else { "" };
            let age = web.hsts_age_max_s;
            secure.push_str(&format!("strict-transport-security: max-age={age}{below}\r\n"));
        }
        Lines { http: lines.leak(), https: secure.leak() }
    }

    fn of(&self, scheme: Scheme) -> &'static str {
        match scheme {
            Scheme::Http => self.http,
            Scheme::Https => self.https,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(settings: &[(&str, &str)]) -> Headers {
        let given: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Headers::new(&crate::settings::parse("", [], &given).unwrap().settings)
    }

    #[test]
    fn says_what_the_contract_says() {
        let lines: Vec<_> = headers(&[]).data(Scheme::Https).lines().collect();
        assert_eq!(
            lines,
            [
                "x-content-type-options: nosniff",
                "x-xss-protection: 0",
                "x-download-options: noopen",
                "x-frame-options: DENY",
                "referrer-policy: strict-origin-when-cross-origin",
                "content-security-policy: default-src 'none'; frame-ancestors 'none'",
                "strict-transport-security: max-age=31536000; includeSubDomains",
            ]
        );
    }

    #[test]
    fn only_https_is_told_to_stay_so() {
        assert!(!headers(&[]).data(Scheme::Http).contains("strict-transport"));
        let off = headers(&[("HSTS_ENABLED", "false")]);
        assert_eq!(off.data(Scheme::Https), off.data(Scheme::Http));
        let set = headers(&[("HSTS_MAX_AGE", "60"), ("HSTS_INCLUDE_SUBDOMAINS", "false")]);
        assert!(set.data(Scheme::Https).ends_with("strict-transport-security: max-age=60\r\n"));
    }

    #[test]
    fn framing_is_said_in_both_ways_or_in_none() {
        let ours = headers(&[("X_FRAME_OPTIONS", "sameorigin")]);
        assert!(ours.data(Scheme::Http).contains("x-frame-options: SAMEORIGIN\r\n"));
        assert!(ours.data(Scheme::Http).contains("frame-ancestors 'self'\r\n"));
        let all = headers(&[("X_FRAME_OPTIONS", "null")]);
        assert!(!all.data(Scheme::Http).contains("frame"));
    }

    #[test]
    fn a_page_has_a_policy_of_its_own_and_who_wants_none_gets_none() {
        assert!(!headers(&[]).page(Scheme::Http).contains("content-security-policy"));
        let off = headers(&[("SECURITY_HEADERS_ENABLED", "false")]);
        assert_eq!((off.data(Scheme::Https), off.page(Scheme::Https)), ("", ""));
    }
}
