//! The door: by which way a caller proves who they are, and what browsers are told.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use net::{
    certificate::Holder,
    http1::{
        Method,
        server::{Request, Responder},
    },
};

use crate::{
    admin,
    auth::{
        AuthError, Caller, Resource,
        basic::{self, Basic},
        credentials,
        external::keyring::Slot,
        vouched::{Nobody, Vouched},
    },
    catalog::{Catalog, Protection},
    failure::Failure,
    serve::{changes::Identify, protected},
    settings::{Secret, Settings},
    state::{self, Shard},
    web::{Base, Client, Cookies, Cors, Csrf, Headers, Proxies, Scheme, cookie, csrf::Session},
};

/// What is the same for all connections of a process.
pub struct Door {
    /// Who is at the other end.
    pub proxies: Proxies,
    /// How cookies are set.
    pub cookies: Cookies,
    /// What our own addresses begin with.
    pub base: Base,
    /// What makes `/mcp` a protected resource.
    pub protection: Option<Protection>,
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
    pub certified: Option<&'b Rc<Caller>>,
    /// What it is sent to, as tokens name it.
    pub resource: Resource<'b>,
}

/// An endpoint of MCP.
pub struct Endpoint {
    /// Its virtual server; empty for that of everything.
    pub server_id: String,
    /// Its address, as tokens name it.
    pub uri: String,
}

/// Why a request is not let in.
pub enum Refusal {
    /// It ends so.
    Failure(Failure),
    /// Its token cannot be judged before the keys of its issuer are read.
    Keys(Slot),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal::Failure(failure)
    }
}

/// What a request shows of its sender.
enum Shown<'a> {
    /// Somebody's word who this is.
    Word(Rc<Caller>),
    /// What may hold a token.
    Token { authorization: Option<&'a [u8]>, cookie: Option<&'a [u8]> },
}

impl Door {
    /// Takes what the settings say; `secret` is one that every node has.
    pub fn new(settings: &Settings, secret: &Secret) -> Door {
        Door {
            proxies: Proxies::new(settings),
            cookies: Cookies::new(settings),
            base: Base::new(settings),
            protection: admin::of_everything(settings),
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
    pub fn certified(&self, holder: Option<Holder>) -> Option<Rc<Caller>> {
        holder.and_then(|holder| self.vouched.by_certificate(&holder)).map(Rc::new)
    }

    /// Whether a request shows nothing of its sender that an endpoint of MCP would look at.
    pub fn is_nameless(&self, visit: &Visit<'_, '_>) -> bool {
        let Visit { request, certified, .. } = visit;
        match self.vouched.proxy_header() {
            Some(header) => request.header(header).is_none(),
            None => certified.is_none() && request.header("authorization").is_none(),
        }
    }

    /// Says who sent a request.
    pub fn identify(&self, shard: &Shard, visit: &Visit<'_, '_>) -> Result<Rc<Caller>, Refusal> {
        let (authorization, cookie) = match self.shown(shard, visit)? {
            Shown::Word(claimed) => {
                return shard.vouch(&claimed).map_err(|error| Failure::from(error).into());
            }
            Shown::Token { authorization, cookie } => (authorization, cookie),
        };
        let from = || self.proxies.client_of(visit.request).ip;
        let identified = shard.identify_at(&visit.resource, authorization, cookie, from);
        let caller = identified.map_err(|error| match (error, Failure::from(error)) {
            (AuthError::Keys(slot), _) => Refusal::Keys(slot),
            (_, Failure::Unauthorized { detail, challenge }) => {
                let challenge = self.challenge(visit.rest_path).unwrap_or(challenge);
                Failure::Unauthorized { detail, challenge }.into()
            }
            (_, other) => other.into(),
        })?;
        if let Some(cookies) = cookie
            && authorization.and_then(credentials::bearer).is_none()
        {
            self.check_forgery(&caller, cookies, visit.request)?;
        }
        Ok(caller)
    }

    /// Gives what says again, whenever it is asked, who sent a request that was let in.
    pub fn identify_again(
        self: &Arc<Self>,
        shard: &Rc<Shard>,
        visit: &Visit<'_, '_>,
        endpoint: Option<Endpoint>,
    ) -> Identify {
        let shard = shard.clone();
        match self.shown(&shard, visit) {
            Ok(Shown::Word(claimed)) => Rc::new(move || shard.vouch(&claimed).ok()),
            Ok(Shown::Token { authorization, cookie }) => {
                let keep = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
                let (authorization, cookie) = (keep(authorization), keep(cookie));
                let ip = self.proxies.client_of(visit.request).ip;
                let (door, former) = (self.clone(), RefCell::new(None));
                Rc::new(move || {
                    let proof = (authorization.as_deref(), cookie.as_deref());
                    let Some(endpoint) = &endpoint else {
                        return shard.identify_again(&Resource::PLAIN, proof, ip, &former);
                    };
                    let catalog = shard.catalog();
                    let uri = || Some(endpoint.uri.clone());
                    let protection = door.protection_of(&catalog, &endpoint.server_id);
                    let resource = Resource { protection, uri: &uri };
                    let caller = shard.identify_again(&resource, proof, ip, &former)?;
                    let bears = |protection| protected::bears_scopes(&caller, protection);
                    protection.is_none_or(bears).then_some(caller)
                })
            }
            Err(_) => Rc::new(|| None),
        }
    }

    /// What makes an endpoint of MCP a protected resource.
    pub fn protection_of<'p>(
        &'p self,
        catalog: &'p Catalog,
        server_id: &str,
    ) -> Option<&'p Protection> {
        match catalog.server(server_id) {
            Some(server) => server.protection.as_ref(),
            None => self.protection.as_ref().filter(|_| server_id.is_empty()),
        }
    }

