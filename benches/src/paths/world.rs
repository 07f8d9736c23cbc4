//! A gateway without sockets: the rooms of the path as a shard puts them together, and upstreams
//! that answer from memory.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use net::http1::server::{Request, Responder};
use net::http1::{Framing, HeadLimits, Method, RequestHead, ResponseHead};
use net::jsonrpc::{self, EnvelopeLimits};
use ringway::auth::{self, Issuer, Verifier};
use ringway::catalog::{Catalog, Upstream};
use ringway::failure::Failure;
use ringway::gateway::{self, Parts};
use ringway::mcp::{HeaderSource, Pages, Transport};
use ringway::observe::audit::Trail;
use ringway::observe::meters::Meters;
use ringway::own::Prompts;
use ringway::policy::Book;
use ringway::reply::{self, Accepts};
use ringway::route::{self, Route};
use ringway::schema::Cache;
use ringway::settings::{self, Settings};
use ringway::state::Options;
use ringway::throttle::{Counts, Throttle};
use ringway::upstream::{self, Held, Outcome, Outgoing, Relay};
use shards::buffer;
use storage::record::{Era, Gateway, Ownership, Tool};
use storage::seal::Sealer;
use storage::{Change, Current};

use super::crowd;
use crate::upstream::{self as fake, Script, tool_definition};

/// Where the gateway would listen.
pub const HOST: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4444));
/// The time at which tokens are looked at, in seconds since the epoch.
pub const NOW: u64 = 1_800_000_000;
const JWT_SECRET_KEY: &str = "a-key-for-measurements-in-memory-only-0123456789";

/// What the upstreams speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstreams {
    /// The revision with sessions.
    Legacy,
    /// The revision without.
    Modern,
}

/// The parts of a shard that the path takes.
pub struct World {
    settings: Settings,
    origins: auth::Gate,
    verifier: Verifier,
    catalog: Catalog,
    pages: Pages,
    schemas: Cache,
    meters: Rc<Meters>,
    trail: Rc<Trail>,
    prompts: Prompts,
    policies: Rc<Book>,
    throttle: Throttle,
    options: Options,
    relay: Canned,
    head: RequestHead,
    limits: HeadLimits,
}

impl World {
    /// Builds a gateway with one upstream that has `tool_count` tools.
    pub fn new(tool_count: usize, upstreams: Upstreams) -> World {
        let records = records(tool_count, upstreams, |_| Ownership::default());
        World::of(records, upstreams)
    }

    /// Builds a gateway whose tools belong to teams, with `user_count` users in some of them.
    pub fn crowded(tool_count: usize, user_count: usize) -> World {
        let mut records = records(tool_count, Upstreams::Modern, crowd::ownership);
        records.extend(crowd::records(user_count));
        World::of(records, Upstreams::Modern)
    }

    fn of(records: Vec<Current>, upstreams: Upstreams) -> World {
        let overrides = [("JWT_SECRET_KEY", JWT_SECRET_KEY.to_owned())];
        let settings = settings::parse("", [], &overrides).expect("the settings are valid");
        let settings = settings.settings;
        let rules = auth::shared_rules(&settings).expect("the key is given");
        World {
            origins: auth::Gate::new(&settings),
            verifier: Verifier::new(&settings.auth, rules),
            catalog: catalog(records),
            pages: Pages::default(),
            schemas: Cache::new(settings.catalog.schema_count_max),
            trail: Rc::new(Trail::new(&settings.audit, || ())),
            meters: Rc::new(Meters::new(settings.metrics.entity_count_max, || ())),
            prompts: Prompts::new(settings.catalog.prompt_count_max),
            policies: Rc::default(),
            throttle: Throttle::new(&settings.rate_limits, Counts::new(&settings), None),
            options: Options::of(&settings),
            relay: Canned::new(upstreams),
            head: RequestHead::default(),
            limits: HeadLimits::default(),
            settings,
        }
    }

