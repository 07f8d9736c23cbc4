//! Who sent this request: the question that every request asks, answered from memory when it can.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::cache::TokenCache;
use super::caller::Caller;
use super::claims::Span;
use super::credentials;
use super::error::{AuthError, Fault, KeyError};
use super::external::keyring::{Missing, Pace};
use super::external::{Checked, Externals, Resource};
use super::settle::{Standing, settle};
use super::token::{Rules, TOKEN_SIZE_MAX};
use crate::catalog::People;
use crate::settings::{Auth, Settings};

/// A shard's judge of tokens. It remembers the good ones, never past their end; what it refuses it
/// looks at anew each time.
pub struct Verifier {
    rules: Option<Arc<Rules>>,
    standing: Standing,
    cache: RefCell<TokenCache<Verified>>,
    /// The other issuers.
    pub externals: Externals,
    vouched: RefCell<TokenCache<Vouched>>,
    /// Who comes without a token, if they may.
    unnamed: Option<Rc<Caller>>,
}

#[derive(Clone)]
struct Verified {
    /// As the token says.
    claimed: Rc<Caller>,
    span: Span,
    /// Until which second the key that checked it needs no other look.
    key_until: u64,
    /// What that came to.
    caller: Rc<Caller>,
    /// With which version of the people, and until which second.
    settled: (u64, u64),
}

/// A user that something else than a token vouched for.
#[derive(Clone)]
struct Vouched {
    /// Whether they were said to be an administrator, and until when they were vouched for.
    said: (bool, Option<u64>),
    caller: Rc<Caller>,
    settled: (u64, u64),
}

/// Loads the rules that the verifiers of all shards share; `None` if no token can be checked and
/// none is needed.
///
/// # Errors
///
/// [`KeyError`] if tokens are needed and cannot be checked: do not start.
pub fn shared_rules(settings: &Settings) -> Result<Option<Arc<Rules>>, KeyError> {
    match Rules::load(settings) {
        Ok(rules) => Ok(Some(Arc::new(rules))),
        Err(KeyError::Unset { .. }) if !settings.auth.required => Ok(None),
        Err(error) => Err(error),
    }
}

impl Verifier {
    /// Makes the verifier of one shard.
    pub fn new(auth: &Auth, rules: Option<Arc<Rules>>) -> Verifier {
        Verifier {
            rules,
            standing: Standing::new(auth),
            cache: RefCell::new(TokenCache::new(auth.token_count_max)),
            externals: Externals::new(
                auth.issuers.as_slice().into(),
                Pace { age_max_s: auth.keys_age_max.as_secs(), pause_s: auth.keys_pause.as_secs() },
            ),
            vouched: RefCell::new(TokenCache::new(auth.token_count_max)),
            unnamed: (!auth.required).then(|| Rc::new(Caller::operator())),
        }
    }

    /// Says who sent a request to what is no protected resource: as [`Verifier::identify_at`].
    ///
    /// # Errors
    ///
    /// [`AuthError`]: answer 401, or 403 for what comes from elsewhere.
    pub fn identify(
        &self,
        authorization: Option<&[u8]>,
        cookie: Option<&[u8]>,
        from: impl FnOnce() -> IpAddr,
        people: &People,
        now: u64,
    ) -> Result<Rc<Caller>, AuthError> {
        self.identify_at(&Resource::PLAIN, authorization, cookie, from, people, now)
    }

