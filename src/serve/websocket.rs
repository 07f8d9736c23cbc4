//! A WebSocket as a conversation: each text is a message, and the connection is the session.

use std::{future::Future, net::IpAddr, pin::Pin, rc::Rc, time::Duration};

use net::{
    connection::Connection,
    http1::server::Takeover,
    websocket::{Closing, Incoming, Socket},
};
use shards::{
    local::{First, first_of},
    time::Instant,
};

use crate::{
    auth::Caller,
    serve::conversation::{Ending, Out, Outlet},
    state::Shard,
    throttle::Tier,
};

/// The subprotocol that clients of MCP offer.
pub const SUBPROTOCOL: &str = "mcp";

/// The gateway stops.
const STOPPING: Closing = Closing { code: 1001, reason: "The gateway stops" };

/// The client may not go on.
const REFUSED: Closing = Closing { code: 1008, reason: "The token is good no more" };

/// A conversation that is about to get its connection.
pub struct Talk {
    shard: Rc<Shard>,
    outlet: Outlet,
    ip: IpAddr,
    /// Whose messages are counted.
    email: Option<String>,
    heard_at: Instant,
    /// The client was asked for a sign of life, and gave none since.
    is_asked: bool,
}

impl Talk {
    /// Has `caller` talk, who came from `ip`.
    pub fn new(shard: &Rc<Shard>, outlet: Outlet, caller: &Caller, ip: IpAddr) -> Talk {
        let email = (*caller != Caller::nobody()).then(|| caller.email.clone());
        let (shard, heard_at) = (shard.clone(), Instant::now());
        Talk { shard, outlet, ip, email, heard_at, is_asked: false }
    }

    /// Talks until one side ends it; gives the words to end it with, if it can hear them.
    async fn talk(&mut self, socket: &mut Socket<'_>) -> Option<Closing> {
        loop {
            while let Some(message) = self.outlet.try_next() {
                socket.send(message).await.ok()?;
            }
            match socket.take() {
                Ok(Some(incoming)) => {
                    (self.heard_at, self.is_asked) = (Instant::now(), false);
                    match incoming {
                        Incoming::Message(message) => self.take(message).await,
                        Incoming::Sign => socket.flush().await.ok()?,
                        Incoming::Close(_) => {
                            let _ = socket.flush().await;
                            return None;
                        }
                    }
                    continue;
                }
                Ok(None) => {}
                Err(closing) => return Some(closing),
            }
            match first_of(self.outlet.next(self.patience()), socket.receive()).await {
                First::One(Out::Message(message)) => socket.send(message).await.ok()?,
                First::One(Out::Silence) => self.ask_for_life(socket).await?,
                First::One(Out::End(Ending::Draining)) => return Some(STOPPING),
                First::One(Out::End(Ending::Refused)) => return Some(REFUSED),
                First::One(Out::End(Ending::Deaf)) => return None,
                First::Other(Ok(true)) => {}
                First::Other(Ok(false) | Err(_)) => return None,
            }
        }
    }

    /// Hands a message over, unless the client sends too many.
    async fn take(&self, message: Vec<u8>) {
        let conversation = self.outlet.conversation();
        let throttle = &self.shard.throttle;
        if let Some(limit) = throttle.tier(Tier::Medium) {
            let counted = throttle.request(limit, self.email.as_deref(), self.ip);
            if let Err(failure) = Box::pin(counted).await {
                return conversation.refuse(&message, &failure);
            }
        }
        if let Err(failure) = conversation.take(message, self.ip) {
            tracing::debug!(%failure, "a message of a client was not taken");
        }
    }

    /// How long to wait until the client must be asked for a sign of life, or is given up.
    fn patience(&self) -> Duration {
        let interval = self.shard.settings.http.websocket_ping;
        if interval.is_zero() {
            return Duration::MAX;
        }
        let limit = if self.is_asked { interval * 2 } else { interval };
        limit.saturating_sub(self.heard_at.elapsed())
    }

    /// Asks for a sign of life if it is time to; `None` if there was none when it was asked before.
    async fn ask_for_life(&mut self, socket: &mut Socket<'_>) -> Option<()> {
        if !self.patience().is_zero() {
            return Some(());
        }
        if self.is_asked {
            return None;
        }
        self.is_asked = true;
        socket.ping().await.ok()
    }
}

impl Takeover for Talk {
    fn run<'a>(
        mut self: Box<Self>,
        connection: &'a mut Connection,
        early: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            let http = &self.shard.settings.http;
            let (size_max, write_within) = (http.body_size_max, http.write_timeout);
            let mut socket = Socket::new(connection, early, size_max, write_within);
            let closing = self.talk(&mut socket).await;
            // Nothing runs on while the client is told.
            drop(self);
            if let Some(closing) = closing {
                socket.close(closing).await;
            }
        })
    }
}