    /// An administrator's token.
    pub fn token(&self) -> String {
        self.issue(serde_json::json!({
            "sub": "admin@example.com", "username": "admin@example.com", "iat": NOW,
            "iss": self.settings.auth.issuer, "aud": self.settings.auth.audience,
            "jti": "0f8fad5b-d9cb-469f-a165-70867728950e", "teams": null,
            "user": {"email": "admin@example.com", "full_name": "CLI User", "is_admin": true},
        }))
    }

    /// The token of a login of one of the users.
    pub fn token_of(&self, user: usize) -> String {
        self.issue(serde_json::json!({
            "sub": crowd::email(user), "iat": NOW, "token_use": "session",
            "iss": self.settings.auth.issuer, "aud": self.settings.auth.audience,
            "jti": "1f8fad5b-d9cb-469f-a165-70867728950e",
        }))
    }

    fn issue(&self, claims: serde_json::Value) -> String {
        let claims = claims.as_object().expect("is written as an object").clone();
        let issuer = Issuer::load(&self.settings, self.settings.auth.algorithm, None);
        let issuer = issuer.expect("the key is given");
        issuer.issue(&claims).expect("the key fits the algorithm")
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The judge of tokens.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Answers the bytes of one request; gives the size of the answer.
    pub fn answer(&mut self, bytes: &[u8]) -> usize {
        self.respond(bytes).bytes().len()
    }

    /// Answers the bytes of one request; gives the answer.
    #[cfg(test)]
    pub fn answer_text(&mut self, bytes: &[u8]) -> String {
        String::from_utf8(self.respond(bytes).bytes().to_vec()).expect("answers are text")
    }

    /// What a connection does with a request and a shard's front with it, in their order.
    fn respond(&mut self, bytes: &[u8]) -> Responder {
        let size = self.head.parse(bytes, &self.limits).expect("the head is valid");
        let (head_bytes, body) = bytes.split_at(size.expect("the head is whole"));
        let request = Request { head: &self.head, bytes: head_bytes, peer: HOST, tls: false };
        let authority = request.head.authority(head_bytes).map(str::as_bytes);
        let admitted = self.origins.admit(authority, request.header("origin"));
        admitted.expect("the host is the gateway's own");
        let (transport, server_id) = match route::find(request.path(), "", true) {
            Some(Route::Mcp { server_id }) => (Transport::StreamableHttp, server_id),
            Some(Route::Rpc) => (Transport::Rpc, ""),
            other => unreachable!("{other:?} is not measured"),
        };
        let caller = self.verifier.identify(
            request.header("authorization"),
            None,
            || HOST.ip(),
            self.catalog.people(),
            NOW,
        );
        let caller = caller.expect("the token is good");
        let mut responder = Responder::new(&self.head, true, Rc::default());
        let accepts = Accepts::parse(request.header("accept"));
        let headers = Headers(&request);
        let rpc = gateway::Request {
            caller: &caller,
            client_ip: Some(HOST.ip()),
            server_id,
            transport,
            session: None,
            headers: &headers,
            accepts,
            body,
        };
        let parts = Parts {
            catalog: &self.catalog,
            pages: &self.pages,
            schemas: &self.schemas,
            prompts: &self.prompts,
            relay: &self.relay,
            meters: &self.meters,
            trail: &self.trail,
            policies: self.policies.clone(),
            throttle: &self.throttle,
            sessions: None,
            parking: None,
            options: &self.options,
        };
        let answered = at_once(gateway::answer(&parts, &rpc, &|_, _| {}));
        match answered.outcome {
            Ok(reply) => reply::write(&mut responder, answered.id, reply, accepts),
            Err(failure) => unreachable!("the request is answered, but: {failure}"),
        }
        responder
    }
}

/// Runs a future that has nothing to wait for.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("upstreams in memory answer at once"),
    }
}

