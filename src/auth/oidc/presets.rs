//! The providers that the settings name, each with what is known of it.

use std::collections::BTreeMap;

use url::Url;

use super::provider::{Habits, Protocol, Provider, Seat};
use crate::settings::{Secret, Sso};

const SCOPE: &str = "openid profile email";

/// Every provider that the settings switch on; none if logins with others are off.
pub fn providers(sso: &Sso) -> Vec<Provider> {
    let known = [
        sso.github.then(|| github(sso)),
        sso.google.then(|| google(sso)),
        sso.keycloak.then(|| keycloak(sso)),
        sso.okta.then(|| okta(sso)),
        sso.entra.then(|| entra(sso)),
        sso.generic.then(|| generic(sso)),
    ];
    known.into_iter().flatten().filter(|_| sso.enabled).collect()
}

fn provider(sso: &Sso, id: &str, name: &str, client: &Option<String>) -> Provider {
    let seat = |id: &String| Seat { team_id: id.clone(), role: Default::default() };
    let mapping = sso.team_mapping.iter().map(|(group, id)| (group.clone(), seat(id)));
    Provider {
        id: id.to_owned(),
        name: id.to_owned(),
        display_name: name.to_owned(),
        protocol: Protocol::Oidc,
        client_id: client.clone().unwrap_or_default(),
        client_secret: None,
        issuer: None,
        authorization_url: None,
        token_url: None,
        userinfo_url: None,
        jwks_uri: None,
        scope: SCOPE.to_owned(),
        trusted_domains: sso.trusted_domains.clone(),
        auto_create_users: sso.auto_create,
        team_mapping: mapping.collect::<BTreeMap<_, _>>(),
        habits: Habits { admin_domains: sso.admin_domains.clone(), ..Habits::default() },
    }
}

impl Provider {
    fn proved_by(self, secret: &Option<Secret>) -> Provider {
        Provider { client_secret: secret.clone(), ..self }
    }

    fn issued_by(self, issuer: String) -> Provider {
        Provider { issuer: Some(issuer), ..self }
    }

    fn grouped_by(mut self, claim: &str, admins: &[String]) -> Provider {
        self.habits.groups_claim = claim.to_owned();
        self.habits.admin_groups = admins.to_vec();
        self
    }
}

fn github(sso: &Sso) -> Provider {
    let url = |text: &str| Some(text.to_owned());
    Provider {
        protocol: Protocol::OAuth2,
        authorization_url: url("https://github.com/login/oauth/authorize"),
        token_url: url("https://github.com/login/oauth/access_token"),
        userinfo_url: url("https://api.github.com/user"),
        scope: "read:user user:email".to_owned(),
        ..provider(sso, "github", "GitHub", &sso.github_client).proved_by(&sso.github_secret)
    }
}

fn google(sso: &Sso) -> Provider {
    let mut google = provider(sso, "google", "Google", &sso.google_client)
        .proved_by(&sso.google_secret)
        .issued_by("https://accounts.google.com".to_owned());
    google.habits.admin_domains.extend(sso.google_admin_domains.iter().cloned());
    google
}

fn keycloak(sso: &Sso) -> Provider {
    let base = sso.keycloak_url.as_deref().unwrap_or_default().trim_end_matches('/');
    let realm = &sso.keycloak_realm;
    provider(sso, "keycloak", &format!("Keycloak ({realm})"), &sso.keycloak_client)
        .proved_by(&sso.keycloak_secret)
        .issued_by(format!("{base}/realms/{realm}"))
        .grouped_by(&sso.keycloak_groups, &sso.keycloak_admins)
}

fn okta(sso: &Sso) -> Provider {
    let named = sso.okta_issuer.as_deref().unwrap_or_default().trim_end_matches('/');
    let is_bare = Url::parse(named).is_ok_and(|url| url.path() == "/");
    let server = if is_bare { "/oauth2/default" } else { "" };
    let okta = provider(sso, "okta", "Okta", &sso.okta_client)
        .proved_by(&sso.okta_secret)
        .issued_by(format!("{named}{server}"));
    Provider { scope: sso.okta_scope.clone(), ..okta }
}

