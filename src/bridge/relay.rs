//! The relay: a local end that speaks stdio, a far end that speaks HTTP, and messages between them.

use std::{rc::Rc, time::Duration};

use shards::local::Gate;

use super::{
    BridgeError, MESSAGE_SIZE_MAX, Program,
    child::Child,
    local::{Inlet, Outlet, Source, Target, TooLong},
    message,
    remote::{Http, Sse},
    run,
};

/// What a far end speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Streamable HTTP, of any revision.
    StreamableHttp,
    /// HTTP+SSE, of revision 2024-11-05.
    Sse,
}

/// What a relay runs with.
#[derive(Clone)]
pub struct RelayOptions {
    /// What the far end speaks.
    pub link: Link,
    /// Where it is.
    pub url: String,
    /// Header fields of every request to it.
    pub headers: Vec<(String, String)>,
    /// How long the far end may be silent while an answer is waited for.
    pub timeout: Duration,
    /// Most requests that run at once; more wait.
    pub concurrency: usize,
    /// The local end, if it is not whoever started us: a program that is started.
    pub program: Option<Program>,
}

/// The far end, connected.
enum Remote {
    Http(Rc<Http>),
    Sse(Rc<Sse>),
}

/// Relays until the local end has no more to say and has its answers, or a signal comes.
/// [`shards::signal::block`] must have been called before any other thread was started.
///
/// # Errors
///
/// [`BridgeError`] if the far end cannot be reached at all, or leaves.
pub fn relay(options: RelayOptions) -> Result<(), BridgeError> {
    run(move |stop| async move {
        let (mut inlet, outlet, child) = local_end(options.program.as_ref())?;
        let outcome = relay_between(&options, &mut inlet, &outlet, &stop).await;
        outlet.finish().await;
        if let Some(child) = child {
            child.stop().await;
        }
        outcome
    })
}

type LocalEnd = (Inlet, Rc<Outlet>, Option<Rc<Child>>);

fn local_end(program: Option<&Program>) -> Result<LocalEnd, BridgeError> {
    match program {
        None => Ok((Inlet::new(Source::Own), Outlet::new(Target::Own), None)),
        Some(program) => {
            let (child, inlet) = Child::start(program).map_err(BridgeError)?;
            Ok((inlet, child.outlet.clone(), Some(child)))
        }
    }
}

async fn relay_between(
    options: &RelayOptions,
    inlet: &mut Inlet,
    outlet: &Rc<Outlet>,
    stop: &Gate,
) -> Result<(), BridgeError> {
    let remote = match options.link {
        Link::StreamableHttp => Remote::Http(Http::new(options, outlet.clone())?),
        Link::Sse => {
            let opened = stop.unless(Sse::open(options, outlet.clone())).await;
            let Some(opened) = opened else { return Ok(()) };
            Remote::Sse(opened?)
        }
    };
    let pumped = outlet.ended.unless(pump(&remote, inlet, outlet));
    let pumped = stop.unless(remote.unless_ended(pumped)).await;
    match pumped {
        // All was said.
        Some(Some(Some(()))) => {
            if stop.unless(remote.finish(false)).await.is_none() {
                remote.finish(true).await;
            }
        }
        // A signal, or nobody listens any more.
        None | Some(Some(None)) => remote.finish(true).await,
        Some(None) => return Err(BridgeError("the server closed its stream".to_owned())),
    }
    Ok(())
}

/// Hands lines to the far end until there are no more.
async fn pump(remote: &Remote, inlet: &mut Inlet, outlet: &Outlet) {
    while let Some(line) = inlet.next().await {
        match line {
            Ok(line) => remote.take(&line).await,
            Err(TooLong(size)) => {
                let text = format!("a message of {size} bytes; {MESSAGE_SIZE_MAX} are the most");
                outlet.send(&message::error(None, -32600, &text)).await;
            }
        }
    }
}

impl Remote {
    async fn take(&self, line: &[u8]) {
        match self {
            Remote::Http(http) => http.take(line).await,
            Remote::Sse(sse) => sse.take(line).await,
        }
    }

    /// Waits for `future`; nothing if the far end leaves before.
    async fn unless_ended<F: Future>(&self, future: F) -> Option<F::Output> {
        match self {
            Remote::Http(_) => Some(future.await),
            Remote::Sse(sse) => sse.ended.unless(future).await,
        }
    }

    async fn finish(&self, at_once: bool) {
        match self {
            Remote::Http(http) => http.finish(at_once).await,
            Remote::Sse(sse) => sse.finish(at_once).await,
        }
    }
}
