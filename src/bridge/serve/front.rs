//! The front: which paths there are, who may ask, and HTTP+SSE.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use net::{
    http1::{
        Method,
        server::{Request, Responder, Service},
    },
    sse,
};
use serde_json::json;
use shards::local::Gate;

use super::{
    ServeOptions,
    queue::Events,
    session::{Session, Sessions},
    shared::Shared,
};
use crate::{
    auth,
    bridge::{MESSAGE_SIZE_MAX, Program, message},
    settings::Settings,
    web::Cors,
};

/// Where streamable HTTP is served.
const MCP_PATH: &str = "/mcp";

/// Longest value of a header that becomes a variable, in bytes.
const VARIABLE_SIZE_MAX: usize = 4096;

/// What answers requests.
pub(super) struct Front {
    pub(super) options: ServeOptions,
    pub(super) sessions: Rc<Sessions>,
    /// By what their environments have beyond our own.
    shared: RefCell<BTreeMap<BTreeMap<String, String>, Rc<Shared>>>,
    gate: auth::Gate,
    cors: Cors,
    stop: Rc<Gate>,
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    /// A page asks whether it may ask.
    Preflight,
    OpenSse,
    Message,
    Post,
    Follow,
    Delete,
}

/// Ends a session when its stream ends.
struct EndOfSession {
    sessions: Rc<Sessions>,
    session: Rc<Session>,
}

impl Drop for EndOfSession {
    fn drop(&mut self) {
        self.sessions.end(&self.session);
    }
}

impl Front {
    pub(super) fn new(options: ServeOptions, settings: &Settings, stop: Rc<Gate>) -> Front {
        Front {
            options,
            sessions: Sessions::new(),
            shared: RefCell::default(),
            gate: auth::Gate::new(settings),
            cors: Cors::new(settings),
            stop,
        }
    }

    /// Ends every stream.
    pub(super) fn end_streams(&self) {
        self.sessions.end_streams();
    }

    /// Ends every child.
    pub(super) async fn close(&self) {
        self.sessions.close().await;
        let shared = self.shared.take();
        for shared in shared.into_values() {
            shared.close().await;
        }
    }

    fn route(&self, request: &Request<'_>) -> Result<Route, u16> {
        let (path, method) = (request.path(), request.head.method());
        let is_mcp = self.options.http && matches!(path, MCP_PATH | "/mcp/");
        match method {
            Method::Get if matches!(path, "/healthz" | "/health") => Ok(Route::Health),
            Method::Options if request.header("origin").is_some() => Ok(Route::Preflight),
            Method::Post if is_mcp => Ok(Route::Post),
            Method::Get if is_mcp && !self.options.stateless => Ok(Route::Follow),
            Method::Delete if is_mcp && !self.options.stateless => Ok(Route::Delete),
            _ if is_mcp => Err(405),
            _ if !self.options.sse => Err(404),
            Method::Get if path == self.options.sse_path => Ok(Route::OpenSse),
            Method::Post if path == self.options.message_path => Ok(Route::Message),
            _ if path == self.options.sse_path || path == self.options.message_path => Err(405),
            _ => Err(404),
        }
    }

    /// The program for who sent this request: with variables that its header fields set.
    pub(super) fn program(&self, request: &Request<'_>) -> Program {
        let mut program = self.options.program.clone();
        for (header, variable) in &self.options.header_to_env {
            let value = request.header(header).and_then(|value| std::str::from_utf8(value).ok());
            let is_good = |value: &&str| {
                !value.is_empty()
                    && value.len() <= VARIABLE_SIZE_MAX
                    && !value.chars().any(char::is_control)
            };
            if let Some(value) = value.filter(is_good) {
                program.environment.insert(variable.clone(), value.to_owned());
            }
        }
        program
    }

    /// The child that requests without a session share.
    ///
    /// # Errors
    ///
    /// A sentence, if there are as many children as may be.
    pub(super) fn shared(&self, program: Program) -> Result<Rc<Shared>, String> {
        let known = self.shared.borrow().get(&program.environment).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        self.check_room()?;
        let environment = program.environment.clone();
        let shared = Rc::new(Shared::new(program, self.options.stateless));
        self.shared.borrow_mut().insert(environment, shared.clone());
        Ok(shared)
    }

