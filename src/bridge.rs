//! Bridges between stdio and HTTP, for clients and servers that speak only one of the two.
//!
//! A bridge has no database and no registry, and runs on one shard. It hands every message on as it
//! came: which revision is spoken is between the two ends. What it adds is what a transport asks
//! for, sessions, headers and streams.

mod child;
mod local;
mod message;
pub mod relay;
mod remote;
mod serve;

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use shards::{driver, local::Gate, mailbox, runtime, signal, task};

pub use relay::{Link, RelayOptions, relay};
pub use serve::{ServeOptions, serve};

/// Most bytes of one message, either way: what MCP peers take for the largest.
const MESSAGE_SIZE_MAX: usize = 16 << 20;

/// How long a child may take to end after its input was closed, and again after SIGTERM.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// A program to start: its words, and what its environment has beyond our own.
#[derive(Clone, Default)]
pub struct Program {
    /// The program and its arguments; at least one.
    pub words: Vec<String>,
    /// Variables of its environment besides those that this process has.
    pub environment: BTreeMap<String, String>,
}

/// Why a bridge ended badly, in a sentence for whoever started it.
#[derive(Debug)]
pub struct BridgeError(pub String);

impl std::fmt::Display for BridgeError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for BridgeError {}

/// Runs a bridge on a shard of its own, on this thread, until it ends or a signal stops it.
/// [`signal::block`] must have been called before any other thread was started.
fn run<F>(bridge: impl FnOnce(Rc<Gate>) -> F + 'static) -> Result<(), BridgeError>
where
    F: Future<Output = Result<(), BridgeError>> + 'static,
{
    let fail = |error: std::io::Error| BridgeError(error.to_string());
    let choice = driver::choose(driver::Preference::Auto).map_err(fail)?;
    let (sender, mut stopped) = mailbox::channel(1);
    let wait = move || {
        signal::wait();
        let _ = sender.send(());
        signal::wait();
        std::process::exit(1);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(fail)?;
    let main = async move {
        let stop = Rc::<Gate>::default();
        let gate = stop.clone();
        task::spawn(async move {
            if stopped.next().await.is_some() {
                gate.open();
            }
        });
        bridge(stop).await
    };
    runtime::block_on(choice.driver, main).map_err(fail)?
}
