//! How safe this gateway is set up: one table of what can be wrong, and the mend of each.
//!
//! The start, `GET /health/security` and `ringway doctor --security` all read this table. It says
//! nothing of what secrets are.

use std::collections::BTreeMap;
use std::fmt;

use jsonwebtoken::AlgorithmFamily;

use crate::settings::Settings;
use crate::settings::authority::Allowed;

mod files;
mod secrets;

/// The least score that counts as healthy, and what findings take from 100.
const SCORE_MIN: usize = 60;
const MINOR_WEIGHT: usize = 10;
const GRAVE_WEIGHT: usize = 50;

/// What a check is about, by the contract's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// Who a caller is, is known.
    Authentication,
    /// What is secret cannot be guessed or read.
    SecureSecrets,
    /// Whom we speak to is known.
    SslVerification,
    /// Nothing shows its inside.
    DebugDisabled,
    /// Not every page may call.
    CorsRestricted,
    /// What browsers hold is guarded.
    UiProtected,
}

impl Aspect {
    /// All of them. Two have no check that could fail: the certificates of upstreams are always
    /// checked, and no answer shows the inside of an error.
    const ALL: [Aspect; 6] = [
        Aspect::Authentication,
        Aspect::SecureSecrets,
        Aspect::SslVerification,
        Aspect::DebugDisabled,
        Aspect::CorsRestricted,
        Aspect::UiProtected,
    ];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        match self {
            Aspect::Authentication => "authentication",
            Aspect::SecureSecrets => "secure_secrets",
            Aspect::SslVerification => "ssl_verification",
            Aspect::DebugDisabled => "debug_disabled",
            Aspect::CorsRestricted => "cors_restricted",
            Aspect::UiProtected => "ui_protected",
        }
    }
}

/// One thing that can be wrong.
pub struct Check {
    /// Its name, which stays the same.
    pub name: &'static str,
    /// What it is about.
    pub aspect: Aspect,
    /// What holds when nothing is wrong.
    pub promise: &'static str,
    look: fn(&Settings) -> Option<Fault>,
}

/// What is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, as a sentence without its full stop.
    pub sentence: String,
    /// What to do, as a sentence without its full stop.
    pub mend: String,
    /// How bad it is.
    pub weight: Weight,
}

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Worth a warning.
    Minor,
    /// Whoever reaches the port may get in.
    Grave,
    /// As bad, and the gateway does not start with it.
    Fatal,
}

/// A fault with the check that found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// What it is about.
    pub aspect: Aspect,
    /// What was found.
    pub fault: Fault,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}. {}", self.fault.sentence, self.fault.mend)
    }
}

/// Everything that the checks found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of the table.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Looks through the table. Reads the modes of files, and nothing in them.
    pub fn new(settings: &Settings) -> Report {
        let look = |check: &Check| {
            let fault = (check.look)(settings)?;
            Some(Finding { check: check.name, aspect: check.aspect, fault })
        };
        Report { findings: CHECKS.iter().filter_map(look).collect() }
    }

    /// From 100, for nothing found, down to 0.
    pub fn score(&self) -> usize {
        let cost = |finding: &Finding| match finding.fault.weight {
            Weight::Minor => MINOR_WEIGHT,
            Weight::Grave | Weight::Fatal => GRAVE_WEIGHT,
        };
        100_usize.saturating_sub(self.findings.iter().map(cost).sum())
    }

    /// `healthy` or `unhealthy`.
    pub fn status(&self) -> &'static str {
        if self.score() >= SCORE_MIN { "healthy" } else { "unhealthy" }
    }

    /// Whether each aspect is as it should be.
    pub fn aspects(&self) -> BTreeMap<&'static str, bool> {
        let is_good = |aspect| self.findings.iter().all(|finding| finding.aspect != aspect);
        Aspect::ALL.into_iter().map(|aspect| (aspect.name(), is_good(aspect))).collect()
    }

    /// What keeps the gateway from starting.
    pub fn fatal(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.fault.weight == Weight::Fatal)
    }
}

/// Lists every check, in the order of the table.
pub fn checks() -> &'static [Check] {
    CHECKS
}