    /// Says who sent a request with these values of `Authorization` and `Cookie`, at `now` in
    /// seconds since the epoch, and what they may by what is known of `people`. A path that takes
    /// no cookies (`/mcp`) passes `None` for it. The header wins over the cookie: a browser sends a
    /// cookie by itself, a header never. `from` is asked for the address of the sender only if the
    /// token is bound to addresses or times.
    ///
    /// Without authentication, whoever sends no token is an administrator; a token that was sent
    /// is checked even then, since its sender relies on being who it says.
    ///
    /// # Errors
    ///
    /// [`AuthError`]: answer 401, or 403 for what comes from elsewhere.
    pub fn identify_at(
        &self,
        resource: &Resource<'_>,
        authorization: Option<&[u8]>,
        cookie: Option<&[u8]>,
        from: impl FnOnce() -> IpAddr,
        people: &People,
        now: u64,
    ) -> Result<Rc<Caller>, AuthError> {
        let token = authorization.and_then(credentials::bearer);
        let token = token.or_else(|| cookie.and_then(credentials::cookie));
        match (token, &self.rules, &self.unnamed) {
            (Some(token), Some(rules), _) => {
                let caller = self.recall(rules, token, resource, people, now)?;
                if let Some(foreign) = &caller.foreign {
                    self.externals.admit(foreign, resource).map_err(AuthError::Invalid)?;
                }
                caller.check_place(from, now).map_err(AuthError::Outside)?;
                Ok(caller)
            }
            (_, _, Some(unnamed)) => Ok(unnamed.clone()),
            _ => Err(AuthError::Missing),
        }
    }

    /// Who comes without any proof, where none is needed.
    pub fn unnamed(&self) -> Option<Rc<Caller>> {
        self.unnamed.clone()
    }

    /// Says what a user may for whom something else than a token vouches, at `now` in seconds since
    /// the epoch. The proof is good for as long as `claimed` says.
    ///
    /// # Errors
    ///
    /// [`AuthError`] if the user may not come any more: answer 401.
    pub fn vouch(
        &self,
        claimed: &Caller,
        people: &People,
        now: u64,
    ) -> Result<Rc<Caller>, AuthError> {
        if claimed.expires_at.is_some_and(|end| now >= end) {
            return Err(AuthError::Invalid(Fault::Expired));
        }
        let mut cache = self.vouched.borrow_mut();
        let (key, said) = (claimed.email.as_bytes(), (claimed.is_admin, claimed.expires_at));
        if let Some(known) = cache.get(key).filter(|known| known.said == said)
            && known.settled.0 == people.version
            && now < known.settled.1
        {
            return Ok(known.caller);
        }
        let (caller, settled) = self.settle(claimed, people, now).map_err(AuthError::Invalid)?;
        cache.put(key, Vouched { said, caller: caller.clone(), settled });
        Ok(caller)
    }

    /// What a caller comes to, with which version of the people, and until which second.
    fn settle(
        &self,
        claimed: &Caller,
        people: &People,
        now: u64,
    ) -> Result<(Rc<Caller>, (u64, u64)), Fault> {
        let now_us = i64::try_from(now).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let (caller, until) = settle(claimed, people, &self.standing, now_us)?;
        let until = u64::try_from(until / 1_000_000).unwrap_or(0);
        Ok((Rc::new(caller), (people.version, until)))
    }

    fn recall(
        &self,
        rules: &Rules,
        token: &[u8],
        resource: &Resource<'_>,
        people: &People,
        now: u64,
    ) -> Result<Rc<Caller>, AuthError> {
        let mut cache = self.cache.borrow_mut();
        let known = cache.get(token);
        if let Some(verified) = &known {
            let checked = verified.span.check(now);
            if checked == Err(Fault::Expired) {
                cache.remove(token);
            }
            checked.map_err(AuthError::Invalid)?;
            let (version, until) = verified.settled;
            if version == people.version && now < until {
                return Ok(verified.caller.clone());
            }
        }
        let known = known.filter(|verified| now < verified.key_until);
        let (claimed, span, key_until) = match known {
            Some(verified) => (verified.claimed, verified.span, verified.key_until),
            None => {
                let Checked { caller, span, key_until } = self.read(rules, token, resource, now)?;
                span.check(now).map_err(AuthError::Invalid)?;
                (Rc::new(caller), span, key_until)
            }
        };
        let settled = self.settle(&claimed, people, now).map_err(AuthError::Invalid)?;
        let (caller, (version, until)) = settled;
        let settled = (version, until.min(key_until));
        cache.put(token, Verified { claimed, span, key_until, caller: caller.clone(), settled });
        Ok(caller)
    }

