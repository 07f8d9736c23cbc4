//! Whom a certificate is made out to: its bytes to the names in it.
//!
//! It believes what it reads. Whether the certificate is to be believed was decided in the
//! handshake, by rustls.

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The longest name that is taken: that of an address of mail (RFC 5321 §4.5.3.1).
const NAME_SIZE_MAX: usize = 320;

/// Whom a certificate is made out to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The addresses of mail among its alternative names (RFC 5280 §4.2.1.6).
    pub emails: Vec<String>,
    /// The common name of its subject, if there is exactly one.
    pub common_name: Option<String>,
    /// The first second since the epoch in which it is good no more. A handshake looks at this only
    /// once, and a connection may outlast it.
    pub ends_at: u64,
}

impl Holder {
    /// Reads the names in a certificate (DER). What cannot be read names nobody, and so does a name
    /// that no line of text could hold.
    pub fn read(der: &[u8]) -> Holder {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Holder::default() };
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let names = alternatives.iter().flat_map(|extension| &extension.value.general_names);
        let emails = names.filter_map(|name| match name {
            GeneralName::RFC822Name(email) => plain(email),
            _ => None,
        });
        let mut subjects = certificate.subject().iter_common_name();
        let common_name = match (subjects.next(), subjects.next()) {
            (Some(only), None) => only.as_str().ok().and_then(plain),
            _ => None,
        };
        // Good up to and including the second that it names (RFC 5280 §4.1.2.5).
        let last = certificate.validity().not_after.timestamp();
        let ends_at = u64::try_from(last).map_or(0, |last| last.saturating_add(1));
        Holder { emails: emails.collect(), common_name, ends_at }
    }
}

/// The name, if it is one and nothing hides in it.
fn plain(name: &str) -> Option<String> {
    let is_plain = !name.is_empty()
        && name.len() <= NAME_SIZE_MAX
        && name.trim() == name
        && !name.chars().any(char::is_control);
    is_plain.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn holder(common_names: &[&str], emails: &[&str]) -> Holder {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let email = |text: &&str| SanType::Rfc822Name((*text).try_into().unwrap());
        params.subject_alt_names = emails.iter().map(email).collect();
        params.subject_alt_names.push(SanType::DnsName("host.example".try_into().unwrap()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Holder::read(certificate.der())
    }

    #[test]
    fn reads_the_addresses_of_mail_and_the_common_name() {
        let found = holder(&["Ann Example"], &["ann@example.com", "a@b.example"]);
        assert_eq!(found.emails, ["ann@example.com", "a@b.example"]);
        assert_eq!(found.common_name.as_deref(), Some("Ann Example"));
        let nobody = holder(&[], &[]);
        assert_eq!((nobody.emails, nobody.common_name), (Vec::new(), None));
    }

    #[test]
    fn tells_until_when_it_is_good() {
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(Holder::read(certificate.der()).ends_at, 1_893_456_001);
    }

    #[test]
    fn takes_no_name_in_which_something_hides() {
        for name in ["ann\0.evil", "ann\nadmin", " ann", "ann ", "", &"a".repeat(321)] {
            assert_eq!(holder(&[name], &[]).common_name, None, "{name:?}");
        }
        assert_eq!(holder(&[&"a".repeat(320)], &[]).common_name, Some("a".repeat(320)));
    }

    /// Nothing that is cut or changed makes it fail otherwise than by naming nobody.
    #[test]
    fn bytes_that_are_no_certificate_name_nobody() {
        let params = CertificateParams::default();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let der = certificate.der();
        for cut in 0..der.len() {
            assert_eq!(Holder::read(&der[..cut]), Holder::default(), "cut at byte {cut}");
        }
        for place in 0..der.len() {
            let mut changed = der.to_vec();
            changed[place] ^= 0x55;
            let _ = Holder::read(&changed);
        }
    }
}