const CHECKS: &[Check] = &[
    Check {
        name: "authentication_required",
        aspect: Aspect::Authentication,
        promise: "Callers prove who they are",
        look: |settings| {
            let text = "AUTH_REQUIRED is false, so everybody may do everything";
            let weight = if settings.is_loopback() { Weight::Minor } else { Weight::Grave };
            fault(!settings.auth.required, weight, text, "Set AUTH_REQUIRED=true")
        },
    },
    Check {
        name: "token_claims",
        aspect: Aspect::Authentication,
        promise: "Tokens are for this gateway",
        look: |settings| {
            let is_open = !settings.auth.issuer_verified || !settings.auth.audience_verified;
            let text = "Tokens that were made for something else open this gateway too";
            let mend = "Set JWT_ISSUER_VERIFICATION=true and JWT_AUDIENCE_VERIFICATION=true";
            fault(is_open, Weight::Minor, text, mend)
        },
    },
    Check {
        name: "trusted_proxies",
        aspect: Aspect::Authentication,
        promise: "Only proxies say for whom they speak",
        look: |settings| {
            let all = settings.web.trusted_proxies.iter().any(|network| network.is_everything());
            let is_believed = settings.proof.proxy_believed && !settings.proof.clients_prove;
            let weight = if is_believed { Weight::Fatal } else { Weight::Minor };
            let text = "TRUSTED_PROXIES holds every address, so everybody may say who they are";
            fault(all, weight, text, "Set TRUSTED_PROXIES to the addresses of the proxies alone")
        },
    },
    Check {
        name: "jwt_secret_key",
        aspect: Aspect::SecureSecrets,
        promise: "The secret that signs tokens is strong",
        look: |settings| {
            let is_used = settings.auth.algorithm.family() == AlgorithmFamily::Hmac;
            let secret = settings.auth.secret_key.as_ref().filter(|_| is_used)?;
            secrets::fault("JWT_SECRET_KEY", secret, secrets::Kind::Key, settings)
        },
    },
    Check {
        name: "auth_encryption_secret",
        aspect: Aspect::SecureSecrets,
        promise: "The secret that seals credentials is strong",
        look: |settings| {
            let secret = settings.auth.encryption_secret.as_ref()?;
            secrets::fault("AUTH_ENCRYPTION_SECRET", secret, secrets::Kind::Key, settings)
        },
    },
    Check {
        name: "basic_auth_password",
        aspect: Aspect::SecureSecrets,
        promise: "The password of basic authentication is strong, or there is none",
        look: |settings| {
            let proof = &settings.proof;
            let is_used = proof.basic_allowed || proof.docs_basic_allowed;
            let secret = proof.basic_password.as_ref().filter(|_| is_used)?;
            secrets::fault("BASIC_AUTH_PASSWORD", secret, secrets::Kind::Password, settings)
        },
    },
    Check {
        name: "platform_admin_password",
        aspect: Aspect::SecureSecrets,
        promise: "The first administrator's password is strong, or is made up",
        look: |settings| {
            let secret = settings.auth.admin_password.as_ref();
            let secret = secret.filter(|_| settings.auth.email_enabled)?;
            secrets::fault("PLATFORM_ADMIN_PASSWORD", secret, secrets::Kind::Password, settings)
        },
    },
    Check {
        name: "data_folder",
        aspect: Aspect::SecureSecrets,
        promise: "What is in the data folder is for its owner alone",
        look: files::data_folder,
    },
    Check {
        name: "key_files",
        aspect: Aspect::SecureSecrets,
        promise: "Files of keys, and .env, cannot be read by everybody",
        look: files::keys,
    },
    Check {
        name: "transport",
        aspect: Aspect::SecureSecrets,
        promise: "Tokens do not travel in clear",
        look: |settings| {
            let web = &settings.web;
            let is_open = !settings.is_loopback()
                && settings.tls().is_none()
                && web.trusted_proxies.is_empty();
            let text = "Beyond loopback and without TLS, whoever sees the network sees tokens";
            let mend = "Set CERT_FILE and KEY_FILE; or, behind a proxy that speaks TLS, \
                        TRUSTED_PROXIES";
            fault(is_open, Weight::Minor, text, mend)
        },
    },
    Check {
        name: "allowed_origins",
        aspect: Aspect::CorsRestricted,
        promise: "Only pages that are known may call",
        look: |settings| {
            let is_open = settings.origins.allowed_origins == Allowed::Any;
            let text = "ALLOWED_ORIGINS is *, so every web page may call";
            fault(is_open, Weight::Minor, text, "Set ALLOWED_ORIGINS to the pages that call")
        },
    },
    Check {
        name: "allowed_hosts",
        aspect: Aspect::CorsRestricted,
        promise: "Only names that are ours lead here",
        look: |settings| {
            let is_open = match &settings.origins.allowed_hosts {
                Allowed::Any => true,
                Allowed::Only(hosts) => hosts.is_empty() && !settings.is_loopback(),
            };
            let text = "Any name may lead to this gateway (DNS rebinding)";
            fault(is_open, Weight::Minor, text, "Set ALLOWED_HOSTS to its names")
        },
    },
    Check {
        name: "commands",
        aspect: Aspect::UiProtected,
        promise: "Nobody can have this machine run commands from elsewhere",
        look: |settings| {
            let is_open = !settings.is_loopback() && settings.stdio_allowed();
            let text = "Administrators may have this machine run commands, from elsewhere";
            fault(is_open, Weight::Minor, text, "Set ALLOW_STDIO_UPSTREAMS=false")
        },
    },
    Check {
        name: "upstream_addresses",
        aspect: Aspect::UiProtected,
        promise: "Upstreams are not on this machine itself while others reach it",
        look: |settings| {
            let is_open = !settings.is_loopback() && settings.localhost_allowed();
            let text = "Upstreams may be on this machine, where services trust their callers";
            fault(is_open, Weight::Minor, text, "Set SSRF_ALLOW_LOCALHOST=false")
        },
    },
    Check {
        name: "security_headers",
        aspect: Aspect::UiProtected,
        promise: "Browsers are told what not to do with answers",
        look: |settings| {
            let is_open = !settings.web.headers_enabled;
            let text = "SECURITY_HEADERS_ENABLED is false, so browsers guess and frame";
            fault(is_open, Weight::Minor, text, "Set SECURITY_HEADERS_ENABLED=true")
        },
    },
    Check {
        name: "cookies",
        aspect: Aspect::UiProtected,
        promise: "Cookies need https",
        look: |settings| {
            let is_open = !settings.web.secure_cookies;
            let text = "SECURE_COOKIES is false, so cookies may travel in clear";
            fault(is_open, Weight::Minor, text, "Set SECURE_COOKIES=true")
        },
    },
    Check {
        name: "csrf",
        aspect: Aspect::UiProtected,
        promise: "No page can forge a change in a user's name",
        look: |settings| {
            let is_open = !settings.web.csrf_enabled;
            let text = "CSRF_ENABLED is false, so a page may forge changes in a user's name";
            fault(is_open, Weight::Minor, text, "Set CSRF_ENABLED=true")
        },
    },
];

