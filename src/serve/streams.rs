//! The stream that GET opens: what the client of a session is told without having asked.

use std::{collections::BTreeSet, future::Future, pin::Pin, rc::Rc, time::Duration};

use net::{http1::server::BodyStream, jsonrpc, sse};
use serde_json::json;

use crate::{
    failure::Failure,
    mcp::{LEGACY, ServerInfo},
    observe::held::{Hold, Kind},
    reply::Filter,
    serve::{
        changes::Identify,
        feed::{Feed, Heard, Lists, News},
        replay::Resumed,
        task_news::TaskNews,
    },
    session::{EventId, Session, Sessions},
    state::Shard,
};

/// Opens the stream of a session, or takes up one that broke off behind the event `last`.
///
/// # Errors
///
/// 503 if as many streams are open on this shard as may be; 404 if the session's endpoint is not
/// there any more.
pub async fn open(
    shard: &Rc<Shard>,
    session: &Rc<Session>,
    last: Option<&str>,
    identify: Identify,
) -> Result<Box<dyn BodyStream>, Failure> {
    let place = Place::take(shard, Kind::GetStream)?;
    if let Some(id) = last.and_then(EventId::parse)
        && let Some(resumed) = Resumed::open(shard, session, id).await
    {
        return Ok(Box::new(Placed { stream: resumed, _place: place }));
    }
    let sessions = shard.sessions.clone().ok_or_else(gone)?;
    let listening = shard.listeners.listen(Some(&session.ticket.key));
    sessions.take_over(session, &listening).await;
    let mut feed =
        Feed::new(shard, listening, identify, &session.ticket.server_id).ok_or_else(gone)?;
    if let Some(former) = last.and_then(read_lists) {
        feed.lists = former;
    }
    let stream = SessionStream {
        feed,
        sessions,
        session: session.clone(),
        keepalive: shard.settings.http.sse_keepalive,
        retry_ms: Some(shard.settings.sessions.retry_ms as u64),
    };
    Ok(Box::new(Placed { stream, _place: place }))
}

fn gone() -> Failure {
    Failure::NotFound("Not Found".to_owned())
}

/// A place among the streams of a shard.
pub struct Place {
    shard: Rc<Shard>,
    _hold: Hold,
}

impl Place {
    /// Takes a place for a stream of this kind.
    ///
    /// # Errors
    ///
    /// 503 if there is none.
    pub fn take(shard: &Rc<Shard>, kind: Kind) -> Result<Place, Failure> {
        let open = &shard.stream_count;
        if open.get() >= shard.settings.http.stream_count_max {
            kind.refuse();
            let text = "As many streams are open as STREAMS_MAX allows; try again";
            return Err(Failure::Busy(text.to_owned()));
        }
        open.set(open.get() + 1);
        Ok(Place { shard: shard.clone(), _hold: kind.hold() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = &self.shard.stream_count;
        open.set(open.get() - 1);
    }
}

/// A stream that has a place.
struct Placed<S> {
    stream: S,
    _place: Place,
}

impl<S: BodyStream> BodyStream for Placed<S> {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        self.stream.next(out)
    }
}

/// The stream of a session.
struct SessionStream {
    feed: Feed,
    sessions: Rc<Sessions>,
    session: Rc<Session>,
    keepalive: Duration,
    /// Taken when the stream was begun.
    retry_ms: Option<u64>,
}

impl SessionStream {
    async fn wait(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(retry_ms) = self.retry_ms.take() {
            // Clients and proxies take a stream for open once something came.
            sse::retry(out, retry_ms);
            if self.session.ticket.revision == LEGACY[0] {
                sse::encode(out, None, Some(&write_lists(self.feed.lists)), b"");
            } else {
                sse::comment(out);
            }
            return true;
        }
        let patience = if self.keepalive.is_zero() { Duration::MAX } else { self.keepalive };
        loop {
            let wishes = self.sessions.wishes(&self.session).await;
            match self.feed.wait(patience, &wishes.uris).await {
                Heard::End => return false,
                Heard::Silence => {
                    sse::comment(out);
                    return true;
                }
                Heard::News(news) if news.is_empty() => {}
                Heard::News(news) => {
                    self.tell(&news, out);
                    return true;
                }
            }
        }
    }

    fn tell(&self, news: &[News], out: &mut Vec<u8>) {
        let id = write_lists(self.feed.lists);
        for one in news {
            sse::encode(out, Some("message"), Some(&id), &one.notification());
        }
    }
}

impl BodyStream for SessionStream {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(self.wait(out))
    }
}

/// Opens the stream of a client of the stateless revision that wants to hear of changes; `id` is the
/// raw id of its request, which every message of the stream names.
///
/// # Errors
///
/// As [`open`].
pub fn listen(
    shard: &Rc<Shard>,
    server_id: &str,
    id: &str,
    filter: Filter,
    identify: Identify,
) -> Result<Box<dyn BodyStream>, Failure> {
    let place = Place::take(shard, Kind::Listen)?;
    let listen = Listen::open(shard, server_id, id, filter, identify)?;
    let stream = ListenStream { listen, keepalive: shard.settings.http.sse_keepalive };
    Ok(Box::new(Placed { stream, _place: place }))
}

