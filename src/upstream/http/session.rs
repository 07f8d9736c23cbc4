//! The session of the legacy era.

use std::rc::Rc;

use net::{
    client::{Deadline, Response},
    http1::encode,
    jsonrpc,
};

use super::{
    CLIENT_INFO, Call, Envelope, LEGACY_REVISION, Shared, answer, aside::Aside, stream::Reader,
    wire::Shipment,
};
use crate::{
    failure::{Failure, UpstreamKind},
    mcp::Capabilities,
    observe::held::{Hold, Kind},
    upstream::{Answer, Event, Outcome, Reply, discover::plain, keyed::SessionKey, levels::Levels},
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
    /// Those of its streams: its id and the revision.
    pub(super) stream_lines: Vec<u8>,
    /// Whether the upstream gave it an id.
    pub(super) has_id: bool,
    /// The raw result of `initialize`; none from a server that does not know it.
    pub(super) initialize_result: Option<Vec<u8>>,
    /// Of log messages.
    pub(super) levels: Levels,
    /// What comes by the stream that belongs to no request.
    pub(super) aside: Rc<Aside>,
    _hold: Hold,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.aside.end();
    }
}

/// Shakes hands: `initialize`, then `notifications/initialized`.
pub(super) async fn open(
    shared: Rc<Shared>,
    key: SessionKey,
    deadline: Deadline,
) -> Result<Rc<Session>, Failure> {
    let shared = &shared;
    let params = initialize_params(key.capabilities);
    let outgoing = plain("initialize", params.as_bytes(), deadline.within());
    let call = Call::legacy(shared.id(), &outgoing);
    let envelope = Envelope::Legacy(LEGACY_LINES.as_bytes());
    let write = |out: &mut Vec<u8>, path: &str| {
        call.write_request(out, path, shared.wire.lines(), &envelope);
    };
    let response = shared.wire.ship(Shipment::post(&write, true), deadline).await?;
    let id = session_id(shared, &response)?;
    let reply = read_reply(shared, response, &call, deadline).await?;
    let session = Rc::new(make_session(shared, &key, id, &reply)?);
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
    deadline: Deadline,
) -> Result<Reply, Failure> {
    if !answer::is_event_stream(&response) {
        return answer::read(&shared.wire, response, call.id(), false).await;
    }
    let reader = Reader::new(shared, None, call.heading(), response, None, deadline)?;
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

fn make_session(
    shared: &Shared,
    key: &SessionKey,
    id: Option<Vec<u8>>,
    reply: &Reply,
) -> Result<Session, Failure> {
    let mut stream_lines = Vec::new();
    let has_id = id.is_some();
    if let Some(id) = id {
        encode::header(&mut stream_lines, "mcp-session-id", &id);
    }
    let revision = revision(reply).map_err(|detail| {
        shared.wire.failure(UpstreamKind::Nonsense, format!("initialize: {detail}"), false)
    })?;
    if let Some(revision) = revision {
        encode::header(&mut stream_lines, "mcp-protocol-version", revision.as_bytes());
    }
    let lines = [LEGACY_LINES.as_bytes(), &stream_lines].concat();
    let initialize_result = revision.map(|_| reply.raw().to_vec());
    let levels = Levels::of_initialize(initialize_result.as_deref().unwrap_or_default());
    let (aside, _hold) = (Aside::new(key), Kind::UpstreamSession.hold());
    Ok(Session { lines, stream_lines, has_id, initialize_result, levels, aside, _hold })
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

/// What `initialize` says of us: we can do what the client can for whom we ask.
pub(in crate::upstream) fn initialize_params(capabilities: Capabilities) -> String {
    let capabilities = capabilities.to_json();
    format!(
        "{{\"protocolVersion\":\"{LEGACY_REVISION}\",\"capabilities\":{capabilities},\
         \"clientInfo\":{CLIENT_INFO}}}"
    )
}
