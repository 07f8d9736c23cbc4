//! Who sent this request: the question that every request asks, answered from memory when it can.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::cache::TokenCache;
use super::caller::Caller;
use super::claims::Span;
use super::credentials::Credentials;
use super::error::{AuthError, Fault, KeyError};
use super::token::TokenRules;
use crate::settings::Settings;

/// Who gets in: what all shards share.
pub struct Rules {
    /// Which tokens are good; `None` if none can be checked and none is needed.
    tokens: Option<TokenRules>,
    /// Whether whoever comes without a token is an administrator.
    is_open: bool,
}

impl Rules {
    /// Makes rules of the settings. Reads the key, and perhaps makes a secret.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if tokens cannot be checked as the settings want: do not start.
    pub fn load(settings: &Settings) -> Result<Rules, KeyError> {
        let is_open = !settings.auth.required;
        let tokens = match TokenRules::load(settings) {
            Ok(tokens) => Some(tokens),
            Err(KeyError::Unset { .. }) if is_open => None,
            Err(error) => return Err(error),
        };
        Ok(Rules { tokens, is_open })
    }
}

/// A shard's judge of tokens. It remembers the good ones, never past their end; what it refuses it
/// looks at anew each time.
pub struct Verifier {
    rules: Arc<Rules>,
    cache: RefCell<TokenCache<Verified>>,
    operator: Rc<Caller>,
}

#[derive(Clone)]
struct Verified {
    caller: Rc<Caller>,
    span: Span,
}

impl Verifier {
    /// Makes the verifier of one shard, which remembers up to `token_count_max` tokens.
    pub fn new(rules: Arc<Rules>, token_count_max: usize) -> Verifier {
        let cache = RefCell::new(TokenCache::new(token_count_max));
        Verifier { rules, cache, operator: Rc::new(Caller::operator()) }
    }

    /// Says who sent a request now.
    ///
    /// Without authentication, whoever sends no token is an administrator; a token that was sent
    /// is checked even then, since its sender relies on being who it says.
    ///
    /// # Errors
    ///
    /// [`AuthError`]: answer 401.
    pub fn identify(&self, credentials: Credentials<'_>) -> Result<Rc<Caller>, AuthError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        // A clock before 1970 is broken. Then no token is good: better than all of them.
        self.identify_at(credentials, now.map_or(u64::MAX, |now| now.as_secs()))
    }

    /// As [`Verifier::identify`], at `now` in seconds since the epoch.
    ///
    /// # Errors
    ///
    /// [`AuthError`]: answer 401.
    pub fn identify_at(
        &self,
        credentials: Credentials<'_>,
        now: u64,
    ) -> Result<Rc<Caller>, AuthError> {
        match (credentials.token(), &self.rules.tokens) {
            (Some(token), Some(rules)) => {
                self.recall(rules, token, now).map_err(AuthError::Invalid)
            }
            _ if self.rules.is_open => Ok(self.operator.clone()),
            _ => Err(AuthError::Missing),
        }
    }

    /// Forgets every token, after a key, a user or a revocation changed.
    pub fn forget_all(&self) {
        self.cache.borrow_mut().clear();
    }

