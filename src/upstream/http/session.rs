//! The session of the legacy era: opened once for everybody who waits for it, and again when it is
//! lost.

use std::{cell::RefCell, rc::Rc};

use net::{
    client::{Deadline, Response},
    http1::encode,
    jsonrpc,
};
use shards::{local::Gate, task, time};

use super::{
    CLIENT_INFO, Call, Envelope, LEGACY_REVISION, Shared, answer, stream::Reader, wire::Shipment,
};
use crate::{
    failure::{Failure, UpstreamFailure, UpstreamKind},
    upstream::{Answer, Event, Outcome, Outgoing, Reply},
};

/// The revisions that have a handshake.
pub(in crate::upstream) const LEGACY_REVISIONS: [&str; 4] =
    ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// The lines of a legacy request before its session is open.
const LEGACY_LINES: &str =
    "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";

/// Most bytes of a session's id.
const ID_SIZE_MAX: usize = 1024;

/// A session that is open.
pub(super) struct Session {
    /// The lines of every request within it: types, its id, the revision.
    pub(super) lines: Vec<u8>,
    /// Whether the upstream gave it an id.
    pub(super) has_id: bool,
    /// The raw result of `initialize`; none from a server that does not know it.
    pub(super) initialize_result: Option<Vec<u8>>,
}

/// The session of a leg.
#[derive(Default)]
pub(super) struct Sessions(RefCell<State>);

#[derive(Default)]
enum State {
    #[default]
    None,
    Opening(Rc<Opening>),
    Open(Rc<Session>),
}

/// An attempt to open a session, and who waits for it.
#[derive(Default)]
struct Opening {
    done: Gate,
    outcome: RefCell<Option<Result<Rc<Session>, UpstreamFailure>>>,
}

impl Sessions {
    /// Returns the session, after opening it or waiting for who does.
    pub(super) async fn get(
        &self,
        shared: &Rc<Shared>,
        deadline: Deadline,
    ) -> Result<Rc<Session>, Failure> {
        let opening = match &*self.0.borrow() {
            State::Open(session) => return Ok(session.clone()),
            State::Opening(opening) => Some(opening.clone()),
            State::None => None,
        };
        let opening = opening.unwrap_or_else(|| self.begin(shared));
        if time::timeout(deadline.left(), opening.done.passed()).await.is_err() {
            let within = deadline.within();
            let detail = "its session was not open in time";
            return Err(shared.wire.failure(UpstreamKind::Timeout(within), detail, false));
        }
        let outcome = opening.outcome.borrow();
        outcome.clone().expect("the gate opens behind the outcome").map_err(Failure::Upstream)
    }

    /// Opens a session in a task of its own, so that nobody's impatience ends it for the others.
    fn begin(&self, shared: &Rc<Shared>) -> Rc<Opening> {
        let opening = Rc::new(Opening::default());
        *self.0.borrow_mut() = State::Opening(opening.clone());
        let (shared, result) = (shared.clone(), opening.clone());
        task::spawn(async move {
            let outcome = match task::guard(open(&shared)).await {
                Ok(outcome) => outcome.map_err(|failure| shared.session_failure(failure)),
                Err(panic) => Err(shared.session_failure(Failure::Internal(panic.0))),
            };
            *shared.sessions.0.borrow_mut() = match &outcome {
                Ok(session) => State::Open(session.clone()),
                Err(_) => State::None,
            };
            *result.outcome.borrow_mut() = Some(outcome);
            result.done.open();
        });
        opening
    }

    /// Forgets `session`, unless it was replaced already.
    pub(super) fn lose(&self, session: &Rc<Session>) {
        let mut state = self.0.borrow_mut();
        if matches!(&*state, State::Open(open) if Rc::ptr_eq(open, session)) {
            *state = State::None;
        }
    }

    /// Takes the session away, if one is open.
    pub(super) fn take(&self) -> Option<Rc<Session>> {
        let mut state = self.0.borrow_mut();
        match std::mem::take(&mut *state) {
            State::Open(session) => Some(session),
            other => {
                *state = other;
                None
            }
        }
    }
}

impl Shared {
    /// The failure to open a session: whatever it was, the request that wanted it was not sent.
    fn session_failure(&self, failure: Failure) -> UpstreamFailure {
        let nonsense = |text: String| self.wire.failure(UpstreamKind::Nonsense, text, false);
        let failure = match failure {
            upstream @ Failure::Upstream(_) => upstream,
            other => nonsense(format!("initialize: {other}")),
        };
        match failure {
            Failure::Upstream(failure) => UpstreamFailure { may_have_run: false, ..failure },
            other => unreachable!("made an upstream failure above: {other}"),
        }
    }
}