/// An upstream and its tools, each of whom `ownership` says.
fn records(
    tool_count: usize,
    upstreams: Upstreams,
    ownership: impl Fn(usize) -> Ownership,
) -> Vec<Current> {
    let era = match upstreams {
        Upstreams::Legacy => Era::Legacy,
        Upstreams::Modern => Era::Modern,
    };
    let gateway = Gateway {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        name: "bench".to_owned(),
        slug: "bench".to_owned(),
        era: Some(era),
        ..Gateway::default()
    };
    let tools = (0..tool_count).map(|number| {
        Current::Tool(Arc::new(Tool {
            id: format!("{number:032x}"),
            gateway_id: Some(gateway.id.clone()),
            original_name: format!("tool_{number}"),
            name: format!("bench-tool-{number}"),
            definition: tool_definition(number),
            position: number as i64,
            ownership: ownership(number),
            ..Tool::default()
        }))
    });
    std::iter::once(Current::Gateway(Arc::new(gateway.clone()))).chain(tools).collect()
}

fn catalog(records: Vec<Current>) -> Catalog {
    let changes =
        records.into_iter().zip(1..).map(|(current, sequence)| Change { sequence, current });
    let mut catalog = Catalog::default();
    catalog.apply(changes.collect(), &Sealer::new("a secret for measurements in memory only"));
    catalog
}

/// The header fields of a request, as MCP looks at them.
struct Headers<'a>(&'a Request<'a>);

impl HeaderSource for Headers<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.header(name)
    }

    fn count(&self, name: &str) -> usize {
        self.0.head.fields().count(self.0.bytes, name)
    }

    fn sole(&self, name: &str) -> Option<&[u8]> {
        self.0.head.fields().sole(self.0.bytes, name)
    }
}

/// Upstreams that always answer a call with the same bytes.
///
/// The params are written as they would be sent, and the answer is read as if it had just come:
/// head, envelope, place of the result.
struct Canned {
    answer: Vec<u8>,
    limits: HeadLimits,
    envelope: EnvelopeLimits,
}

impl Canned {
    fn new(upstreams: Upstreams) -> Canned {
        let script = Script::new(&fake::Options::default());
        let call = crate::suite::cases::call("tool_7", "");
        let revision = match upstreams {
            Upstreams::Legacy => fake::REVISION_LEGACY,
            Upstreams::Modern => fake::REVISION_MODERN,
        };
        let mut answer = Vec::new();
        let request = fake::Request {
            verb: "POST",
            revision: Some(revision.as_bytes()),
            body: call.as_bytes(),
            ..fake::Request::default()
        };
        script.answer(&request, &mut answer);
        let (limits, envelope) = (HeadLimits::default(), EnvelopeLimits::default());
        Canned { answer, limits, envelope }
    }
}

impl Relay for Canned {
    fn hold(&self, _: &Arc<Upstream>) -> Result<Box<dyn Held>, Failure> {
        unreachable!("nothing here is asked twice")
    }

    async fn request(
        &self,
        _: &Arc<Upstream>,
        outgoing: &Outgoing<'_>,
    ) -> Result<upstream::Answer, Failure> {
        let mut sent = buffer::take();
        outgoing.write_params(&mut sent);
        buffer::give(sent);
        let mut bytes = buffer::take();
        bytes.extend_from_slice(&self.answer);
        let mut head = ResponseHead::default();
        let size = head.parse(&bytes, &self.limits, Method::Post);
        let size = size.expect("the head is valid").expect("the head is whole");
        assert!(matches!(head.framing(), Framing::Length(_)), "the answer says its length");
        let answer = jsonrpc::Answer::parse(&bytes[size..], &self.envelope);
        let place = answer.expect("the answer is valid").result_place();
        let span = place.expect("the answer has a result").shifted(size);
        Ok(upstream::Answer::Whole(upstream::Reply { bytes, span, outcome: Outcome::Result }))
    }

    async fn call_rest(&self, _: &upstream::rest::RestCall<'_>) -> Result<Vec<u8>, Failure> {
        unreachable!("every tool of this world has an upstream")
    }

    async fn call_agent(&self, _: &upstream::a2a::AgentCall<'_>) -> Result<Vec<u8>, Failure> {
        unreachable!("every tool of this world has an upstream")
    }
}
