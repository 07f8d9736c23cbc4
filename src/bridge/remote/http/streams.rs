//! The streams of a far end over streamable HTTP: answers that come as one, and what it says by
//! itself. Both are resumed where they broke off.

use std::{rc::Rc, time::Duration};

use net::{client::Response, http1::encode};
use shards::{task, time};

use super::{Http, Trouble};
use crate::{
    bridge::{
        message::{self, Reply},
        remote::{
            events::{Events, Mark},
            get,
            letter::Letter,
            session::Session,
            text,
        },
    },
    upstream::http::answer::is_event_stream,
};

/// How often in a row a stream is resumed without a message coming by it.
const RESUME_COUNT_MAX: usize = 5;

/// The pause before a stream is opened again, unless the far end says another.
const RETRY: Duration = Duration::from_secs(1);

/// The longest pause while the far end cannot be reached.
const RETRY_MAX: Duration = Duration::from_secs(30);

impl Http {
    /// Reads a stream up to the answer. A stream of the handshake era that breaks off is resumed
    /// where the far end gave it ids.
    pub(super) async fn read_events(
        &self,
        letter: &Letter,
        session: Option<&Rc<Session>>,
        response: Response,
    ) -> Result<Vec<u8>, Trouble> {
        let mut events = Events::new(response, Mark::default()).map_err(Trouble::Other)?;
        let mut resume_count = 0;
        loop {
            let trouble = match self.next(&mut events, letter.is_endless()).await {
                Ok(Some(message)) if message::reply(&message) == Reply::To(&letter.id) => {
                    events.finish();
                    return Ok(message);
                }
                Ok(Some(message)) => {
                    resume_count = 0;
                    self.outlet.send(&message).await;
                    continue;
                }
                Ok(None) => Trouble::Other("the stream ended before the answer".to_owned()),
                Err(Trouble::Late(within)) => return Err(Trouble::Late(within)),
                Err(trouble) => trouble,
            };
            let Some(session) = session.filter(|_| events.mark.id.is_some()) else {
                return Err(trouble);
            };
            if resume_count == RESUME_COUNT_MAX {
                return Err(trouble);
            }
            resume_count += 1;
            time::sleep(events.mark.retry.unwrap_or(RETRY)).await;
            if let Some(resumed) = self.resume(session, &events.mark).await? {
                events = resumed;
            }
        }
    }

    /// Waits for the next message of a stream, for as long as there are signs of life.
    async fn next(
        &self,
        events: &mut Events,
        is_endless: bool,
    ) -> Result<Option<Vec<u8>>, Trouble> {
        loop {
            let event = match is_endless {
                true => events.next().await,
                false => time::timeout(self.within, events.next())
                    .await
                    .map_err(|_| Trouble::Late(self.within))?,
            };
            match event.map_err(Trouble::Other)? {
                Some(Some(event)) if !event.is_endpoint => return Ok(Some(event.data)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Opens a stream where it broke off; nothing while the far end cannot be reached.
    async fn resume(&self, session: &Session, mark: &Mark) -> Result<Option<Events>, Trouble> {
        let mut lines = session.lines.clone();
        if let Some(id) = &mark.id {
            encode::header(&mut lines, "last-event-id", id);
        }
        let response = match get(&self.wire, &lines, self.within).await {
            Ok(response) => response,
            Err(failure) => {
                tracing::debug!("a stream is not resumed yet: {}", text(&failure));
                return Ok(None);
            }
        };
        if !is_event_stream(&response) {
            let status = response.status();
            return match status {
                404 if session.has_id => Err(Trouble::SessionLost),
                500.. => Ok(None),
                _ => Err(Trouble::Other(format!("a stream was refused with status {status}"))),
            };
        }
        Events::new(response, mark.clone()).map(Some).map_err(Trouble::Other)
    }

    /// Follows the stream of what the far end says by itself, for as long as the session lasts.
    pub(super) fn listen(self: &Rc<Self>) {
        let Some(session) = self.session.borrow().clone() else { return };
        let http = self.clone();
        task::spawn(async move {
            let lost = session.closing.unless(http.follow(&session)).await;
            if let Some(true) = lost
                && let Err(trouble) = http.renew(&session).await
            {
                tracing::warn!("{}", trouble.text());
            }
        });
    }

    /// Follows the stream until the far end has none, or lost the session, which is told.
    async fn follow(&self, session: &Session) -> bool {
        let (mut mark, mut pause) = (Mark::default(), RETRY);
        loop {
            match self.resume(session, &mark).await {
                Err(Trouble::SessionLost) => return true,
                Err(trouble) => {
                    tracing::debug!("{}", trouble.text());
                    return false;
                }
                Ok(None) => pause = (pause * 2).min(RETRY_MAX),
                Ok(Some(mut events)) => {
                    while let Ok(Some(message)) = self.next(&mut events, true).await {
                        self.outlet.send(&message).await;
                    }
                    mark = events.mark;
                    pause = mark.retry.unwrap_or(RETRY);
                }
            }
            time::sleep(pause).await;
        }
    }
}
