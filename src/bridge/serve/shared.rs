//! A child that requests without a session share: their ids and progress tokens are replaced by our
//! own, so that those of different clients do not meet.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use net::{
    Span,
    jsonrpc::{self, Answer, AnswerKind, EnvelopeLimits, Message},
};
use shards::{local::Turns, task, time};

use super::queue::{Item, Queue};
use crate::{
    bridge::{
        Program,
        child::Child,
        local::Inlet,
        message::{self, UNREACHED, splice},
    },
    mcp::LEGACY,
};

/// How long a child may take to answer the handshake.
const START_WITHIN: Duration = Duration::from_secs(60);

/// Most requests that wait for their answers.
const WAITING_COUNT_MAX: usize = 1024;

/// A shared child, started when it is first needed and again when it has ended.
pub(super) struct Shared {
    program: Program,
    /// Greet it when it is started, as the handshake era demands.
    is_greeted: bool,
    running: RefCell<Option<Rc<Running>>>,
    starting: Turns,
}

/// The child as it runs.
pub(super) struct Running {
    child: Rc<Child>,
    /// The raw result of the handshake, where there was one.
    pub(super) greeting: RefCell<String>,
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    next_id: Cell<u64>,
    is_over: Cell<bool>,
}

struct Waiting {
    /// The client's raw id and raw progress token.
    id: String,
    token: Option<String>,
    queue: Rc<Queue>,
}

/// A request that waits. Dropped before its answer came, it is cancelled.
pub(super) struct Place {
    running: Rc<Running>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.running.waiting.borrow_mut().remove(&self.id).is_some() {
            let running = self.running.clone();
            let text = format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":\
                 {{\"requestId\":{}}}}}",
                self.id
            );
            task::spawn_if_running(async move { running.child.outlet.send(text.as_bytes()).await });
        }
    }
}

impl Shared {
    pub(super) fn new(program: Program, is_greeted: bool) -> Shared {
        Shared { program, is_greeted, running: RefCell::default(), starting: Turns::new(1) }
    }

    /// The child, started if need be.
    ///
    /// # Errors
    ///
    /// A sentence, if it cannot be started or does not answer the handshake.
    pub(super) async fn running(&self) -> Result<Rc<Running>, String> {
        let _turn = self.starting.take().await;
        let current = self.running.borrow().clone();
        if let Some(current) = current.filter(|current| !current.is_over.get()) {
            return Ok(current);
        }
        let (child, inlet) = Child::start(&self.program)?;
        let running = Rc::new(Running {
            child,
            greeting: RefCell::default(),
            waiting: RefCell::default(),
            next_id: Cell::new(1),
            is_over: Cell::new(false),
        });
        task::spawn(follow(running.clone(), inlet));
        if self.is_greeted {
            let greeted = time::timeout(START_WITHIN, running.greet()).await;
            let greeted = greeted.unwrap_or_else(|_| Err("it does not answer".to_owned()));
            if let Err(text) = greeted {
                running.child.stop().await;
                return Err(format!("the server cannot be greeted: {text}"));
            }
        }
        self.running.replace(Some(running.clone()));
        Ok(running)
    }

    /// Ends the child.
    pub(super) async fn close(&self) {
        let running = self.running.take();
        if let Some(running) = running {
            running.child.stop().await;
        }
    }
}

async fn follow(running: Rc<Running>, mut inlet: Inlet) {
    while let Some(line) = inlet.next().await {
        let Ok(line) = line else { continue };
        running.route(&line).await;
    }
    running.is_over.set(true);
    for waiting in running.waiting.take().into_values() {
        let answer = message::error(Some(&waiting.id), UNREACHED, "the server ended");
        waiting.queue.push(Item::Reply(answer));
    }
    running.child.stop().await;
}

