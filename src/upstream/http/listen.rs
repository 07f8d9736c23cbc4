//! Listening to what an upstream over streamable HTTP says by itself.

use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use net::{
    client::{Deadline, Streaming},
    sse::{Decoder, SseLimits},
};
use shards::{buffer, time};
use storage::record::Era;

use super::{
    Call, Envelope, HttpLeg, Session, Shared,
    answer::{self, Message},
    is_kind,
    stream::{Mark, decode_marking},
    wire::Shipment,
};
use crate::{
    failure::{Failure, UpstreamKind},
    upstream::{
        Answer, Event,
        discover::plain,
        keyed::SessionKey,
        watch::{
            Deaf, Ear, First, GATHER, MESSAGE_SIZE_MAX, Pace, Told, WITHIN, attend, can_subscribe,
            first_of, knows_none, listen_params, withheld,
        },
    },
};

/// How old a subscription of the modern era may become: one that nobody is behind any more looks like
/// one on which nothing happens, so it is opened anew, before the former is closed.
const RENEWAL: Duration = Duration::from_secs(10 * 60);

/// The pause after a renewal that failed, while the former subscription goes on.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);

/// A stream that lasted as long was none of those that an upstream closes at once.
pub(super) const STEADY: Duration = Duration::from_secs(10);