    /// What a request shows of its sender. A proxy's word excludes all else where it is taken; then
    /// what the caller sent on purpose goes before what their browser sends by itself.
    fn shown<'v>(&self, shard: &Shard, visit: &Visit<'v, 'v>) -> Result<Shown<'v>, Failure> {
        if let Some(header) = self.vouched.proxy_header() {
            return self.shown_by_proxy(header, shard, visit.request);
        }
        let Visit { request, .. } = visit;
        let mut values = request.head.fields().all(request.bytes, "authorization");
        let authorization = values.next();
        if values.next().is_some() {
            // A proxy in front may have looked at the other one.
            return Err(Failure::Malformed("Authorization must be sent once".to_owned()));
        }
        if let (Some(basic), Some(path)) = (&self.basic, visit.rest_path)
            && basic.is_for(path)
            && let Some(identified) = authorization.and_then(|value| basic.identify(value))
        {
            return identified.map(|claimed| Shown::Word(Rc::new(claimed))).map_err(|_| {
                let detail = "Invalid authentication credentials";
                Failure::Unauthorized { detail, challenge: basic::CHALLENGE }
            });
        }
        if let Some(claimed) = visit.certified.filter(|_| authorization.is_none()) {
            return Ok(Shown::Word(claimed.clone()));
        }
        let cookie = request.header("cookie").filter(|_| visit.rest_path.is_some());
        Ok(Shown::Token { authorization, cookie })
    }

    /// What a proxy says of the sender, if it is one that is trusted.
    fn shown_by_proxy<'v>(
        &self,
        header: &str,
        shard: &Shard,
        request: &Request<'v>,
    ) -> Result<Shown<'v>, Failure> {
        let refuse = |detail| Err(Failure::Unauthorized { detail, challenge: "Bearer" });
        let is_needed = shard.settings.auth.required;
        let is_trusted = self.proxies.trusts(request.peer.ip());
        let values = request.head.fields().all(request.bytes, header);
        match self.vouched.by_proxy(values) {
            Ok(claimed) if is_trusted => Ok(Shown::Word(Rc::new(claimed))),
            Err(Nobody::Absent) if !is_needed => {
                Ok(Shown::Token { authorization: None, cookie: None })
            }
            Err(Nobody::Absent) if is_trusted => refuse("Proxy authentication header required"),
            Err(Nobody::Absent) => {
                refuse("Proxy authentication required: come by a proxy of TRUSTED_PROXIES")
            }
            Err(Nobody::Unclear) if is_trusted => {
                refuse("Proxy authentication refused: the proxy names no user, or several")
            }
            _ => refuse("Proxy authentication refused: this address is not in TRUSTED_PROXIES"),
        }
    }

    fn challenge(&self, rest_path: Option<&str>) -> Option<&'static str> {
        let basic = self.basic.as_ref()?;
        rest_path.is_some_and(|path| basic.is_asked_at(path)).then_some(basic::CHALLENGE)
    }

    /// Refuses a change that a page of somebody else may have had the browser ask for.
    fn check_forgery(
        &self,
        caller: &Caller,
        cookies: &[u8],
        request: &Request<'_>,
    ) -> Result<(), Failure> {
        let is_safe = matches!(request.head.method(), Method::Get | Method::Head | Method::Options);
        if is_safe || !self.csrf.is_enabled() || credentials::cookie(cookies).is_none() {
            return Ok(());
        }
        let shown = request.header(self.csrf.header_name());
        let kept = cookie::find(cookies, self.csrf.cookie_name());
        let session = Session { email: &caller.email, id: caller.token_id.as_deref() };
        self.csrf.check(shown, kept, session, state::now()).map_err(|_| {
            let name = self.csrf.header_name();
            Failure::Forbidden(format!(
                "CSRF validation failed: send what GET /auth/csrf-token gives in {name}, with its \
                 cookie"
            ))
        })
    }
}