fn fault(is_wrong: bool, weight: Weight, sentence: &str, mend: &str) -> Option<Fault> {
    is_wrong.then(|| Fault { sentence: sentence.to_owned(), mend: mend.to_owned(), weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRONG: &str = "q7Gd-2mZp0x_LtR9vWc4YbNe8sKhJfUa";

    fn report(settings: &[(&str, &str)]) -> Report {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("data").display().to_string();
        let given = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let given: Vec<_> = given.chain([("RINGWAY_DATA_DIR", place)]).collect();
        Report::new(&crate::settings::parse("", [], &given).unwrap().settings)
    }

    fn found(settings: &[(&str, &str)]) -> Vec<(&'static str, Weight)> {
        let findings = report(settings).findings;
        findings.iter().map(|finding| (finding.check, finding.fault.weight)).collect()
    }

    #[test]
    fn finds_nothing_where_nothing_is_set() {
        let report = report(&[]);
        assert_eq!(report, Report::default());
        assert_eq!((report.score(), report.status()), (100, "healthy"));
        assert!(report.aspects().values().all(|is_good| *is_good));
    }

    #[test]
    fn finds_each_setting_that_opens_something() {
        let beyond = [("HOST", "0.0.0.0"), ("ALLOWED_HOSTS", "a.example")];
        let behind = [("TRUSTED_PROXIES", "10.0.0.0/8")];
        for (settings, check) in [
            (vec![("AUTH_REQUIRED", "false")], "authentication_required"),
            (vec![("JWT_ISSUER_VERIFICATION", "false")], "token_claims"),
            (vec![("JWT_AUDIENCE_VERIFICATION", "false")], "token_claims"),
            (vec![("TRUSTED_PROXIES", "10.0.0.0/8,::/0")], "trusted_proxies"),
            (vec![("JWT_SECRET_KEY", "my-test-key")], "jwt_secret_key"),
            (vec![("AUTH_ENCRYPTION_SECRET", "my-test-salt")], "auth_encryption_secret"),
            (
                vec![("API_ALLOW_BASIC_AUTH", "true"), ("BASIC_AUTH_PASSWORD", "changeme")],
                "basic_auth_password",
            ),
            (vec![("PLATFORM_ADMIN_PASSWORD", "changeme")], "platform_admin_password"),
            (beyond.to_vec(), "transport"),
            (vec![("ALLOWED_ORIGINS", "*")], "allowed_origins"),
            (vec![("ALLOWED_HOSTS", "*")], "allowed_hosts"),
            ([("HOST", "0.0.0.0")].into_iter().chain(behind).collect(), "allowed_hosts"),
            (
                beyond.into_iter().chain(behind).chain([("ALLOW_STDIO_UPSTREAMS", "on")]).collect(),
                "commands",
            ),
            (
                beyond.into_iter().chain(behind).chain([("SSRF_ALLOW_LOCALHOST", "on")]).collect(),
                "upstream_addresses",
            ),
            (vec![("SECURITY_HEADERS_ENABLED", "false")], "security_headers"),
            (vec![("SECURE_COOKIES", "false")], "cookies"),
            (vec![("CSRF_ENABLED", "false")], "csrf"),
        ] {
            assert_eq!(found(&settings), [(check, Weight::Minor)], "{settings:?}");
        }
        let behind: Vec<_> = beyond.into_iter().chain(behind).collect();
        assert_eq!(found(&behind), []);
    }

    #[test]
    fn secrets_that_are_weak_are_fatal_beyond_loopback_or_where_strong_ones_are_required() {
        let beyond = [
            ("HOST", "0.0.0.0"),
            ("ALLOWED_HOSTS", "a.example"),
            ("TRUSTED_PROXIES", "10.0.0.0/8"),
        ];
        for (name, check) in [
            ("JWT_SECRET_KEY", "jwt_secret_key"),
            ("AUTH_ENCRYPTION_SECRET", "auth_encryption_secret"),
            ("PLATFORM_ADMIN_PASSWORD", "platform_admin_password"),
        ] {
            for weak in ["my-test-key", "short", &"ab".repeat(20)] {
                let mut settings = beyond.to_vec();
                settings.push((name, weak));
                assert_eq!(found(&settings), [(check, Weight::Fatal)], "{name}={weak}");
                let required = [(name, weak), ("REQUIRE_STRONG_SECRETS", "true")];
                assert_eq!(found(&required), [(check, Weight::Fatal)], "{name}={weak}");
            }
            let mut settings = beyond.to_vec();
            settings.push((name, STRONG));
            assert_eq!(found(&settings), [], "{name}");
        }
    }

    #[test]
    fn a_secret_that_is_not_used_is_not_judged() {
        assert_eq!(found(&[("BASIC_AUTH_PASSWORD", "changeme")]), []);
        let nobody = [("PLATFORM_ADMIN_PASSWORD", "changeme"), ("EMAIL_AUTH_ENABLED", "false")];
        assert_eq!(found(&nobody), []);
        let other = [
            ("JWT_SECRET_KEY", "weak"),
            ("JWT_ALGORITHM", "ES256"),
            ("JWT_PUBLIC_KEY_PATH", "/nowhere"),
        ];
        assert_eq!(found(&other), []);
    }

    #[test]
    fn to_believe_everybody_who_they_are_is_fatal() {
        let settings = [
            ("MCP_CLIENT_AUTH_ENABLED", "false"),
            ("TRUST_PROXY_AUTH", "true"),
            ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ];
        assert_eq!(found(&settings), [("trusted_proxies", Weight::Fatal)]);
        assert_eq!(report(&settings).fatal().count(), 1);
    }

    #[test]
    fn the_score_falls_with_what_is_found_and_never_below_nothing() {
        let one = report(&[("SECURE_COOKIES", "false")]);
        assert_eq!((one.score(), one.status()), (90, "healthy"));
        assert!(!one.aspects()["ui_protected"] && one.aspects()["authentication"]);
        let open = [("AUTH_REQUIRED", "false"), ("ALLOW_OPEN_BIND", "true"), ("HOST", "0.0.0.0")];
        assert_eq!((report(&open).score(), report(&open).status()), (30, "unhealthy"));
        let mut worst = open.to_vec();
        worst.push(("JWT_SECRET_KEY", "secret"));
        assert_eq!(report(&worst).score(), 0);
    }

    #[test]
    fn no_finding_shows_a_secret() {
        let settings = [("JWT_SECRET_KEY", "hunter2"), ("AUTH_ENCRYPTION_SECRET", "hunter2")];
        let report = report(&settings);
        assert_eq!(report.findings.len(), 2);
        assert!(!format!("{report:?}").contains("hunter2"));
    }

    #[test]
    fn every_check_has_a_name_of_its_own() {
        let mut names: Vec<_> = checks().iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), checks().len());
    }
}