    /// Checks a token at first sight, by the keys of whoever it says that it is of.
    fn read(
        &self,
        rules: &Rules,
        token: &[u8],
        resource: &Resource<'_>,
        now: u64,
    ) -> Result<Checked, AuthError> {
        if token.len() > TOKEN_SIZE_MAX {
            return Err(AuthError::Invalid(Fault::Malformed));
        }
        if let Some(issuer) = self.externals.issuer_of(token, resource) {
            return self.externals.check(token, &issuer, now).map_err(|missing| match missing {
                Missing::Ask(slot) => AuthError::Keys(slot),
                Missing::Fault(fault) => AuthError::Invalid(fault),
            });
        }
        let (caller, span) = rules.read(token).map_err(AuthError::Invalid)?;
        Ok(Checked { caller, span, key_until: u64::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token::tests::{Forge, NOW, settings};

    fn verifier(overrides: &[(&str, &str)]) -> (Verifier, Forge) {
        let settings = settings(overrides);
        let rules = shared_rules(&settings).unwrap();
        (Verifier::new(&settings.auth, rules), Forge::new(&settings))
    }

    fn here() -> IpAddr {
        [127, 0, 0, 1].into()
    }

    fn ask(verifier: &Verifier, token: &str, now: u64) -> Result<Rc<Caller>, AuthError> {
        let header = format!("Bearer {token}");
        verifier.identify(Some(header.as_bytes()), None, here, &People::default(), now)
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
        for header in [None, Some(b"Basic YTpi".as_slice())] {
            let error = verifier.identify(header, None, here, &People::default(), NOW).unwrap_err();
            assert_eq!(error, AuthError::Missing);
            assert_eq!(error.challenge(), "Bearer");
            assert_eq!(error.detail(), "Authorization token required");
        }
    }

    #[test]
    fn who_is_vouched_for_is_what_the_word_says_and_no_longer_than_it_says() {
        let (verifier, _) = verifier(&[]);
        let people = People::default();
        let said = |is_admin, expires_at| Caller {
            email: "ann".to_owned(),
            is_admin,
            is_session: true,
            expires_at,
            ..Caller::nobody()
        };
        let ask = |claimed: &Caller, now| verifier.vouch(claimed, &people, now);
        let first = ask(&said(false, None), NOW).unwrap();
        assert!(Rc::ptr_eq(&first, &ask(&said(false, None), NOW).unwrap()));
        // Another way to prove the same name must not borrow from this one.
        assert!(ask(&said(true, None), NOW).unwrap().rights.unrestricted);
        assert!(!ask(&said(false, None), NOW).unwrap().rights.unrestricted);
        assert_eq!(ask(&said(false, Some(NOW + 1)), NOW).unwrap().expires_at, Some(NOW + 1));
        let late = ask(&said(false, Some(NOW)), NOW);
        assert_eq!(late, Err(AuthError::Invalid(Fault::Expired)));
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
        let by = |header: Option<&str>, cookie: Option<&str>| {
            let (header, cookie) = (header.map(str::as_bytes), cookie.map(str::as_bytes));
            verifier
                .identify(header, cookie, here, &People::default(), NOW)
                .map(|caller| caller.email.clone())
        };
        assert_eq!(by(None, Some(&cookie)), Ok("c".into()));
        assert_eq!(by(Some(&header), Some(&cookie)), Ok("h".into()));
        assert_eq!(by(None, None), Err(AuthError::Missing));
    }

    #[test]
    fn an_open_gateway_takes_the_unnamed_for_its_operator_and_still_checks_tokens() {
        let (verifier, forge) = verifier(&[("AUTH_REQUIRED", "false")]);
        assert!(verifier.identify(None, None, here, &People::default(), NOW).unwrap().is_admin);
        assert!(!ask(&verifier, &forge.token(r#"{"sub":"a"}"#), NOW).unwrap().is_admin);
        assert!(ask(&verifier, "rubbish", NOW).is_err());
    }

    #[test]
    fn an_open_gateway_without_a_key_needs_none() {
        let (open, _) = verifier(&[("AUTH_REQUIRED", "false"), ("JWT_ALGORITHM", "ES256")]);
        assert!(ask(&open, "rubbish", NOW).unwrap().is_admin);
    }
}