    fn recall(&self, rules: &TokenRules, token: &[u8], now: u64) -> Result<Rc<Caller>, Fault> {
        let mut cache = self.cache.borrow_mut();
        if let Some(verified) = cache.get(token) {
            let checked = verified.span.check(now);
            if checked == Err(Fault::Expired) {
                cache.remove(token);
            }
            return checked.map(|()| verified.caller);
        }
        let (caller, span) = rules.read(token)?;
        span.check(now)?;
        let caller = Rc::new(caller);
        cache.put(token, Verified { caller: caller.clone(), span });
        Ok(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token::tests::{Forge, NOW, settings};

    fn verifier(overrides: &[(&str, &str)]) -> (Verifier, Forge) {
        let settings = settings(overrides);
        let rules = Arc::new(Rules::load(&settings).unwrap());
        (Verifier::new(rules, settings.auth.token_count_max), Forge::new(&settings))
    }

    fn by(
        verifier: &Verifier,
        authorization: Option<&str>,
        cookie: Option<&str>,
        now: u64,
    ) -> Result<Rc<Caller>, AuthError> {
        let (authorization, cookie) = (authorization.map(str::as_bytes), cookie.map(str::as_bytes));
        verifier.identify_at(Credentials { authorization, cookie }, now)
    }

    fn ask(verifier: &Verifier, token: &str, now: u64) -> Result<Rc<Caller>, AuthError> {
        by(verifier, Some(&format!("Bearer {token}")), None, now)
    }

    #[test]
    fn gives_the_same_caller_from_memory_as_at_first_sight() {
        let (verifier, forge) = verifier(&[]);
        let token = forge.token(r#"{"sub":"a@b"}"#);
        let first = ask(&verifier, &token, NOW).unwrap();
        let second = ask(&verifier, &token, NOW).unwrap();
        assert!(Rc::ptr_eq(&first, &second));
    }

    /// The property that the cache must not break, at every second around the end, however often
    /// and in whatever order it is asked, and as clocks step back.
    #[test]
    fn never_answers_outside_the_time_of_a_token() {
        let (verifier, forge) = verifier(&[("TOKEN_CACHE_SIZE", "4")]);
        let tokens: Vec<_> = (0..8)
            .map(|number| {
                let (nbf, exp) = (NOW + number, NOW + 20 + number);
                let claims = format!(r#"{{"sub":"{number}","nbf":{nbf},"exp":{exp}}}"#);
                (forge.token(&claims), nbf - 10, exp)
            })
            .collect();
        for step in 0..2000_u64 {
            // A walk over every residue: 37 and 60 share no factor, so no second is left out.
            let now = NOW - 15 + (step * 37) % 60;
            let (token, begins_at, ends_at) = &tokens[(step % 8) as usize];
            let is_good = (*begins_at..*ends_at).contains(&now);
            assert_eq!(ask(&verifier, token, now).is_ok(), is_good, "at {now}, step {step}");
        }
    }

    #[test]
    fn asks_for_a_token_without_calling_an_absent_one_invalid() {
        let (verifier, _) = verifier(&[]);
        for header in [None, Some("Basic YTpi")] {
            let error = by(&verifier, header, None, NOW).unwrap_err();
            assert_eq!(error, AuthError::Missing);
            assert_eq!(error.challenge(), "Bearer");
            assert_eq!(error.detail(), "Authorization token required");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_token_that_was_sent() {
        let (verifier, forge) = verifier(&[]);
        let token = forge.token(&format!(r#"{{"sub":"a","exp":{NOW}}}"#));
        let error = ask(&verifier, &token, NOW).unwrap_err();
        assert_eq!(
            error.challenge(),
            "Bearer error=\"invalid_token\", error_description=\"The token has expired\""
        );
        assert_eq!(error.detail(), "Invalid authentication credentials");
    }

    #[test]
    fn takes_a_cookie_where_it_is_offered_and_the_header_before_it() {
        let (verifier, forge) = verifier(&[]);
        let (header, cookie) = (forge.token(r#"{"sub":"h"}"#), forge.token(r#"{"sub":"c"}"#));
        let (header, cookie) = (format!("bearer {header}"), format!("jwt_token={cookie}"));
        let email = |header: Option<&str>, cookie: Option<&str>| {
            by(&verifier, header, cookie, NOW).map(|caller| caller.email.clone())
        };
        assert_eq!(email(None, Some(&cookie)), Ok("c".into()));
        assert_eq!(email(Some(&header), Some(&cookie)), Ok("h".into()));
        assert_eq!(email(None, None), Err(AuthError::Missing));
    }

    #[test]
    fn looks_at_the_clock() {
        let (verifier, forge) = verifier(&[]);
        let identify = |exp: u64| {
            let header =
                format!("Bearer {}", forge.token(&format!(r#"{{"sub":"a","exp":{exp}}}"#)));
            let credentials =
                Credentials { authorization: Some(header.as_bytes()), ..Credentials::default() };
            verifier.identify(credentials).is_ok()
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(identify(now + 3600) && !identify(now));
    }

    #[test]
    fn an_open_gateway_takes_the_unnamed_for_its_operator_and_still_checks_tokens() {
        let (verifier, forge) = verifier(&[("AUTH_REQUIRED", "false")]);
        assert!(by(&verifier, None, None, NOW).unwrap().is_admin);
        assert!(!ask(&verifier, &forge.token(r#"{"sub":"a"}"#), NOW).unwrap().is_admin);
        assert!(ask(&verifier, "rubbish", NOW).is_err());
    }

    #[test]
    fn an_open_gateway_without_a_key_needs_none() {
        let (open, _) = verifier(&[("AUTH_REQUIRED", "false"), ("JWT_ALGORITHM", "ES256")]);
        assert!(ask(&open, "rubbish", NOW).unwrap().is_admin);
    }
}
