//! The far end over HTTP+SSE, the transport of revision 2024-11-05: one stream down, one POST per
//! message up. The stream is the session: when it ends, so does the bridge.

use std::{cell::RefCell, rc::Rc, time::Duration};

use net::{
    client::Deadline,
    http1::encode,
    jsonrpc::{EnvelopeLimits, Message, MessageKind, Param},
};
use shards::{local::Gate, task, time};

use super::{
    events::{Events, Mark},
    pending::Pending,
    text,
};
use crate::{
    bridge::{
        BridgeError, MESSAGE_SIZE_MAX,
        local::Outlet,
        message::{self, Reply, UNREACHED},
        relay::RelayOptions,
    },
    upstream::http::{
        answer::{is_event_stream, show},
        wire::{Shipment, Wire, target},
    },
};

/// How often connecting is tried.
const TRY_COUNT_MAX: u32 = 5;

/// The pause after the first try that failed; it doubles with each that follows.
const PAUSE: Duration = Duration::from_secs(1);

/// A far end over HTTP+SSE.
pub(in crate::bridge) struct Sse {
    wire: Wire,
    outlet: Rc<Outlet>,
    within: Duration,
    endpoint: RefCell<Rc<str>>,
    pending: Pending,
    /// Open once the far end has closed its stream.
    pub(in crate::bridge) ended: Gate,
}

impl Sse {
    /// Connects, and waits until the far end said where to post.
    pub(in crate::bridge) async fn open(
        options: &RelayOptions,
        outlet: Rc<Outlet>,
    ) -> Result<Rc<Sse>, BridgeError> {
        let sse = Rc::new(Sse {
            wire: super::wire(&options.url, &options.headers, options.timeout)?,
            outlet,
            within: options.timeout,
            endpoint: RefCell::new("/".into()),
            pending: Pending::default(),
            ended: Gate::default(),
        });
        let mut pause = PAUSE;
        for attempt in 1.. {
            match sse.connect().await {
                Ok(events) => {
                    task::spawn(sse.clone().follow(events));
                    break;
                }
                Err(error) if attempt == TRY_COUNT_MAX => return Err(BridgeError(error)),
                Err(error) => tracing::warn!("{error}; trying again in {pause:?}"),
            }
            time::sleep(pause).await;
            pause *= 2;
        }
        Ok(sse)
    }

    async fn connect(&self) -> Result<Events, String> {
        let response = super::get(&self.wire, b"", self.within).await;
        let response = response.map_err(|failure| text(&failure))?;
        if !is_event_stream(&response) {
            return Err(format!("the server answered with status {}", response.status()));
        }
        let mut events = Events::new(response, Mark::default())?;
        let endpoint = async {
            loop {
                match events.next().await? {
                    Some(Some(event)) if event.is_endpoint => return Ok(event.data),
                    Some(_) => {}
                    None => return Err("the stream ended without an endpoint".to_owned()),
                }
            }
        };
        let endpoint = time::timeout(self.within, endpoint).await;
        let endpoint = endpoint.map_err(|_| "the stream names no endpoint".to_owned())??;
        let url = self.wire.url();
        match url.join(String::from_utf8_lossy(&endpoint).trim()) {
            Ok(joined) if joined.origin() == url.origin() => {
                self.endpoint.replace(target(&joined));
                Ok(events)
            }
            _ => Err(format!("the server wants posts to another origin, {}", show(&endpoint))),
        }
    }

    /// Hands on what the far end says, to its end.
    async fn follow(self: Rc<Self>, mut events: Events) {
        while let Ok(Some(event)) = events.next().await {
            let Some(event) = event.filter(|event| !event.is_endpoint) else { continue };
            self.outlet.send(&event.data).await;
            if let Reply::To(id) = message::reply(&event.data) {
                self.pending.end(id);
            }
        }
        for id in self.pending.take_all() {
            let answer = message::error(Some(&id), UNREACHED, "the server closed its stream");
            self.outlet.send(&answer).await;
        }
        self.ended.open();
    }

    /// Takes a message of the local end; each is posted before the next is taken.
    pub(in crate::bridge) async fn take(&self, line: &[u8]) {
        // What is no message of ours to judge, as a batch, goes on as it is.
        let message = Message::parse(line, &EnvelopeLimits::default());
        if let Err(error) = &message
            && error.code() == -32700
        {
            let answer = message::error(None, error.code(), &error.to_string());
            return self.outlet.send(&answer).await;
        }
        let message = message.ok();
        let id = message.as_ref().filter(|message| message.kind() == MessageKind::Request);
        let id = id.and_then(|message| message.id());
        if let Some(id) = id
            && let Err(text) = self.pending.begin(id, false, false)
        {
            return self.outlet.send(&message::error(Some(id), UNREACHED, &text)).await;
        }
        if let Some(message) = &message
            && message.method() == "notifications/cancelled"
            && let Some(id) = message.param(Param::RequestId)
        {
            self.pending.end(id);
        }
        let Err(text) = self.post(line).await else { return };
        tracing::warn!("{text}");
        if let Some(id) = id.filter(|id| self.pending.end(id)) {
            self.outlet.send(&message::error(Some(id), UNREACHED, &text)).await;
        }
    }

    async fn post(&self, body: &[u8]) -> Result<(), String> {
        let write = |out: &mut Vec<u8>, path: &str| {
            encode::begin_request(out, "POST", path);
            out.extend_from_slice(self.wire.lines());
            encode::lines(out, "content-type: application/json\r\naccept: application/json\r\n");
            encode::content_length(out, body.len());
            encode::end(out);
            out.extend_from_slice(body);
        };
        let shipment = Shipment::post(&write, false).to(self.endpoint.borrow().clone());
        let response = self.wire.ship(shipment, Deadline::after(self.within)).await;
        let response = response.map_err(|failure| text(&failure))?;
        let status = response.status();
        let body = response.whole(MESSAGE_SIZE_MAX).await;
        match body {
            Ok(_) if status < 300 => Ok(()),
            Ok(body) => {
                Err(format!("the server answered with status {status}: {}", show(body.data())))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits for the answers under way, unless `at_once`, for as long as one may take.
    pub(in crate::bridge) async fn finish(&self, at_once: bool) {
        if !at_once && time::timeout(self.within, self.pending.settled()).await.is_err() {
            for id in self.pending.take_all() {
                let text = format!("no answer came within {:?}", self.within);
                self.outlet.send(&message::error(Some(&id), UNREACHED, &text)).await;
            }
        }
    }
}
