//! Connections that are sessions of their clients: their streams, and what is posted to those.

use net::http1::server::{Request, Responder};

use super::{Front, log_failure, write_rest_failure};
use crate::{
    auth::Caller,
    failure::Failure,
    mcp::Transport,
    reply,
    serve::{conversation::Partner, sse},
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
        let base = self.facts.door.base.of(Some(&self.client(request)));
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
            Ok(()) => super::write_json(responder, 202, sse::TAKEN),
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
        if let Err(error) = net::jsonrpc::Message::parse(body, &self.shard.options.envelope) {
            return Err(Failure::protocol(400, error.code(), error.to_string()));
        }
        let (sender, ip) = (sse::owner(caller, server_id), self.client(request).ip);
        self.shard.conversing.post(&id, &sender, body, ip).await
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