    /// Opens a session for who sent this request.
    ///
    /// # Errors
    ///
    /// A sentence, if its child cannot be started or there are as many as may be.
    pub(super) fn open(&self, program: &Program, is_single: bool) -> Result<Rc<Session>, String> {
        self.check_room()?;
        self.sessions.open(program, is_single)
    }

    fn check_room(&self) -> Result<(), String> {
        let max = self.options.children_max;
        let has_room = self.sessions.count() + self.shared.borrow().len() < max;
        match has_room || self.sessions.end_idle() {
            true => Ok(()),
            false => Err(format!("{max} servers run already, the most that may")),
        }
    }

    fn open_sse(&self, request: &Request<'_>, responder: &mut Responder) {
        let session = match self.open(&self.program(request), true) {
            Ok(session) => session,
            Err(text) => return self.refuse(503, &text, responder),
        };
        session.is_followed.set(true);
        let endpoint = format!("{}?session_id={}", self.options.message_path, session.id);
        let mut first = Vec::new();
        sse::encode(&mut first, Some("endpoint"), None, endpoint.as_bytes());
        let queue = session.own.clone();
        let guard = Box::new(EndOfSession { sessions: self.sessions.clone(), session });
        let keep_alive = self.options.keep_alive;
        Events { first, queue, keep_alive, guard }.answer(responder);
    }

    async fn take_message(&self, request: &Request<'_>, body: &[u8], responder: &mut Responder) {
        let query = request.query().unwrap_or_default();
        let id = query.split('&').find_map(|pair| pair.strip_prefix("session_id="));
        let Some(session) = id.and_then(|id| self.sessions.find(id.as_bytes())) else {
            return self.refuse(404, "There is no such session", responder);
        };
        if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() {
            let answer = message::error(None, -32700, "The message is no JSON.");
            return write_json(responder, 400, &answer);
        }
        session.send(body).await;
        responder.begin(202);
        responder.finish(&[b"Accepted"]);
    }
}

impl Service for Front {
    type Permit = Route;

    fn admit(&self, request: &Request<'_>, responder: &mut Responder) -> Option<(Route, u64)> {
        let admitted = self.gate.admit(request.header("host"), request.header("origin"));
        let route = match admitted {
            Ok(()) => self.route(request),
            Err(foreign) => {
                let text = match foreign {
                    auth::origin::Foreign::Host => "Host not allowed",
                    auth::origin::Foreign::Origin => "Origin not allowed: --cors does not name it",
                };
                self.refuse(403, text, responder);
                return None;
            }
        };
        self.cors.expose(request, responder);
        match route {
            Ok(route) => Some((route, MESSAGE_SIZE_MAX as u64)),
            Err(status) => {
                let text = if status == 405 { "Method not allowed" } else { "Not found" };
                self.refuse(status, text, responder);
                None
            }
        }
    }

    async fn answer(
        &self,
        route: Route,
        request: &Request<'_>,
        body: &[u8],
        responder: &mut Responder,
    ) {
        match route {
            Route::Health => {
                responder.begin(200);
                responder.lines("content-type: text/plain\r\n");
                responder.finish(&[b"ok"]);
            }
            Route::Preflight => {
                if !self.cors.answer_preflight(request, responder) {
                    self.refuse(405, "Method not allowed", responder);
                }
            }
            Route::OpenSse => self.open_sse(request, responder),
            Route::Message => self.take_message(request, body, responder).await,
            Route::Post => self.post(request, body, responder).await,
            Route::Follow => self.follow(request, responder),
            Route::Delete => self.delete(request, responder),
        }
    }

    fn refuse(&self, status: u16, message: &str, responder: &mut Responder) {
        write_json(responder, status, json!({ "detail": message }).to_string().as_bytes());
    }

    fn draining(&self) -> bool {
        self.stop.is_open()
    }
}

/// Answers with JSON.
pub(super) fn write_json(responder: &mut Responder, status: u16, body: &[u8]) {
    responder.begin(status);
    responder.lines("content-type: application/json\r\n");
    responder.finish(&[body]);
}
