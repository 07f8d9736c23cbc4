//! Opening a stream: GET it, learn where to post, shake hands.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use net::{
    client::{Deadline, Streaming},
    http1::{Method, encode},
    sse::{Decoder, SseLimits},
};
use shards::{local::Gate, task, watch};

use super::{Link, SessionKey, Ticket, reader};
use crate::{
    failure::{Failure, UpstreamKind},
    upstream::{
        Event, Reply,
        discover::plain,
        http::{
            Call, answer,
            errand::Errands,
            session::{initialize_params, revision},
            wire::{Shipment, Wire, target},
        },
    },
};

/// Most bytes of the text of a refusal that are read.
const REFUSAL_SIZE_MAX: usize = 64 * 1024;

/// Opens a stream and the session on it.
pub(super) async fn open(
    wire: Rc<Wire>,
    errands: Rc<Errands>,
    key: SessionKey,
    next_id: &Cell<u64>,
    deadline: Deadline,
) -> Result<Rc<Link>, Failure> {
    let mut streaming = get(&wire, deadline).await?;
    let size_max = wire.limits.answer_size_max;
    let mut decoder = Decoder::new(SseLimits { line_size_max: size_max, event_size_max: size_max });
    let (endpoint, rest) = read_endpoint(&wire, &mut streaming, &mut decoder).await?;
    let link = Rc::new(Link {
        wire,
        key,
        endpoint,
        closing: Gate::default(),
        ended: RefCell::default(),
        gone: Gate::default(),
        ear: RefCell::default(),
        heard_ms: Cell::new(watch::clock_ms()),
        waiters: RefCell::default(),
        errands,
        initialize_result: RefCell::default(),
    });
    streaming.unbound();
    task::spawn(reader::run(link.clone(), streaming, decoder, rest));
    let outcome = shake_hands(&link, next_id, deadline).await;
    if outcome.is_err() {
        link.closing.open();
    }
    outcome.map(|()| link)
}

async fn get(wire: &Wire, deadline: Deadline) -> Result<Streaming, Failure> {
    let write = |out: &mut Vec<u8>, path: &str| {
        encode::begin_request(out, "GET", path);
        out.extend_from_slice(wire.lines());
        encode::lines(out, "accept: text/event-stream\r\ncache-control: no-store\r\n");
        encode::end(out);
    };
    let shipment = Shipment::post(&write, true).with_method(Method::Get).apart();
    let response = wire.ship(shipment, deadline).await?;
    if answer::is_event_stream(&response) {
        return response.stream(usize::MAX).map_err(|error| wire.broken(&error));
    }
    let status = response.status();
    let body = response.whole(REFUSAL_SIZE_MAX).await;
    let text = body.map_or_else(|error| error.to_string(), |body| answer::show(body.data()));
    if (200..300).contains(&status) {
        let detail = format!("its answer is no stream of events: {text}");
        return Err(wire.failure(UpstreamKind::Nonsense, detail, false));
    }
    Err(wire.failure(UpstreamKind::Status(status), text, false))
}

/// Reads up to the first event, which says where messages are posted. What came behind it is
/// returned too.
async fn read_endpoint(
    wire: &Wire,
    streaming: &mut Streaming,
    decoder: &mut Decoder,
) -> Result<(Rc<str>, Vec<u8>), Failure> {
    let nonsense = |detail: String| wire.failure(UpstreamKind::Nonsense, detail, false);
    loop {
        let mut found = None;
        let more = streaming.next(|mut bytes| {
            if let Some(Ok((_, rest))) = &mut found {
                let rest: &mut Vec<u8> = rest;
                return rest.extend_from_slice(bytes);
            }
            match decoder.next(&mut bytes) {
                Ok(None) => {}
                Ok(Some(event)) if event.name == b"endpoint" => {
                    let data = String::from_utf8_lossy(event.data).into_owned();
                    found = Some(Ok((data, bytes.to_vec())));
                }
                Ok(Some(_)) => {
                    found = Some(Err("its stream does not begin with an endpoint".to_owned()));
                }
                Err(error) => found = Some(Err(error.to_string())),
            }
        });
        let more = more.await.map_err(|error| wire.broken(&error))?;
        match found {
            Some(Ok((endpoint, rest))) => return Ok((resolve(wire, &endpoint)?, rest)),
            Some(Err(detail)) => return Err(nonsense(detail)),
            None if more => {}
            None => return Err(nonsense("its stream ended without an endpoint".to_owned())),
        }
    }
}

/// The target of posts; it must be of the stream's own origin.
fn resolve(wire: &Wire, endpoint: &str) -> Result<Rc<str>, Failure> {
    let url = wire.url();
    match url.join(endpoint.trim()) {
        Ok(joined) if joined.origin() == url.origin() => Ok(target(&joined)),
        _ => {
            let endpoint = answer::show(endpoint.as_bytes());
            let detail = format!("it wants messages posted to another origin, {endpoint}");
            Err(wire.failure(UpstreamKind::Refused, detail, false))
        }
    }
}

async fn shake_hands(
    link: &Rc<Link>,
    next_id: &Cell<u64>,
    deadline: Deadline,
) -> Result<(), Failure> {
    let id = next_id.get();
    next_id.set(id + 1);
    let params = initialize_params(link.key.declared());
    let outgoing = plain("initialize", params.as_bytes(), deadline.within());
    let reply = ask(link, &Call::legacy(id, &outgoing), deadline).await?;
    let nonsense = |detail: String| {
        link.wire.failure(UpstreamKind::Nonsense, format!("initialize: {detail}"), false)
    };
    if revision(&reply).map_err(nonsense)?.is_none() {
        return Err(nonsense("it does not know the method".to_owned()));
    }
    *link.initialize_result.borrow_mut() = reply.raw().to_vec();
    let message = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
    link.post(message, deadline).await
}

async fn ask(link: &Rc<Link>, call: &Call<'_>, deadline: Deadline) -> Result<Reply, Failure> {
    let mut ticket = Ticket::new(link, call, deadline)?;
    // A handshake is not cancelled; the whole stream is closed instead.
    ticket.is_settled = true;
    link.post_call(call, deadline).await?;
    ticket.is_settled = false;
    loop {
        let outcome = ticket.wait().await;
        ticket.is_settled = outcome.is_err() || ticket.is_settled;
        if let Event::Reply(reply) = outcome? {
            return Ok(reply);
        }
    }
}
