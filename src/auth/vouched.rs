//! Users that somebody else vouches for: a proxy in front, or who signed a client's certificate.

use net::certificate::Holder;

use super::Caller;
use crate::settings::{CertificateName, Settings};

/// The longest name of a user (RFC 5321 §4.5.3.1).
const NAME_SIZE_MAX: usize = 320;

/// Whose word is taken for users, and in what form it comes.
#[derive(Debug, Clone)]
pub struct Vouched {
    admin_email: String,
    certificate_name: CertificateName,
    /// The field of a proxy; `None` if no proxy is believed.
    proxy_header: Option<String>,
}

/// Why a proxy's word names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nobody {
    /// The field is not there.
    Absent,
    /// It is there twice, or holds no name.
    Unclear,
}

impl Vouched {
    /// Takes what the settings say.
    pub fn new(settings: &Settings) -> Vouched {
        let proof = &settings.proof;
        let is_believed = proof.proxy_believed && !proof.clients_prove;
        Vouched {
            admin_email: settings.auth.admin_email.clone(),
            certificate_name: proof.certificate_name,
            proxy_header: is_believed.then(|| proof.proxy_user_header.clone()),
        }
    }

    /// The field in which proxies name users; `None` if no proxy is believed.
    pub fn proxy_header(&self) -> Option<&str> {
        self.proxy_header.as_deref()
    }

    /// The user whom a trusted proxy names by these values of its field.
    ///
    /// # Errors
    ///
    /// [`Nobody`], if it names none.
    pub fn by_proxy<'a>(
        &self,
        mut values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Caller, Nobody> {
        let value = values.next().ok_or(Nobody::Absent)?;
        if values.next().is_some() {
            return Err(Nobody::Unclear);
        }
        let name = std::str::from_utf8(value).map_err(|_| Nobody::Unclear)?;
        // A comma is what a second field looks like that somebody joined to the first.
        let is_name = !name.is_empty()
            && name.len() <= NAME_SIZE_MAX
            && !name.chars().any(|letter| letter.is_control() || letter.is_whitespace())
            && !name.contains(',');
        if is_name { Ok(self.caller(name)) } else { Err(Nobody::Unclear) }
    }

    /// The user to whom a certificate is made out, until it ends; `None` if it names no one, or
    /// several.
    pub fn by_certificate(&self, holder: &Holder) -> Option<Caller> {
        let name = match (self.certificate_name, holder.emails.as_slice()) {
            (CertificateName::Email, [email]) => Some(email),
            (CertificateName::Email, _) => None,
            (CertificateName::CommonName, _) => holder.common_name.as_ref(),
        };
        name.map(|name| Caller { expires_at: Some(holder.ends_at), ..self.caller(name) })
    }

    fn caller(&self, name: &str) -> Caller {
        let is_admin = name == self.admin_email;
        // As after a login: their teams are those of the database.
        Caller { email: name.to_owned(), is_admin, is_session: true, ..Caller::nobody() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vouched(settings: &[(&str, &str)]) -> Vouched {
        let given: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Vouched::new(&crate::settings::parse("", [], &given).unwrap().settings)
    }

    fn by_proxy(values: &[&str]) -> Result<(String, bool), Nobody> {
        let found = vouched(&[]).by_proxy(values.iter().map(|value| value.as_bytes()));
        found.map(|caller| (caller.email, caller.is_admin))
    }

    #[test]
    fn a_proxy_names_one_user() {
        assert_eq!(by_proxy(&["ann@example.com"]), Ok(("ann@example.com".to_owned(), false)));
        assert_eq!(by_proxy(&["admin@example.com"]), Ok(("admin@example.com".to_owned(), true)));
        assert_eq!(by_proxy(&[]), Err(Nobody::Absent));
        for values in [
            vec!["ann", "admin@example.com"],
            vec![""],
            vec!["ann, admin@example.com"],
            vec!["ann admin@example.com"],
            vec!["ann\u{a0}"],
        ] {
            assert_eq!(by_proxy(&values), Err(Nobody::Unclear), "{values:?}");
        }
        assert_eq!(by_proxy(&["a".repeat(321).as_str()]), Err(Nobody::Unclear));
    }

    #[test]
    fn no_proxy_is_believed_unless_callers_do_not_prove_themselves() {
        assert_eq!(vouched(&[]).proxy_header(), None);
        let trusted = [("TRUST_PROXY_AUTH", "true"), ("TRUSTED_PROXIES", "10.0.0.1")];
        assert_eq!(vouched(&trusted).proxy_header(), None);
        let [a, b] = trusted;
        let only = vouched(&[a, b, ("MCP_CLIENT_AUTH_ENABLED", "false")]);
        assert_eq!(only.proxy_header(), Some("X-Authenticated-User"));
    }

    #[test]
    fn a_certificate_names_one_user_by_mail_or_by_common_name() {
        let holder = |emails: &[&str], name: Option<&str>| Holder {
            emails: emails.iter().map(ToString::to_string).collect(),
            common_name: name.map(str::to_owned),
            ends_at: 7,
        };
        let (mail, name) = (vouched(&[]), vouched(&[("TLS_CLIENT_USER", "cn")]));
        let found = |vouched: &Vouched, holder| vouched.by_certificate(&holder).map(|c| c.email);
        let both = holder(&["ann@example.com"], Some("Ann"));
        assert_eq!(found(&mail, both.clone()).as_deref(), Some("ann@example.com"));
        assert_eq!(mail.by_certificate(&both).unwrap().expires_at, Some(7));
        assert_eq!(found(&name, both).as_deref(), Some("Ann"));
        assert_eq!(found(&mail, holder(&["a@b", "c@d"], Some("Ann"))), None);
        assert_eq!(found(&mail, holder(&[], Some("Ann"))), None);
        assert_eq!(found(&name, holder(&["a@b"], None)), None);
    }
}
