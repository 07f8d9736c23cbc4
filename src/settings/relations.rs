//! What must hold between settings, and what is worth a warning.

use jsonwebtoken::AlgorithmFamily;

use super::raw::{Reading, SettingError};
use super::{CLIENT, IGNORED, Proof, SameSite, Settings, Switch, rows};

impl Settings {
    /// Notes what cannot hold together, though each value alone could.
    pub(super) fn check_relations(&self, reading: &mut Reading) {
        self.check_open_bind(reading);
        self.check_tls(reading);
        self.check_key(reading);
        self.check_client_certificates(reading);
        self.check_proxy_authentication(reading);
        self.check_basic_authentication(reading);
        self.check_cookies(reading);
        self.check_providers(reading);
        self.check_bounds(reading);
    }

    fn check_open_bind(&self, reading: &mut Reading) {
        if self.auth.required || self.is_loopback() || self.auth.open_bind_allowed {
            return;
        }
        let problem = format!("would let everyone who reaches {} command it", self.address());
        let mend = "Set AUTH_REQUIRED=true or HOST=127.0.0.1; or, if something else guards the \
                    port, ALLOW_OPEN_BIND=true.";
        refuse(reading, "AUTH_REQUIRED", "false", problem, mend);
    }

    fn check_tls(&self, reading: &mut Reading) {
        let files = [("CERT_FILE", &self.listen.cert_file), ("KEY_FILE", &self.listen.key_file)];
        let is_any_set = files.iter().any(|(_, file)| file.is_some());
        let is_wanted = match self.listen.ssl {
            Switch::Auto => is_any_set,
            Switch::On => true,
            Switch::Off => false,
        };
        for (name, file) in files {
            if is_wanted && file.is_none() {
                let mend = format!("Set {name} to a file in PEM, or SSL=false.");
                refuse(reading, name, "", "is not set, and TLS needs it".to_owned(), &mend);
            }
        }
    }

    fn check_key(&self, reading: &mut Reading) {
        let is_hmac = self.auth.algorithm.family() == AlgorithmFamily::Hmac;
        if !is_hmac && self.auth.required && self.auth.public_key_path.is_none() {
            let problem =
                format!("is not set, and JWT_ALGORITHM={:?} needs it", self.auth.algorithm);
            let mend = "Set it to the file of the public key, or JWT_ALGORITHM=HS256.";
            refuse(reading, "JWT_PUBLIC_KEY_PATH", "", problem, mend);
        }
    }

    fn check_client_certificates(&self, reading: &mut Reading) {
        let proof = &self.proof;
        if proof.client_authorities.is_some() && self.tls().is_none() {
            let problem = "is set, and without TLS nobody can show a certificate".to_owned();
            let mend = "Set CERT_FILE and KEY_FILE, or leave it out.";
            refuse(reading, "TLS_CLIENT_CA_FILE", "", problem, mend);
        }
        if proof.certificate_required && proof.client_authorities.is_none() {
            let problem = "needs to know who signs for clients".to_owned();
            let mend = "Set TLS_CLIENT_CA_FILE to their certificates in PEM.";
            refuse(reading, "TLS_CLIENT_CERT_REQUIRED", "true", problem, mend);
        }
    }

    fn check_proxy_authentication(&self, reading: &mut Reading) {
        let proof = &self.proof;
        if proof.clients_prove {
            if proof.proxy_believed {
                let text = "TRUST_PROXY_AUTH does nothing unless MCP_CLIENT_AUTH_ENABLED=false";
                reading.warnings.push(text.to_owned());
            }
            return;
        }
        if self.auth.required && !proof.proxy_believed {
            let problem = "would leave nobody to say who a caller is".to_owned();
            let mend = "Set TRUST_PROXY_AUTH=true and TRUSTED_PROXIES; or, if everybody may do \
                        everything, AUTH_REQUIRED=false.";
            refuse(reading, "MCP_CLIENT_AUTH_ENABLED", "false", problem, mend);
        }
        if proof.proxy_believed && self.web.trusted_proxies.is_empty() {
            let problem = "believes nobody while no proxy is named".to_owned();
            let mend = "Set TRUSTED_PROXIES to the addresses of the proxies, or leave it out.";
            refuse(reading, "TRUST_PROXY_AUTH", "true", problem, mend);
        }
    }

    fn check_basic_authentication(&self, reading: &mut Reading) {
        let Proof { basic_allowed, docs_basic_allowed, basic_password, .. } = &self.proof;
        let allowed = [
            ("API_ALLOW_BASIC_AUTH", *basic_allowed),
            ("DOCS_ALLOW_BASIC_AUTH", *docs_basic_allowed),
        ];
        for (name, _) in allowed.into_iter().filter(|(_, is_allowed)| *is_allowed) {
            if basic_password.is_none() {
                let problem = "needs a password, and there is none by default".to_owned();
                let mend = "Set BASIC_AUTH_PASSWORD to a long one, or leave it out.";
                refuse(reading, name, "true", problem, mend);
            }
        }
    }

