//! Tokens against forged requests: a page that another site runs can make a browser send our
//! cookies, but cannot read them.
//!
//! A token is a code over who the user is, which session it is and which hour. It comes by cookie
//! and by answer, and goes back in a field (double submit); a token that somebody planted as a
//! cookie is of another session. Nothing is kept.

use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};

use crate::settings::{Secret, Settings};

/// Makes and checks tokens.
pub struct Csrf {
    key: hmac::Key,
    is_enabled: bool,
    lifetime: Duration,
    header_name: String,
    cookie_name: String,
}

/// A request that a page may have forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forged;

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session<'a> {
    /// The user.
    pub email: &'a str,
    /// The id of the session's token; a token without one stands for all such of its user.
    pub id: Option<&'a str>,
}

impl Csrf {
    /// Takes what the settings say; the key is made of `secret`, which every node has.
    pub fn new(settings: &Settings, secret: &Secret) -> Csrf {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let key = hmac::sign(&root, b"ringway csrf 1");
        let web = &settings.web;
        Csrf {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            is_enabled: web.csrf_enabled,
            lifetime: web.csrf_lifetime,
            header_name: web.csrf_header.clone(),
            cookie_name: web.csrf_cookie.clone(),
        }
    }

    /// Whether changes that only a cookie proves the caller of need a token.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// The field that a token goes back in.
    pub fn header_name(&self) -> &str {
        &self.header_name
    }

    /// The cookie that a token is kept in.
    pub fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    /// How long a token is good at least.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The token of a session at `now`, in seconds since the epoch.
    pub fn token(&self, session: Session<'_>, now: u64) -> String {
        self.token_of(session, self.window(now))
    }

    /// Looks whether field and cookie hold the token of a session.
    ///
    /// # Errors
    ///
    /// [`Forged`]: answer 403.
    pub fn check(
        &self,
        header: Option<&[u8]>,
        cookie: Option<&[u8]>,
        session: Session<'_>,
        now: u64,
    ) -> Result<(), Forged> {
        let (header, cookie) = (header.ok_or(Forged)?, cookie.ok_or(Forged)?);
        constant_time::verify_slices_are_equal(header, cookie).map_err(|_| Forged)?;
        let window = self.window(now);
        let is_of = |window: u64| {
            let token = self.token_of(session, window);
            constant_time::verify_slices_are_equal(token.as_bytes(), header).is_ok()
        };
        let is_good = is_of(window) || is_of(window.saturating_sub(1));
        if is_good { Ok(()) } else { Err(Forged) }
    }

    fn window(&self, now: u64) -> u64 {
        now / self.lifetime.as_secs().max(1)
    }

    fn token_of(&self, session: Session<'_>, window: u64) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        // With their lengths, or two others could make the same bytes.
        for part in [session.email, session.id.unwrap_or_default()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.update(&window.to_be_bytes());
        let code = context.sign();
        code.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const ANN: Session<'static> = Session { email: "ann@example.com", id: Some("1") };

    fn csrf(secret: &str) -> Csrf {
        Csrf::new(&crate::settings::parse("", [], &[]).unwrap().settings, &Secret::new(secret))
    }

    fn check(token: &str, session: Session<'_>, now: u64) -> Result<(), Forged> {
        csrf("a").check(Some(token.as_bytes()), Some(token.as_bytes()), session, now)
    }

    #[test]
    fn takes_a_token_of_the_session_while_it_is_good() {
        let token = csrf("a").token(ANN, NOW);
        assert_eq!(token.len(), 64);
        assert_eq!(check(&token, ANN, NOW), Ok(()));
        assert_eq!(check(&token, ANN, NOW + 3600), Ok(()));
        assert_eq!(check(&token, ANN, NOW + 2 * 3600), Err(Forged));
    }

    #[test]
    fn refuses_tokens_of_other_users_sessions_and_keys() {
        let token = csrf("a").token(ANN, NOW);
        for other in [
            Session { email: "bob@example.com", ..ANN },
            Session { id: Some("2"), ..ANN },
            Session { id: None, ..ANN },
            Session { email: "ann@example.com1", id: None },
        ] {
            assert_eq!(check(&token, other, NOW), Err(Forged), "{other:?}");
        }
        assert_eq!(check(&csrf("b").token(ANN, NOW), ANN, NOW), Err(Forged));
    }

    #[test]
    fn field_and_cookie_must_both_hold_it() {
        let token = csrf("a").token(ANN, NOW);
        let token = token.as_bytes();
        for (header, cookie) in [
            (None, None),
            (Some(token), None),
            (None, Some(token)),
            (Some(token), Some(b"x".as_slice())),
            (Some(b"".as_slice()), Some(b"".as_slice())),
            (Some(&token[..63]), Some(&token[..63])),
        ] {
            assert_eq!(csrf("a").check(header, cookie, ANN, NOW), Err(Forged));
        }
    }
}
