//! A call during which more is listened to than its answer: what the upstream says by the stream of the
//! session.

use std::{pin::Pin, rc::Rc};

use net::client::Deadline;
use shards::{
    local::{Bell, Gate},
    task, time,
};

use super::{Arrived, Call, Cancel, Heading, Session, Shared, stream::Reader, wire::Shipment};
use crate::{
    failure::{Failure, UpstreamKind},
    upstream::{Answer, Event, EventSource, Stream, waiters::Waiter, watch::AGES},
};

impl Shared {
    /// Calls as [`Shared::call`] does, and gives the client what the upstream says meanwhile.
    pub(super) async fn attend(
        self: &Rc<Self>,
        call: &Call<'_>,
        session: &Rc<Session>,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let waiter = Waiter::new(call);
        session.aside.waiters.enter(call.id(), waiter.clone());
        let going = Rc::new(Going { waiter, room: Bell::default(), over: Gate::default() });
        let (shared, session) = (self.clone(), session.clone());
        let mut attended = Attended {
            shared,
            session,
            id: call.id(),
            going,
            deadline,
            first: None,
            is_settled: false,
        };
        self.listen_aside(&attended.session).await;
        attended.begin(call);
        match attended.read().await? {
            Event::Reply(reply) => Ok(Answer::Whole(reply)),
            event => {
                attended.first = Some(event);
                Ok(Answer::Stream(Stream::new(Box::new(attended))))
            }
        }
    }

    /// Sends a call and gives its waiter everything that is answered, the reply included.
    async fn answer_to_waiter(
        self: &Rc<Self>,
        session: &Rc<Session>,
        heading: Heading,
        body: &[u8],
        going: &Going,
    ) -> Result<Event, Failure> {
        let write = self.posting(session, body);
        let mut cancel = Some(Cancel::new(self, session, heading.id, false));
        let shipment = Shipment::post(&write, heading.is_harmless_twice);
        // Who waits has a limit.
        let deadline = Deadline::after(AGES);
        let arrived = self.exchange(heading.id, Some(session), shipment, deadline).await;
        let reader = match arrived {
            Ok(Arrived::Streaming(response)) => {
                let (session, cancel) = (Some(session.clone()), cancel.take());
                Reader::new(self, session, heading, response, cancel, deadline)
            }
            Ok(Arrived::Whole(reply)) => {
                cancel.into_iter().for_each(Cancel::disarm);
                return Ok(Event::Reply(reply));
            }
            Err(failure) => Err(failure),
        };
        cancel.into_iter().for_each(|cancel| cancel.settle(reader.as_ref().err()));
        let mut reader = reader?;
        loop {
            match reader.next().await? {
                Event::Reply(reply) => return Ok(Event::Reply(reply)),
                event => {
                    while going.waiter.is_full() {
                        going.room.wait().await;
                    }
                    going.waiter.push(Ok(event));
                }
            }
        }
    }
}

/// A call on its way, in a task of its own.
struct Going {
    waiter: Rc<Waiter>,
    /// Rung when something was taken.
    room: Bell,
    /// Opened when nobody waits for it any more.
    over: Gate,
}

/// Who waits for that.
struct Attended {
    shared: Rc<Shared>,
    session: Rc<Session>,
    id: u64,
    going: Rc<Going>,
    deadline: Deadline,
    /// What was read to find out that the answer is a stream.
    first: Option<Event>,
    is_settled: bool,
}

impl Attended {
    fn begin(&self, call: &Call<'_>) {
        let (shared, session, going) =
            (self.shared.clone(), self.session.clone(), self.going.clone());
        let heading = call.heading();
        let mut body = Vec::with_capacity(call.body_size());
        call.write_body(&mut body);
        task::spawn(async move {
            let answering = shared.answer_to_waiter(&session, heading, &body, &going);
            if let Some(outcome) = going.over.unless(Box::pin(answering)).await {
                going.waiter.push(outcome);
            }
        });
    }

    async fn read(&mut self) -> Result<Event, Failure> {
        let going = &self.going;
        loop {
            if let Some(event) = going.waiter.pop() {
                going.room.ring();
                match &event {
                    // Who is asked decides how long it takes.
                    Ok(Event::Question(_)) => {
                        self.deadline.extend(self.shared.wire.limits.answer_within);
                    }
                    Ok(Event::Notification(_)) => {}
                    Ok(Event::Reply(_)) | Err(_) => self.is_settled = true,
                }
                return event;
            }
            let left = self.deadline.left();
            if self.is_settled || time::timeout(left, going.waiter.bell.wait()).await.is_err() {
                let kind = UpstreamKind::Timeout(self.deadline.within());
                return Err(self.shared.wire.failure(kind, "no answer came", true));
            }
        }
    }
}

impl EventSource for Attended {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Event, Failure>> + '_>> {
        Box::pin(async move {
            match self.first.take() {
                Some(event) => Ok(event),
                None => self.read().await,
            }
        })
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.session.aside.waiters.leave(self.id);
        if task::is_running() {
            // Dropped before its answer came, it cancels the request.
            self.going.over.open();
        }
    }
}