    fn check_providers(&self, reading: &mut Reading) {
        let sso = &self.sso;
        let is_located = sso.generic_issuer.is_some()
            && (sso.generic_authorization.is_some() == sso.generic_token.is_some());
        let needs = [
            ("SSO_GITHUB", sso.github, ("CLIENT_ID", sso.github_client.is_some())),
            ("SSO_GITHUB", sso.github, ("CLIENT_SECRET", sso.github_secret.is_some())),
            ("SSO_GOOGLE", sso.google, ("CLIENT_ID", sso.google_client.is_some())),
            ("SSO_KEYCLOAK", sso.keycloak, ("CLIENT_ID", sso.keycloak_client.is_some())),
            ("SSO_KEYCLOAK", sso.keycloak, ("BASE_URL", sso.keycloak_url.is_some())),
            ("SSO_OKTA", sso.okta, ("CLIENT_ID", sso.okta_client.is_some())),
            ("SSO_OKTA", sso.okta, ("ISSUER", sso.okta_issuer.is_some())),
            ("SSO_ENTRA", sso.entra, ("CLIENT_ID", sso.entra_client.is_some())),
            ("SSO_ENTRA", sso.entra, ("TENANT_ID", sso.entra_tenant.is_some())),
            ("SSO_GENERIC", sso.generic, ("CLIENT_ID", sso.generic_client.is_some())),
            ("SSO_GENERIC", sso.generic, ("ISSUER", is_located)),
        ];
        for (provider, is_enabled, (name, is_set)) in needs {
            if sso.enabled && is_enabled && !is_set {
                let problem = format!("needs {provider}_{name}, with all that belongs to it");
                let mend = format!("Set {provider}_{name}, or leave {provider}_ENABLED out.");
                refuse(reading, &format!("{provider}_ENABLED"), "true", problem, &mend);
            }
        }
    }

    fn check_cookies(&self, reading: &mut Reading) {
        if self.web.same_site == SameSite::None && !self.web.secure_cookies {
            let problem = "is refused by browsers unless the cookies need https".to_owned();
            let mend = "Set SECURE_COOKIES=true, or COOKIE_SAMESITE=lax.";
            refuse(reading, "COOKIE_SAMESITE", "none", problem, mend);
        }
    }

    fn check_bounds(&self, reading: &mut Reading) {
        let pairs = [
            (
                ("MAX_HEADER_FIELD_SIZE_BYTES", self.http.field_size_max as u128),
                ("MAX_HEADER_TOTAL_SIZE_BYTES", self.http.head_size_max as u128),
            ),
            (
                ("VALIDATION_MAX_RPC_PARAM_SIZE", self.http.params_size_max as u128),
                ("MAX_BODY_SIZE_BYTES", self.http.body_size_max as u128),
            ),
            (
                ("PAGINATION_DEFAULT_PAGE_SIZE", self.catalog.page_count as u128),
                ("PAGINATION_MAX_PAGE_SIZE", self.catalog.page_count_max as u128),
            ),
            (
                ("STDIO_RESTART_DELAY", self.upstreams.restart_delay_min.as_millis()),
                ("STDIO_RESTART_MAX_DELAY", self.upstreams.restart_delay_max.as_millis()),
            ),
        ];
        for ((less, less_value), (more, more_value)) in pairs {
            if less_value > more_value {
                let problem = format!("is more than {more}, which can then never be reached");
                let mend = format!("Lower {less} or raise {more}.");
                refuse(reading, less, &less_value.to_string(), problem, &mend);
            }
        }
    }

    /// Notes secrets that nodes cannot share because each makes its own.
    pub(super) fn warn_of_secrets_apart(&self, warnings: &mut Vec<String>) {
        let secrets = [
            ("JWT_SECRET_KEY", &self.auth.secret_key),
            ("AUTH_ENCRYPTION_SECRET", &self.auth.encryption_secret),
        ];
        if self.database_shown().0 != "postgresql" {
            return;
        }
        for (name, _) in secrets.into_iter().filter(|(_, secret)| secret.is_none()) {
            warnings.push(format!(
                "{name} is not set, so one is made for this process alone; nodes that share a \
                 database need the same"
            ));
        }
    }
}

/// Notes variables that are ours by name and that nobody reads: mostly slips of the pen.
pub(super) fn warn_of_unknown(reading: &mut Reading) {
    let rows = rows();
    let is_known = |name: &str| {
        rows.iter().any(|row| row.name == name || row.aliases.contains(&name))
            || CLIENT.iter().any(|(known, _)| *known == name)
    };
    let mut warnings = Vec::new();
    for name in reading.raw().names() {
        if name.starts_with("RINGWAY_") && !is_known(name) {
            warnings.push(format!("{name} is no setting of this version and does nothing"));
        }
        if let Some((_, why)) = IGNORED.iter().find(|(ignored, _)| *ignored == name) {
            warnings.push(format!("{name} is accepted and does nothing: {why}"));
        }
    }
    reading.warnings.extend(warnings);
}

fn refuse(reading: &mut Reading, name: &str, value: &str, problem: String, mend: &str) {
    let error = SettingError {
        name: name.to_owned(),
        value: (!value.is_empty()).then(|| value.to_owned()),
        source: reading.source(name),
        problem,
        mend: mend.to_owned(),
    };
    reading.errors.push(error);
}
