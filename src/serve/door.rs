//! The door: by which way a caller proves who they are, and what browsers are told.

use std::rc::Rc;

use net::{
    certificate::Holder,
    http1::{
        Method,
        server::{Request, Responder},
    },
};

use crate::{
    auth::{
        AuthError, Caller, Verifier,
        basic::{self, Basic},
        credentials,
        vouched::{Nobody, Vouched},
    },
    catalog::People,
    failure::Failure,
    settings::{Secret, Settings},
    web::{Client, Cookies, Cors, Csrf, Headers, Proxies, Scheme, cookie, csrf::Session},
};

/// What is the same for all connections of a process.
pub struct Door {
    /// Who is at the other end.
    pub proxies: Proxies,
    /// How cookies are set.
    pub cookies: Cookies,
    /// Tokens against forged requests.
    pub csrf: Csrf,
    headers: Headers,
    cors: Cors,
    basic: Option<Basic>,
    vouched: Vouched,
}

/// A request as the door looks at it.
pub struct Visit<'a, 'b> {
    /// The request.
    pub request: &'b Request<'a>,
    /// Its path, if it is one of the REST API.
    pub rest_path: Option<&'a str>,
    /// Whom the certificate of the connection is made out to.
    pub certified: Option<&'b Caller>,
    /// The users and teams that there are.
    pub people: &'b People,
    /// The time, in seconds since the epoch.
    pub now: u64,
}

impl Door {
    /// Takes what the settings say; `secret` is one that every node has.
    pub fn new(settings: &Settings, secret: &Secret) -> Door {
        Door {
            proxies: Proxies::new(settings),
            cookies: Cookies::new(settings),
            csrf: Csrf::new(settings, secret),
            headers: Headers::new(settings),
            cors: Cors::new(settings),
            basic: Basic::new(settings),
            vouched: Vouched::new(settings),
        }
    }

    /// Sets what every answer to a request carries.
    pub fn greet(&self, client: &Client<'_>, responder: &mut Responder) {
        responder.always(self.headers.data(client.scheme));
    }

    /// Lets a page that was let in read the answer. True if it only asked whether it may ask, which
    /// then is answered.
    pub fn meet_page(&self, request: &Request<'_>, responder: &mut Responder) -> bool {
        let asks = request.head.method() == Method::Options
            && self.cors.answer_preflight(request, responder);
        if !asks {
            self.cors.expose(request, responder);
        }
        asks
    }

    /// Sets what the answer to something carries that was no request.
    pub fn greet_stranger(&self, responder: &mut Responder) {
        responder.always(self.headers.data(Scheme::Http));
    }

    /// Sets that the answer is a page, which says itself what it may load.
    pub fn show_page(&self, client: &Client<'_>, responder: &mut Responder) {
        responder.always(self.headers.page(client.scheme));
    }

    /// The user to whom the certificate of a connection is made out, if one was shown.
    pub fn certified(&self, holder: Option<Holder>) -> Option<Caller> {
        holder.and_then(|holder| self.vouched.by_certificate(&holder))
    }

    /// Says who sent a request. A proxy's word excludes all others where it is taken; else what the
    /// caller sent on purpose goes before what their browser sends by itself.
    pub fn identify(
        &self,
        verifier: &Verifier,
        visit: &Visit<'_, '_>,
    ) -> Result<Rc<Caller>, Failure> {
        if let Some(header) = self.vouched.proxy_header() {
            return self.by_proxy(header, verifier, visit);
        }
        let authorization = visit.request.header("authorization");
        if let (Some(basic), Some(path)) = (&self.basic, visit.rest_path)
            && basic.is_for(path)
            && let Some(identified) = authorization.and_then(|value| basic.identify(value))
        {
            let claimed = identified.map_err(|_| wrong_password())?;
            return verifier.vouch(&claimed, visit.people, visit.now).map_err(refused);
        }
        if let Some(claimed) = visit.certified.filter(|_| authorization.is_none()) {
            return verifier.vouch(claimed, visit.people, visit.now).map_err(refused);
        }
        let cookie = visit.request.header("cookie").filter(|_| visit.rest_path.is_some());
        let identified = verifier.identify(authorization, cookie, visit.people, visit.now);
        let caller = identified.map_err(|error| Failure::Unauthorized {
            detail: error.detail(),
            challenge: self.challenge(visit.rest_path).unwrap_or(error.challenge()),
        })?;
        if let Some(cookies) = cookie
            && authorization.and_then(credentials::bearer).is_none()
        {
            self.check_forgery(&caller, cookies, visit)?;
        }
        Ok(caller)
    }

    fn challenge(&self, rest_path: Option<&str>) -> Option<&'static str> {
        let basic = self.basic.as_ref()?;
        rest_path.is_some_and(|path| basic.is_asked_at(path)).then_some(basic::CHALLENGE)
    }

    /// Who came by a proxy, if it is one that is trusted.
    fn by_proxy(
        &self,
        header: &str,
        verifier: &Verifier,
        visit: &Visit<'_, '_>,
    ) -> Result<Rc<Caller>, Failure> {
        let Visit { request, .. } = visit;
        let refuse = |detail| Failure::Unauthorized { detail, challenge: "Bearer" };
        if !self.proxies.trusts(request.peer.ip()) {
            return match request.header(header) {
                Some(_) => Err(refuse(
                    "Proxy authentication refused: this address is not in TRUSTED_PROXIES",
                )),
                // Without authentication everybody may come, also past the proxy.
                None => verifier.unnamed().ok_or_else(|| {
                    refuse("Proxy authentication required: come by a proxy of TRUSTED_PROXIES")
                }),
            };
        }
        let values = request.head.fields().all(request.bytes, header);
        match self.vouched.by_proxy(values) {
            Ok(claimed) => verifier.vouch(&claimed, visit.people, visit.now).map_err(refused),
            Err(Nobody::Unclear) => {
                Err(refuse("Proxy authentication refused: the proxy names no user, or several"))
            }
            Err(Nobody::Absent) => {
                verifier.unnamed().ok_or_else(|| refuse("Proxy authentication header required"))
            }
        }
    }

    /// Refuses a change that a page of somebody else may have had the browser ask for.
    fn check_forgery(
        &self,
        caller: &Caller,
        cookies: &[u8],
        visit: &Visit<'_, '_>,
    ) -> Result<(), Failure> {
        let Visit { request, now, .. } = visit;
        let is_safe = matches!(request.head.method(), Method::Get | Method::Head | Method::Options);
        if is_safe || !self.csrf.is_enabled() || credentials::cookie(cookies).is_none() {
            return Ok(());
        }
        let shown = request.header(self.csrf.header_name());
        let kept = cookie::find(cookies, self.csrf.cookie_name());
        let session = Session { email: &caller.email, id: caller.token_id.as_deref() };
        self.csrf.check(shown, kept, session, *now).map_err(|_| {
            let name = self.csrf.header_name();
            Failure::Forbidden(format!(
                "CSRF validation failed: send what GET /auth/csrf-token gives in {name}, with its \
                 cookie"
            ))
        })
    }
}

fn refused(error: AuthError) -> Failure {
    Failure::Unauthorized { detail: error.detail(), challenge: error.challenge() }
}

fn wrong_password() -> Failure {
    Failure::Unauthorized {
        detail: "Invalid authentication credentials",
        challenge: basic::CHALLENGE,
    }
}