/// Tenants that are no tenant: their users are everybody's.
const SHARED_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];

fn entra(sso: &Sso) -> Provider {
    let tenant = sso.entra_tenant.as_deref().unwrap_or_default();
    let mut entra = provider(sso, "entra", "Microsoft Entra ID", &sso.entra_client)
        .proved_by(&sso.entra_secret)
        .issued_by(format!("https://login.microsoftonline.com/{tenant}/v2.0"))
        .grouped_by(&sso.entra_groups, &sso.entra_admins);
    // It says of no address whether it is verified; of its own users a tenant knows.
    entra.habits.email_trusted = !SHARED_TENANTS.contains(&tenant);
    entra
}

fn generic(sso: &Sso) -> Provider {
    let name = sso.generic_name.as_ref().unwrap_or(&sso.generic_id);
    let generic = provider(sso, &sso.generic_id, name, &sso.generic_client)
        .proved_by(&sso.generic_secret)
        .grouped_by(&sso.generic_groups, &sso.generic_admins);
    Provider {
        issuer: sso.generic_issuer.clone(),
        authorization_url: sso.generic_authorization.clone(),
        token_url: sso.generic_token.clone(),
        userinfo_url: sso.generic_userinfo.clone(),
        jwks_uri: sso.generic_keys.clone(),
        scope: sso.generic_scope.clone(),
        ..generic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Vec<Provider> {
        let given: Vec<_> =
            pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        providers(&crate::settings::parse("", [], &given).unwrap().settings.sso)
    }

    #[test]
    fn each_preset_knows_its_issuer() {
        let all = of(&[
            ("SSO_ENABLED", "true"),
            ("SSO_GOOGLE_ENABLED", "true"),
            ("SSO_GOOGLE_CLIENT_ID", "c"),
            ("SSO_KEYCLOAK_ENABLED", "true"),
            ("SSO_KEYCLOAK_CLIENT_ID", "c"),
            ("SSO_KEYCLOAK_BASE_URL", "https://kc.example/"),
            ("SSO_KEYCLOAK_REALM", "staff"),
            ("SSO_OKTA_ENABLED", "true"),
            ("SSO_OKTA_CLIENT_ID", "c"),
            ("SSO_OKTA_ISSUER", "https://corp.okta.com"),
            ("SSO_ENTRA_ENABLED", "true"),
            ("SSO_ENTRA_CLIENT_ID", "c"),
            ("SSO_ENTRA_TENANT_ID", "t-1"),
        ]);
        let issuers: Vec<_> =
            all.iter().map(|it| (&*it.id, it.issuer.as_deref().unwrap())).collect();
        assert_eq!(
            issuers,
            [
                ("google", "https://accounts.google.com"),
                ("keycloak", "https://kc.example/realms/staff"),
                ("okta", "https://corp.okta.com/oauth2/default"),
                ("entra", "https://login.microsoftonline.com/t-1/v2.0"),
            ]
        );
        let trusted: Vec<_> = all.iter().map(|it| it.habits.email_trusted).collect();
        assert_eq!(trusted, [false, false, false, true]);
    }

    #[test]
    fn a_tenant_of_everybody_vouches_for_nobody() {
        let set = [("SSO_ENABLED", "true"), ("SSO_ENTRA_ENABLED", "true")];
        let named = [("SSO_ENTRA_CLIENT_ID", "c"), ("SSO_ENTRA_TENANT_ID", "common")];
        let all = of(&[set, named].concat());
        assert!(!all[0].habits.email_trusted);
    }

    #[test]
    fn nobody_is_there_unless_switched_on_and_a_half_one_is_refused() {
        let github =
            [("SSO_GITHUB_ENABLED", "true"), ("SSO_GITHUB_CLIENT_ID", "c")].map(|it| (it.0, it.1));
        assert!(of(&github).is_empty());
        let half = [("SSO_ENABLED", "true"), ("SSO_GITHUB_ENABLED", "true")];
        let half = half.map(|(name, value)| (name, value.to_owned()));
        assert!(crate::settings::parse("", [], &half).is_err());
    }
}
