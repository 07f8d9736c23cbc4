//! HTTP+SSE: one stream down, one POST per message up.

use std::{collections::VecDeque, rc::Rc};

use net::{
    client::{Deadline, Streaming},
    http1::{Method, encode},
    sse::{Decoder, SseLimits},
};
use shards::{task, watch};

use super::{
    Link, WayUp,
    dispatch::dispatch,
    open::{Opening, refusal},
};
use crate::{
    failure::{Failure, UpstreamFailure, UpstreamKind},
    upstream::{
        http::{
            Call, answer, errand, is_kind,
            stream::decode,
            wire::{Shipment, Wire, target},
        },
        watch::Pace,
    },
};

/// Opens a stream and learns where to post.
pub(super) async fn open(opening: Opening, deadline: Deadline) -> Result<Rc<Link>, Failure> {
    let wire = opening.wire.clone();
    let mut streaming = get(&wire, deadline).await?;
    let size_max = wire.limits.answer_size_max;
    let mut decoder = Decoder::new(SseLimits { line_size_max: size_max, event_size_max: size_max });
    let (endpoint, rest) = read_endpoint(&wire, &mut streaming, &mut decoder).await?;
    let link = opening.link(WayUp::Posts(endpoint));
    streaming.unbound();
    task::spawn(run(link.clone(), streaming, decoder, rest));
    Ok(link)
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
    Err(refusal(wire, response, "its answer is no stream of events").await)
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

/// Posts a request. Its answer comes by the stream.
pub(super) async fn post_call(
    wire: &Wire,
    endpoint: &Rc<str>,
    call: &Call<'_>,
    deadline: Deadline,
) -> Result<(), Failure> {
    let write = |out: &mut Vec<u8>, path: &str| {
        write_head(wire, out, path, call.body_size());
        call.write_body(out);
    };
    // The stream would carry the answer twice, so nothing is repeated here.
    let shipment = Shipment::post(&write, false).to(endpoint.clone());
    match errand::post(wire, shipment, deadline).await {
        Err(failure) if is_kind(&failure, UpstreamKind::Status(404)) => {
            let detail = "it does not know its session any more";
            Err(wire.failure(UpstreamKind::SessionLost, detail, false))
        }
        outcome => outcome,
    }
}

/// Posts a message that is no request.
pub(super) async fn post(
    wire: &Wire,
    endpoint: &Rc<str>,
    message: &[u8],
    deadline: Deadline,
) -> Result<(), Failure> {
    let write = |out: &mut Vec<u8>, path: &str| {
        write_head(wire, out, path, message.len());
        out.extend_from_slice(message);
    };
    errand::post(wire, Shipment::post(&write, true).to(endpoint.clone()), deadline).await
}

fn write_head(wire: &Wire, out: &mut Vec<u8>, path: &str, body_size: usize) {
    encode::begin_request(out, "POST", path);
    out.extend_from_slice(wire.lines());
    encode::lines(out, "content-type: application/json\r\naccept: application/json\r\n");
    encode::content_length(out, body_size);
    encode::end(out);
}

/// Reads until the stream ends or is closed. `rest` was read already.
async fn run(link: Rc<Link>, mut streaming: Streaming, mut decoder: Decoder, rest: Vec<u8>) {
    // Also after a panic, those who wait must hear of it.
    let ended = task::guard(read(&link, &mut streaming, &mut decoder, rest)).await;
    let failure = match ended {
        Ok(Failure::Upstream(failure)) => UpstreamFailure { may_have_run: true, ..failure },
        Ok(other) => link.wire.upstream_failure(UpstreamKind::Broken, other.to_string(), true),
        Err(panic) => link.wire.upstream_failure(UpstreamKind::Broken, panic.0, true),
    };
    link.end(failure);
}

async fn read(
    link: &Rc<Link>,
    streaming: &mut Streaming,
    decoder: &mut Decoder,
    rest: Vec<u8>,
) -> Failure {
    let (mut arrived, mut pace) = (VecDeque::new(), Pace::new());
    let mut refused = decode(decoder, &rest, &mut arrived).err();
    loop {
        // Only what serves no requests can be held back.
        if link.ear.borrow().is_some() {
            pace.note(arrived.len()).await;
        }
        for message in arrived.drain(..) {
            dispatch(link, message);
        }
        if let Some(error) = refused {
            return link.wire.failure(UpstreamKind::TooLarge, error.to_string(), true);
        }
        let next = streaming.next(|bytes| {
            if let Err(error) = decode(decoder, bytes, &mut arrived) {
                refused = Some(error);
            }
        });
        match link.closing.unless(next).await {
            None => return link.wire.failure(UpstreamKind::Broken, "its stream was closed", true),
            Some(Err(error)) => return link.wire.broken(&error),
            Some(Ok(false)) if arrived.is_empty() => {
                return link.wire.failure(UpstreamKind::Broken, "its stream ended", true);
            }
            Some(Ok(_)) => link.heard_ms.set(watch::clock_ms()),
        }
    }
}
