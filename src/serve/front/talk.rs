//! Connections that are sessions of their clients: their streams, and what is posted to those.

use net::{
    http1::server::{Request, Responder},
    websocket::{self as wire, NoSocket},
};
use storage::record::new_id;

use super::{Front, log_failure, write_json, write_rest_failure};
use crate::{
    auth::Caller,
    failure::Failure,
    mcp::Transport,
    reply,
    serve::{
        batch,
        conversation::{Conversation, Partner},
        sse,
        websocket::{SUBPROTOCOL, Talk},
    },
    throttle::Tier,
};

impl Front {
    /// Answers GET: the stream of HTTP+SSE.
    pub(super) async fn open_sse(
        &self,
        request: &Request<'_>,
        server_id: &str,
        caller: &Caller,
        responder: &mut Responder,
    ) {
        if let Err(failure) = self.limit(request, Tier::Medium, caller).await {
            return write_rest_failure(responder, &failure);
        }
        let base = self.facts.door.base.reached_by(&self.client(request));
        let partner = self.partner(request, server_id, caller, Transport::Sse);
        match sse::open(&self.shard, partner, caller, &base) {
            Ok(stream) => {
                responder.cancel_on_disconnect();
                responder.begin(200);
                responder.lines(reply::EVENTS);
                responder.lines(sse::HEAD);
                responder.finish_stream(stream);
            }
            Err(failure) => write_rest_failure(responder, &failure),
        }
    }

    /// Answers POST: a message for a stream of HTTP+SSE, by which its answer comes.
    pub(super) async fn take_message(
        &self,
        request: &Request<'_>,
        server_id: &str,
        caller: &Caller,
        body: &[u8],
        responder: &mut Responder,
    ) {
        match self.hand_over(request, server_id, caller, body).await {
            Ok(()) => write_json(responder, 202, sse::TAKEN),
            Err(failure @ Failure::Protocol(_)) => {
                log_failure(&failure);
                reply::write_failure(responder, None, &failure, true);
            }
            Err(failure) => write_rest_failure(responder, &failure),
        }
    }

    async fn hand_over(
        &self,
        request: &Request<'_>,
        server_id: &str,
        caller: &Caller,
        body: &[u8],
    ) -> Result<(), Failure> {
        self.limit(request, Tier::Medium, caller).await?;
        let id = sse::session_id(request.query())?;
        let envelope = &self.shard.options.envelope;
        if !batch::is_batch(body)
            && let Err(error) = net::jsonrpc::Message::parse(body, envelope)
        {
            return Err(Failure::protocol(400, error.code(), error.to_string()));
        }
        let (sender, ip) = (sse::owner(caller, server_id), self.client(request).ip);
        self.shard.conversing.post(&id, &sender, body, ip).await
    }

    /// Answers GET: opens a WebSocket.
    pub(super) async fn open_socket(
        &self,
        request: &Request<'_>,
        server_id: &str,
        caller: &Caller,
        responder: &mut Responder,
    ) {
        let accepted = match wire::accept(request) {
            Ok(accepted) => accepted,
            Err(refusal) => return write_no_socket(responder, refusal),
        };
        if let Err(failure) = self.limit(request, Tier::Medium, caller).await {
            return write_rest_failure(responder, &failure);
        }
        let partner = self.partner(request, server_id, caller, Transport::WebSocket);
        let outlet = match Conversation::begin(&self.shard, partner, &new_id()) {
            Ok(outlet) => outlet,
            Err(failure) => return write_rest_failure(responder, &failure),
        };
        let talk = Talk::new(&self.shard, outlet, caller, self.client(request).ip);
        responder.begin(101);
        responder.lines("upgrade: websocket\r\nconnection: Upgrade\r\n");
        responder.header("sec-websocket-accept", accepted.as_bytes());
        if wire::offers(request, SUBPROTOCOL) {
            responder.header("sec-websocket-protocol", SUBPROTOCOL.as_bytes());
        }
        responder.finish_takeover(Box::new(talk));
    }

    /// Who opened a connection that is a session.
    fn partner(
        &self,
        request: &Request<'_>,
        server_id: &str,
        caller: &Caller,
        transport: Transport,
    ) -> Partner {
        Partner {
            identify: self.identify_again(request, server_id, caller),
            email: caller.email.clone(),
            server_id: server_id.to_owned(),
            transport,
            user_agent: request.header("user-agent").map(<[u8]>::to_vec),
        }
    }
}

/// Answers who asked for no socket, where there is nothing else.
fn write_no_socket(responder: &mut Responder, refusal: NoSocket) {
    let (status, lines, text) = match refusal {
        NoSocket::NotAsked => (426, "upgrade: websocket\r\n", "Ask for a WebSocket"),
        NoSocket::Version => {
            (426, "sec-websocket-version: 13\r\n", "Only version 13 of WebSockets is spoken")
        }
        NoSocket::Malformed => {
            (400, "", "Sec-WebSocket-Key must be there once: 16 bytes in base64")
        }
    };
    let body = serde_json::json!({"detail": text}).to_string();
    responder.begin(status);
    responder.lines(lines);
    responder.lines("content-type: application/json\r\n");
    responder.finish(&[body.as_bytes()]);
}