/// To what a stream belongs.
enum Side<'a> {
    /// A session of the legacy era.
    Session(&'a Rc<Session>),
    /// A subscription of the modern one, to these resources.
    Subscription(&'a BTreeSet<String>),
}

impl HttpLeg {
    /// Listens to what the upstream says by itself, until that ends. The leg should serve nothing else,
    /// since its session is subscribed to resources.
    ///
    /// # Errors
    ///
    /// Why it ended, or did not begin: try again later.
    pub async fn watch(&self, ear: &Ear) -> Result<Deaf, Failure> {
        match self.0.era {
            // On the heap, as all that is large and lasts.
            Era::Legacy => Box::pin(self.0.watch_session(ear)).await,
            Era::Modern => Box::pin(self.0.watch_subscription(ear)).await,
        }
    }
}

impl Shared {
    async fn watch_session(self: &Rc<Self>, ear: &Ear) -> Result<Deaf, Failure> {
        let session = self.session(&SessionKey::default(), Deadline::after(WITHIN)).await?;
        let streaming = match self.follow(&session, b"", Deadline::after(WITHIN)).await {
            Ok(streaming) => streaming,
            Err(failure) if has_none(&failure) => return Ok(Deaf),
            Err(failure) => return Err(failure),
        };
        ear.hear(Told::Began);
        let subscribes = session.initialize_result.as_deref().is_some_and(can_subscribe);
        let ask = async |method: &'static str, params: String| {
            self.ask_in(&session, method, &params).await
        };
        let reading = Box::pin(self.read_session(&session, streaming, ear));
        match first_of(reading, Box::pin(attend(ear, subscribes, ask))).await {
            First::One(failure) | First::Other(failure) => Err(failure),
        }
    }

    /// Reads the stream of a session, which may be closed and opened again at any time.
    async fn read_session(
        self: &Rc<Self>,
        session: &Rc<Session>,
        mut streaming: Streaming,
        ear: &Ear,
    ) -> Failure {
        let (mut mark, mut count) = (Mark::default(), 0);
        loop {
            let began = Instant::now();
            let ended = self.listen(Side::Session(session), &mut streaming, &mut mark, ear).await;
            if !is_kind(&ended, UpstreamKind::Broken) {
                return ended;
            }
            count = if began.elapsed() >= STEADY { 0 } else { count + 1 };
            time::sleep(mark.pause(count)).await;
            streaming = match self.follow(session, &mark.id, Deadline::after(WITHIN)).await {
                Ok(streaming) => streaming,
                Err(failure) => return failure,
            };
            if mark.id.is_empty() {
                ear.hear(Told::Began);
            }
        }
    }

    async fn watch_subscription(self: &Rc<Self>, ear: &Ear) -> Result<Deaf, Failure> {
        let mut uris = ear.uris();
        let Some(mut streaming) = self.subscribe(&uris).await? else { return Ok(Deaf) };
        ear.hear(Told::Began);
        let mut mark = Mark::default();
        loop {
            let listening = self.listen(Side::Subscription(&uris), &mut streaming, &mut mark, ear);
            match first_of(listening, Box::pin(self.renewed(&uris, ear))).await {
                First::One(failure) => return Err(failure),
                First::Other(renewed) => (uris, streaming) = renewed,
            }
        }
    }

    /// Waits until other URIs than `uris` are wanted, or the subscription is old, and opens another.
    async fn renewed(&self, uris: &BTreeSet<String>, ear: &Ear) -> (BTreeSet<String>, Streaming) {
        let mut within = RENEWAL;
        loop {
            let is_old = time::timeout(within, ear.bell.wait()).await.is_err();
            time::sleep(GATHER).await;
            let wanted = ear.uris();
            if !is_old && wanted == *uris {
                continue;
            }
            match self.subscribe(&wanted).await {
                Ok(Some(streaming)) => return (wanted, streaming),
                Ok(None) => tracing::debug!("an upstream refuses a subscription that it had"),
                Err(failure) => tracing::debug!(%failure, "a subscription is not renewed"),
            }
            within = RENEWAL_PAUSE;
        }
    }

    /// Opens a subscription to all lists and to these resources; nothing if the upstream has none.
    async fn subscribe(&self, uris: &BTreeSet<String>) -> Result<Option<Streaming>, Failure> {
        let params = listen_params(uris);
        let outgoing = plain("subscriptions/listen", params.as_bytes(), WITHIN);
        let call = Call::modern(self.id(), &outgoing);
        let write = |out: &mut Vec<u8>, path: &str| {
            call.write_request(out, path, self.wire.lines(), &Envelope::Modern);
        };
        let shipment = Shipment::post(&write, true).apart();
        let response = self.wire.ship(shipment, Deadline::after(WITHIN)).await?;
        if answer::is_event_stream(&response) {
            return response.stream(usize::MAX).map(Some).map_err(|error| self.wire.broken(&error));
        }
        match answer::read(&self.wire, response, call.id(), false).await {
            Ok(reply) if knows_none(&reply) => Ok(None),
            Ok(_) => Err(self.over("it ends subscriptions at once")),
            Err(failure) if has_none(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Listens to a stream to its end; says why it ended.
    async fn listen(
        self: &Rc<Self>,
        side: Side<'_>,
        streaming: &mut Streaming,
        mark: &mut Mark,
        ear: &Ear,
    ) -> Failure {
        let size_max = MESSAGE_SIZE_MAX.min(self.wire.limits.answer_size_max);
        let limits = SseLimits { line_size_max: size_max, event_size_max: size_max };
        let (mut decoder, mut arrived) = (Decoder::new(limits), VecDeque::new());
        let mut pace = Pace::new();
        streaming.unbound();
        loop {
            let mut refused = None;
            let more = streaming.next(|bytes| {
                refused = decode_marking(&mut decoder, bytes, &mut arrived, mark).err();
            });
            let more = more.await;
            pace.note(arrived.len()).await;
            for message in arrived.drain(..) {
                let is_over = self.take(&side, &message, ear);
                buffer::give(message);
                if is_over {
                    return self.over("it ended the subscription");
                }
            }
            match (more, refused) {
                (_, Some(error)) => {
                    let kind = UpstreamKind::TooLarge;
                    return self.wire.failure(kind, error.to_string(), false);
                }
                (Err(error), None) => return self.wire.broken(&error),
                (Ok(false), None) => return self.over("the stream ended"),
                (Ok(true), None) => {}
            }
        }
    }

    /// Takes one message; returns true if nothing comes after it.
    fn take(self: &Rc<Self>, side: &Side<'_>, message: &[u8], ear: &Ear) -> bool {
        match (self.wire.message(message), side) {
            (Ok(Message::Notification), Side::Session(_)) => ear.take(message),
            (Ok(Message::Notification), Side::Subscription(uris)) => {
                let withheld = withheld(message, uris);
                if !withheld.is_empty() {
                    tracing::debug!(?withheld, "an upstream does not tell of resources");
                }
                ear.take(message);
            }
            (Ok(Message::Request { id, method, .. }), Side::Session(session)) => {
                self.answer(session, &id, method == "ping");
            }
            (Ok(Message::Reply { .. }), Side::Subscription(_)) => return true,
            (Ok(_), _) => {}
            (Err(failure), _) => tracing::debug!(%failure, "a message of an upstream is dropped"),
        }
        false
    }

    /// Asks something within a session; an error that is answered is an answer too.
    async fn ask_in(
        self: &Rc<Self>,
        session: &Rc<Session>,
        method: &str,
        params: &str,
    ) -> Result<(), Failure> {
        let outgoing = plain(method, params.as_bytes(), WITHIN);
        let call = Call::legacy(self.id(), &outgoing);
        let mut answer = match self.call(&call, Some(session), Deadline::after(WITHIN)).await {
            Err(Failure::Protocol(_)) => return Ok(()),
            answer => answer?,
        };
        loop {
            match answer {
                Answer::Whole(reply) => {
                    buffer::give(reply.bytes);
                    return Ok(());
                }
                Answer::Stream(ref mut stream) => {
                    if let Event::Reply(reply) = stream.next().await? {
                        answer = Answer::Whole(reply);
                    }
                }
            }
        }
    }

    fn over(&self, detail: &str) -> Failure {
        self.wire.failure(UpstreamKind::Broken, detail, false)
    }
}

/// Whether a failure says that there is no such stream, as opposed to none now: a proxy before an
/// upstream that starts answers 404 as well.
fn has_none(failure: &Failure) -> bool {
    is_kind(failure, UpstreamKind::Status(405)) || is_kind(failure, UpstreamKind::Status(501))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io::Write, net::TcpStream};

    use serde_json::{Value, json};
    use shards::task;

    use super::*;
    use crate::upstream::http::tests::{
        EVENTS, Fake, JSON, Seen, answer, chunk, error, on_each_driver, result, shake_hands,
    };

    /// What was heard, and who hears it.
    type Heard = (Rc<RefCell<Vec<Told>>>, Rc<Ear>);

    fn ear(uris: &Rc<RefCell<BTreeSet<String>>>) -> Heard {
        let heard = Rc::<RefCell<Vec<Told>>>::default();
        let (sink, uris) = (heard.clone(), uris.clone());
        let ear = Ear::new(move |told| sink.borrow_mut().push(told), move || uris.borrow().clone());
        (heard, Rc::new(ear))
    }

    fn leg(fake: &Fake, era: Era) -> HttpLeg {
        HttpLeg::new(&fake.upstream("/mcp"), era, fake.setup()).expect("a leg")
    }

    fn watch(fake: &Fake, era: Era, ear: &Rc<Ear>) -> task::Task<Result<Deaf, Failure>> {
        let (leg, ear) = (leg(fake, era), ear.clone());
        task::spawn(async move { leg.watch(&ear).await })
    }

    fn say(to: &mut TcpStream, id: &str, method: &str, params: &Value) {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        chunk(to, &format!("{id}data: {message}\n\n"));
    }

    fn is_stream(seen: &Seen) -> bool {
        seen.head.starts_with("get /mcp ")
    }

    const CHANGED: &str = "notifications/tools/list_changed";

    async fn until(heard: &Heard, expected: &[Told]) {
        while *heard.0.borrow() != expected {
            time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[test]
    fn goes_on_behind_the_last_event_when_the_stream_of_a_session_is_closed() {
        on_each_driver(|| async {
            let fake = Fake::new(|seen, to| {
                if shake_hands(seen, to, "s") {
                    return;
                }
                let _ = to.write_all(EVENTS.as_bytes());
                if seen.has("last-event-id: one") {
                    return say(to, "", CHANGED, &json!({}));
                }
                say(to, "id: one\nretry: 1\n", CHANGED, &json!({}));
                chunk(to, "");
            });
            let heard = ear(&Rc::default());
            let _watching = watch(&fake, Era::Legacy, &heard.1);
            let changed = || Told::Changed(crate::mcp::Kind::Tools);
            // It is one watch all the time: nothing was missed.
            until(&heard, &[Told::Began, changed(), changed()]).await;
            let streams: Vec<_> = fake.seen().into_iter().filter(is_stream).collect();
            assert!(streams.iter().all(|seen| seen.has("mcp-session-id: s")));
            assert_eq!(streams.len(), 2);
        });
    }

    #[test]
    fn leaves_an_upstream_alone_that_has_nothing_to_say() {
        on_each_driver(|| async {
            let legacy = Fake::new(|seen, to| {
                if !shake_hands(seen, to, "s") {
                    answer(to, 405, "", "");
                }
            });
            let (heard, ear) = ear(&Rc::default());
            assert_eq!(leg(&legacy, Era::Legacy).watch(&ear).await.ok(), Some(Deaf));
            // The session that was opened for it is ended.
            legacy.wait_for(|seen| seen.head.starts_with("delete ")).await;
            let modern = Fake::new(|seen, to| {
                answer(to, 404, JSON, &error(seen.body["id"].clone(), -32601));
            });
            assert_eq!(leg(&modern, Era::Modern).watch(&ear).await.ok(), Some(Deaf));
            let starting = Fake::new(|_, to| answer(to, 404, "", "no such host"));
            assert!(leg(&starting, Era::Modern).watch(&ear).await.is_err());
            assert!(heard.borrow().is_empty());
        });
    }

    #[test]
    fn asks_anew_for_the_resources_that_are_wanted_before_it_leaves_the_former_subscription() {
        on_each_driver(|| async {
            let fake = Fake::new(|seen, to| {
                let _ = to.write_all(EVENTS.as_bytes());
                let wanted = &seen.body["params"]["notifications"];
                let promise = json!({"notifications": wanted});
                say(to, "", "notifications/subscriptions/acknowledged", &promise);
                if let Some(uri) = wanted["resourceSubscriptions"][0].as_str() {
                    say(to, "", "notifications/resources/updated", &json!({"uri": uri}));
                }
            });
            let uris = Rc::<RefCell<BTreeSet<String>>>::default();
            let heard = ear(&uris);
            let _watching = watch(&fake, Era::Modern, &heard.1);
            until(&heard, &[Told::Began]).await;
            uris.borrow_mut().insert("a://b".to_owned());
            heard.1.bell.ring();
            until(&heard, &[Told::Began, Told::Updated("a://b".to_owned())]).await;
            let seen = fake.seen();
            assert_eq!(fake.methods(), ["subscriptions/listen", "subscriptions/listen"]);
            assert!(seen[0].has("mcp-method: subscriptions/listen"));
            assert_eq!(seen[1].body["params"]["notifications"]["toolsListChanged"], true);
        });
    }

    #[test]
    fn keeps_a_session_subscribed_to_what_is_wanted() {
        on_each_driver(|| async {
            let fake = Fake::new(|seen, to| match seen.method() {
                "initialize" => {
                    let capabilities = json!({"resources": {"subscribe": true}});
                    let hello =
                        json!({"protocolVersion": "2025-11-25", "capabilities": capabilities});
                    answer(to, 200, JSON, &result(&seen.body["id"], hello));
                }
                "notifications/initialized" => answer(to, 202, "", ""),
                "" => drop(to.write_all(EVENTS.as_bytes())),
                _ => answer(to, 200, JSON, &result(&seen.body["id"], json!({}))),
            });
            let uris = Rc::new(RefCell::new(BTreeSet::from(["a".to_owned()])));
            let heard = ear(&uris);
            let watching = watch(&fake, Era::Legacy, &heard.1);
            fake.wait_for(|seen| seen.method() == "resources/subscribe").await;
            *uris.borrow_mut() = BTreeSet::from(["b".to_owned()]);
            heard.1.bell.ring();
            let of = |method: &'static str, uri: &'static str| {
                move |seen: &Seen| seen.method() == method && seen.body["params"]["uri"] == uri
            };
            fake.wait_for(of("resources/unsubscribe", "a")).await;
            fake.wait_for(of("resources/subscribe", "b")).await;
            drop(watching);
        });
    }

    #[test]
    fn gives_up_a_stream_with_a_message_that_is_too_large() {
        on_each_driver(|| async {
            let fake = Fake::new(|_, to| {
                let _ = to.write_all(EVENTS.as_bytes());
                chunk(to, &"x".repeat(MESSAGE_SIZE_MAX + 1));
            });
            let heard = ear(&Rc::default());
            let ended = watch(&fake, Era::Modern, &heard.1).join().await.expect("no panic");
            let failure = ended.expect_err("it ended");
            assert!(is_kind(&failure, UpstreamKind::TooLarge), "{failure}");
        });
    }
}