/// What a client listens to (2026-07-28, Subscriptions), whatever it comes by.
pub struct Listen {
    feed: Feed,
    filter: Filter,
    id: String,
    begun: bool,
    /// Of the tasks that are listened to, if there are any.
    tasks: Option<Box<TaskNews>>,
    server: ServerInfo,
}

/// What waiting for something to tell such a client ended with.
pub enum Told {
    /// Whole messages.
    Messages(Vec<Vec<u8>>),
    /// Nothing, for so long that the client should see a sign of life.
    Silence,
    /// The answer to its request: there will be no more.
    End(Vec<u8>),
}

impl Listen {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// 404 if the endpoint is not there for the caller.
    pub fn open(
        shard: &Rc<Shard>,
        server_id: &str,
        id: &str,
        filter: Filter,
        identify: Identify,
    ) -> Result<Listen, Failure> {
        let listening = shard.listeners.listen(None);
        let listener = listening.listener();
        let follow = |ids: &BTreeSet<String>| {
            let ids = ids.iter().cloned();
            Box::new(TaskNews::follow(shard, server_id, ids, &identify, &listener))
        };
        let tasks = Some(&filter.tasks).filter(|ids| !ids.is_empty()).map(follow);
        let feed = Feed::new(shard, listening, identify, server_id).ok_or_else(gone)?;
        let server = shard.options.server.clone();
        Ok(Listen { feed, filter, id: id.to_owned(), begun: false, tasks, server })
    }

    /// Waits for something to tell, for `patience` at most. Dropping the future loses nothing.
    pub async fn next(&mut self, patience: Duration) -> Told {
        if !std::mem::replace(&mut self.begun, true) {
            let honoured = format!("\"notifications\":{},", self.filter.to_json());
            let first = self.message("notifications/subscriptions/acknowledged", &honoured);
            return Told::Messages(vec![first]);
        }
        loop {
            let tasks = self.tasks.iter().flat_map(|tasks| tasks.take());
            let tasks: Vec<_> =
                tasks.map(|members| self.message("notifications/tasks", &members)).collect();
            if !tasks.is_empty() {
                return Told::Messages(tasks);
            }
            match self.feed.wait(patience, &self.filter.uris).await {
                Heard::End => return Told::End(self.result()),
                Heard::Silence => return Told::Silence,
                Heard::News(news) => {
                    let wanted = news.iter().filter(|one| self.wants(one));
                    let messages: Vec<_> = wanted.map(|one| self.tell(one)).collect();
                    if !messages.is_empty() {
                        return Told::Messages(messages);
                    }
                }
            }
        }
    }

    fn wants(&self, news: &News) -> bool {
        match news {
            News::Tools => self.filter.tools,
            News::Prompts => self.filter.prompts,
            News::Resources => self.filter.resources,
            News::Updated(_) => true,
        }
    }

    fn tell(&self, news: &News) -> Vec<u8> {
        let (method, uri) = news.message();
        let uri = uri.map(|uri| format!("\"uri\":{},", json!(uri)));
        self.message(method, &uri.unwrap_or_default())
    }

    /// A notification; `members` are those of its params besides `_meta`, each with a comma.
    fn message(&self, method: &str, members: &str) -> Vec<u8> {
        let id = &self.id;
        let message = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\
             \"params\":{{{members}\"_meta\":{{\"{SUBSCRIPTION}\":{id}}}}}}}"
        );
        message.into_bytes()
    }

    fn result(&self) -> Vec<u8> {
        let id = &self.id;
        let server = self.server.member();
        let result = format!(
            "{{\"resultType\":\"complete\",\"_meta\":{{\"{SUBSCRIPTION}\":{id},{server}}}}}"
        );
        let mut message = Vec::new();
        jsonrpc::result(&mut message, id, &result);
        message
    }
}

/// The same as events.
struct ListenStream {
    listen: Listen,
    keepalive: Duration,
}

impl ListenStream {
    async fn wait(&mut self, out: &mut Vec<u8>) -> bool {
        let patience = if self.keepalive.is_zero() { Duration::MAX } else { self.keepalive };
        let mut write = |message: &[u8]| sse::encode(out, Some("message"), None, message);
        match self.listen.next(patience).await {
            Told::Messages(messages) => messages.iter().for_each(|message| write(message)),
            Told::Silence => sse::comment(out),
            Told::End(result) => {
                write(&result);
                return false;
            }
        }
        true
    }
}

impl BodyStream for ListenStream {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(self.wait(out))
    }
}

/// Under which a message of such a stream names the request that it belongs to.
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// The id of an event of this stream says what the lists looked like then: whoever comes back with it
/// is told of those that changed since, wherever it comes.
fn write_lists(lists: Lists) -> String {
    format!("lists:{:x}:{:x}:{:x}", lists.tools, lists.resources, lists.prompts)
}

fn read_lists(id: &str) -> Option<Lists> {
    let mut parts = id.strip_prefix("lists:")?.split(':');
    let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
    Some(Lists { tools: next()?, resources: next()?, prompts: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_event_brings_back_what_the_lists_looked_like() {
        let lists = Lists { tools: u64::MAX, resources: 0, prompts: 17 };
        assert_eq!(read_lists(&write_lists(lists)), Some(lists));
        assert_eq!(read_lists("lists:1:2"), None);
        assert_eq!(read_lists("7"), None);
    }
}