impl Running {
    async fn greet(self: &Rc<Self>) -> Result<(), String> {
        let request = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":\
             {{\"protocolVersion\":\"{}\",\"capabilities\":{{}},\"clientInfo\":\
             {{\"name\":\"ringway\",\"version\":\"{}\"}}}}}}",
            LEGACY[0],
            env!("CARGO_PKG_VERSION")
        );
        let request = Message::parse(request.as_bytes(), &EnvelopeLimits::default())
            .map_err(|error| error.to_string())?;
        let (queue, _place) = self.ask(&request).await?;
        while let Some(item) = queue.next().await {
            let Item::Reply(reply) = item else { continue };
            let text = String::from_utf8_lossy(&reply);
            let result = jsonrpc::pick(&text, ["result"]).ok().and_then(|[result]| result);
            let Some(result) = result else { return Err(text.into_owned()) };
            self.greeting.replace(result.of_text(&text).to_owned());
            let initialized = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
            self.child.outlet.send(initialized).await;
            return Ok(());
        }
        Err("it gave no answer".to_owned())
    }

    /// Gives a request to the child; the queue brings what belongs to it, its answer last.
    ///
    /// # Errors
    ///
    /// A sentence, if too many wait or the child has ended.
    pub(super) async fn ask(
        self: &Rc<Self>,
        request: &Message<'_>,
    ) -> Result<(Rc<Queue>, Place), String> {
        if self.is_over.get() {
            return Err("the server ended".to_owned());
        }
        if self.waiting.borrow().len() >= WAITING_COUNT_MAX {
            return Err(format!("{WAITING_COUNT_MAX} requests wait for their answers"));
        }
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let (text, ours) = (request.text(), id.to_string());
        let token = message::progress_token(request);
        let place = request.id_place().expect("a request has an id");
        let mut edits = vec![(place, ours.as_str())];
        edits.extend(token.map(|place| (place, ours.as_str())));
        let line = splice(text, &mut edits);
        let queue = Rc::<Queue>::default();
        let token = token.map(|place| place.of_text(text).to_owned());
        let waiting = Waiting { id: place.of_text(text).to_owned(), token, queue: queue.clone() };
        self.waiting.borrow_mut().insert(id, waiting);
        let place = Place { running: self.clone(), id };
        self.child.outlet.send(&line).await;
        Ok((queue, place))
    }

    async fn route(&self, line: &[u8]) {
        let Ok(answer) = Answer::parse(line, &EnvelopeLimits::default()) else { return };
        match answer.kind() {
            AnswerKind::Result | AnswerKind::Error => self.take_reply(&answer),
            AnswerKind::Notification => self.take_notification(&answer),
            AnswerKind::Request => {
                // Nobody in particular could be asked.
                let mut reply = Vec::new();
                match (answer.method(), answer.id()) {
                    ("ping", Some(id)) => jsonrpc::result(&mut reply, id, "{}"),
                    (_, id) => {
                        jsonrpc::error(&mut reply, id, -32601, "No client to ask", None);
                    }
                }
                self.child.outlet.send(&reply).await;
            }
        }
    }

    fn take_reply(&self, answer: &Answer<'_>) {
        let Some(place) = answer.id_place() else { return };
        let id = place.of_text(answer.text()).parse::<u64>().ok();
        let waiting = id.and_then(|id| self.waiting.borrow_mut().remove(&id));
        let Some(waiting) = waiting else { return };
        let mut edits = vec![(place, waiting.id.as_str())];
        edits.extend(subscription(answer.result_place(), answer.text(), &waiting.id));
        waiting.queue.push(Item::Reply(splice(answer.text(), &mut edits)));
    }

    /// Gives a notification to whose request it names. What names none belongs to nobody.
    fn take_notification(&self, answer: &Answer<'_>) {
        let text = answer.text();
        let Some(params) = answer.params_place() else { return };
        let token = jsonrpc::pick(params.of_text(text), ["progressToken"]).ok();
        let token = token.and_then(|[token]| Some(token?.shifted(params.start as usize)));
        let named = token.or_else(|| subscription_place(params, text));
        let Some(place) = named else { return };
        let waiting = self.waiting.borrow();
        let id = place.of_text(text).trim_matches('"').parse::<u64>().ok();
        let Some(waiting) = id.and_then(|id| waiting.get(&id)) else { return };
        let original = match token {
            Some(_) => waiting.token.as_deref(),
            None => Some(waiting.id.as_str()),
        };
        if let Some(original) = original {
            let message = splice(text, &mut [(place, original)]);
            waiting.queue.push(Item::Message(message));
        }
    }
}

/// The edit that gives a result its subscription's own id back.
fn subscription<'a>(result: Option<Span>, text: &str, id: &'a str) -> Option<(Span, &'a str)> {
    subscription_place(result?, text).map(|place| (place, id))
}

/// Where an object names the subscription that it belongs to, which is the id of a request.
fn subscription_place(object: Span, text: &str) -> Option<Span> {
    let raw = object.of_text(text);
    let [meta] = jsonrpc::pick(raw, ["_meta"]).ok()?;
    let meta = meta?.shifted(object.start as usize);
    let [id] =
        jsonrpc::pick(meta.of_text(text), ["io.modelcontextprotocol/subscriptionId"]).ok()?;
    Some(id?.shifted(meta.start as usize))
}