/// Shakes hands: `initialize`, then `notifications/initialized`.
async fn open(shared: &Rc<Shared>) -> Result<Rc<Session>, Failure> {
    let limits = &shared.wire.limits;
    let within = limits.connect_within + limits.first_byte_within;
    let deadline = Deadline::after(within);
    let params = initialize_params();
    let outgoing = plain("initialize", params.as_bytes(), within);
    let call = Call::legacy(shared.id(), &outgoing);
    let envelope = Envelope::Legacy(LEGACY_LINES.as_bytes());
    let write = |out: &mut Vec<u8>, path: &str| {
        call.write_request(out, path, shared.wire.lines(), &envelope);
    };
    let response = shared.wire.ship(Shipment::post(&write, true), deadline).await?;
    let id = session_id(shared, &response)?;
    let reply = read_reply(shared, response, &call).await?;
    let session = Rc::new(make_session(shared, id, &reply)?);
    if session.initialize_result.is_some() {
        let message = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
        shared.post(&session, message, deadline).await?;
    }
    Ok(session)
}

async fn read_reply(
    shared: &Rc<Shared>,
    response: Response,
    call: &Call<'_>,
) -> Result<Reply, Failure> {
    if !answer::is_event_stream(&response) {
        return answer::read(&shared.wire, response, call.id(), false).await;
    }
    let reader = Reader::new(shared, None, call, response, None)?;
    match reader.begin().await? {
        Answer::Whole(reply) => Ok(reply),
        Answer::Stream(mut stream) => loop {
            if let Event::Reply(reply) = stream.next().await? {
                return Ok(reply);
            }
        },
    }
}

fn session_id(shared: &Shared, response: &Response) -> Result<Option<Vec<u8>>, Failure> {
    let Some(id) = response.header("mcp-session-id") else { return Ok(None) };
    let is_valid = !id.is_empty() && id.len() <= ID_SIZE_MAX && id.iter().all(u8::is_ascii_graphic);
    if !is_valid {
        let detail = "the id of its session is empty, too long or not visible ASCII";
        return Err(shared.wire.failure(UpstreamKind::Nonsense, detail, false));
    }
    Ok(Some(id.to_vec()))
}

fn make_session(shared: &Shared, id: Option<Vec<u8>>, reply: &Reply) -> Result<Session, Failure> {
    let mut lines = LEGACY_LINES.as_bytes().to_vec();
    let has_id = id.is_some();
    if let Some(id) = id {
        encode::header(&mut lines, "mcp-session-id", &id);
    }
    let revision = revision(reply).map_err(|detail| {
        shared.wire.failure(UpstreamKind::Nonsense, format!("initialize: {detail}"), false)
    })?;
    if let Some(revision) = revision {
        encode::header(&mut lines, "mcp-protocol-version", revision.as_bytes());
    }
    let initialize_result = revision.map(|_| reply.raw().to_vec());
    Ok(Session { lines, has_id, initialize_result })
}

/// Returns the revision that the upstream chose in its answer to `initialize`; none if it does not
/// know the method, as plain JSON-RPC servers do not.
pub(in crate::upstream) fn revision(reply: &Reply) -> Result<Option<&'static str>, String> {
    let raw = std::str::from_utf8(reply.raw()).map_err(|error| error.to_string())?;
    if reply.outcome == Outcome::Error {
        let error = jsonrpc::ErrorParts::parse(raw).map_err(|error| error.to_string())?;
        return match error.code {
            -32601 => Ok(None),
            code => {
                Err(format!("it answered error {code}, {}", answer::show(error.message.as_bytes())))
            }
        };
    }
    let [version] = jsonrpc::pick(raw, ["protocolVersion"]).map_err(|error| error.to_string())?;
    let version = version.map(|place| place.of_text(raw)).unwrap_or("nothing");
    let known = LEGACY_REVISIONS.iter().find(|known| version.trim_matches('"') == **known);
    match known {
        Some(known) => Ok(Some(known)),
        None => Err(format!("it chose the revision {}", answer::show(version.as_bytes()))),
    }
}

/// What `initialize` says of us: nothing that a server could ask of a client is offered.
pub(in crate::upstream) fn initialize_params() -> String {
    format!(
        "{{\"protocolVersion\":\"{LEGACY_REVISION}\",\"capabilities\":{{}},\
         \"clientInfo\":{CLIENT_INFO}}}"
    )
}

/// A request of our own.
pub(in crate::upstream) fn plain<'a>(
    method: &'a str,
    params: &'a [u8],
    within: std::time::Duration,
) -> Outgoing<'a> {
    Outgoing {
        method,
        params,
        edits: Vec::new(),
        meta: None,
        progress_token: None,
        name: None,
        param_headers: Vec::new(),
        modern: false,
        within,
    }
}
