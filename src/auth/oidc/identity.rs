//! Who logged in, as their provider tells.

use serde_json::{Map, Value};

use super::provider::{Habits, Provider};
use crate::auth::external::claims::{find, groups, is_verified, plain_address};

/// The longest name of a person, in characters.
const NAME_LENGTH_MAX: usize = 255;

/// Who logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Their address, verified.
    pub email: String,
    /// Their name.
    pub full_name: Option<String>,
    /// Their groups; `None` if the provider does not speak of groups.
    pub groups: Option<Vec<String>>,
}

impl Identity {
    /// Reads what a provider tells of a user.
    ///
    /// # Errors
    ///
    /// A sentence: it names no address, or none that counts.
    pub fn read(claims: &Map<String, Value>, habits: &Habits) -> Result<Identity, &'static str> {
        let text = |name: &str| find(claims, name).and_then(Value::as_str);
        let told = text(&habits.email_claim);
        // Some who vouch for their users' names give them no address besides.
        let told = told.or_else(|| text("preferred_username").filter(|_| habits.email_trusted));
        let email = told.and_then(plain_address);
        let email = email.ok_or("The provider tells no address of mail of this user")?;
        let is_verified = is_verified(claims).unwrap_or(habits.email_trusted);
        if !is_verified {
            return Err("The provider does not say that this user's address is verified");
        }
        let name = text("name").or_else(|| text("login")).map(str::trim);
        let name = name.filter(|name| !name.is_empty() && !name.chars().any(char::is_control));
        let speaks = find(claims, &habits.groups_claim).is_some();
        Ok(Identity {
            email,
            full_name: name.map(|name| name.chars().take(NAME_LENGTH_MAX).collect()),
            groups: speaks.then(|| groups(claims, &habits.groups_claim)),
        })
    }

    /// Whether users of this address may log in.
    pub fn is_trusted(&self, provider: &Provider) -> bool {
        provider.trusted_domains.is_empty() || self.is_in(&provider.trusted_domains)
    }

    /// Whether they command the gateway: `None` if the provider has no say in it.
    pub fn is_admin(&self, habits: &Habits) -> Option<bool> {
        if habits.admin_groups.is_empty() && habits.admin_domains.is_empty() {
            return None;
        }
        let groups = self.groups.as_deref().unwrap_or_default();
        let by_group = groups.iter().any(|group| habits.admin_groups.contains(group));
        let is_admin = by_group || self.is_in(&habits.admin_domains);
        // Who does not speak of groups does not say that somebody is in none.
        let says = is_admin || self.groups.is_some() || habits.admin_groups.is_empty();
        says.then_some(is_admin)
    }

    fn is_in(&self, domains: &[String]) -> bool {
        let own = self.email.rsplit_once('@').map(|(_, domain)| domain);
        domains.iter().any(|domain| own.is_some_and(|own| own.eq_ignore_ascii_case(domain)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: Value, habits: &Habits) -> Result<Identity, &'static str> {
        Identity::read(claims.as_object().unwrap(), habits)
    }

    #[test]
    fn an_address_counts_only_if_somebody_vouches_for_it() {
        let strict = Habits::default();
        let lax = Habits { email_trusted: true, ..Habits::default() };
        let verified = json!({"email": "Ann@Example.com", "email_verified": true, "name": " Ann "});
        let ann = read(verified, &strict).unwrap();
        assert_eq!((&*ann.email, ann.full_name.as_deref()), ("ann@example.com", Some("Ann")));
        assert!(read(json!({"email": "a@b"}), &strict).is_err());
        assert!(read(json!({"email": "a@b"}), &lax).is_ok());
        for said in [json!(false), json!("false"), json!(1)] {
            let claims = json!({"email": "a@b", "email_verified": said});
            assert!(read(claims.clone(), &strict).is_err() && read(claims, &lax).is_err());
        }
        assert!(read(json!({"preferred_username": "a@b"}), &lax).is_ok());
        for wrong in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\r\nx: y"] {
            let claims = json!({"email": wrong, "email_verified": true});
            assert!(read(claims, &lax).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_whole_domains_and_named_groups_make_an_administrator() {
        let habits = Habits {
            admin_domains: vec!["Corp.example".to_owned()],
            admin_groups: vec!["root".to_owned()],
            ..Habits::default()
        };
        let is_admin = |email: &str, groups: Value| {
            let claims = json!({"email": email, "email_verified": true, "groups": groups});
            read(claims, &habits).unwrap().is_admin(&habits)
        };
        assert_eq!(is_admin("a@corp.example", json!([])), Some(true));
        assert_eq!(is_admin("a@x.corp.example", json!(["roots"])), Some(false));
        assert_eq!(is_admin("a@notcorp.example", json!(["root"])), Some(true));
        let ann = json!({"email": "a@corp.example", "email_verified": true});
        assert_eq!(read(ann, &habits).unwrap().is_admin(&Habits::default()), None);
    }
}
