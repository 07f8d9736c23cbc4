//! A database in a temporary folder, records to put into it, and a way to wait without a runtime.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use storage::record::{Gateway, Prompt, Resource, Server, Tool};
use storage::{
    Applied, Changes, Current, Feed, Location, Mutation, Store, StoreError, StoreOptions,
};

/// A folder with a database, gone when dropped.
pub struct Fixture {
    folder: tempfile::TempDir,
    pub options: StoreOptions,
}

impl Fixture {
    pub fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(Location::SqliteFile(folder.path().join("mcp.db")));
        Fixture { folder, options }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mcp.db")
    }

    pub fn open(&self) -> Store {
        Store::open(&self.options).unwrap().0
    }

    /// The database behind the store's back.
    pub fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

/// Waits for a future on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

pub fn apply(store: &Store, mutations: Vec<Mutation>) -> Result<Applied, StoreError> {
    block_on(store.apply(mutations))
}

pub fn changes(store: &Store, since: i64, limit: usize) -> Changes {
    match block_on(store.changes_since(since, limit)).unwrap() {
        Feed::Changes(changes) => changes,
        Feed::Lost { from, sequence } => panic!("lost: from {from}, at {sequence}"),
    }
}

/// Changes as short words: `tool t1`, `-tool t1` for a deletion.
pub fn words<'a>(items: impl IntoIterator<Item = &'a storage::Change>) -> Vec<String> {
    let word = |change: &storage::Change| {
        let sign = if matches!(change.current, Current::Deleted { .. }) { "-" } else { "" };
        format!("{sign}{} {}", change.current.entity(), change.current.id())
    };
    items.into_iter().map(word).collect()
}

pub fn gateway(id: &str) -> Gateway {
    Gateway {
        id: id.to_owned(),
        name: format!("Gateway {id}"),
        slug: format!("gateway-{id}"),
        url: Some(format!("http://{id}.example/mcp")),
        ..Gateway::default()
    }
}

pub fn tool(id: &str, gateway_id: &str) -> Tool {
    Tool {
        id: id.to_owned(),
        gateway_id: Some(gateway_id.to_owned()),
        original_name: id.to_owned(),
        custom_name_slug: id.to_owned(),
        name: format!("{gateway_id}-{id}"),
        definition: format!(r#"{{"name":"{id}"}}"#),
        ..Tool::default()
    }
}

pub fn resource(id: &str, gateway_id: &str) -> Resource {
    Resource {
        id: id.to_owned(),
        gateway_id: Some(gateway_id.to_owned()),
        uri: format!("demo://{id}"),
        name: id.to_owned(),
        ..Resource::default()
    }
}

pub fn prompt(id: &str, gateway_id: &str) -> Prompt {
    Prompt {
        id: id.to_owned(),
        gateway_id: Some(gateway_id.to_owned()),
        original_name: id.to_owned(),
        name: format!("{gateway_id}-{id}"),
        ..Prompt::default()
    }
}

pub fn server(id: &str) -> Server {
    Server { id: id.to_owned(), name: format!("Server {id}"), ..Server::default() }
}

pub fn put_gateway(record: Gateway) -> Mutation {
    Mutation::PutGateway(Box::new(record))
}

pub fn put_tool(record: Tool) -> Mutation {
    Mutation::PutTool(Box::new(record))
}

pub fn put_server(record: Server) -> Mutation {
    Mutation::PutServer(Box::new(record))
}

/// Two gateways, `a` with two tools, a resource and a prompt, `b` with a tool, and a server `s`
/// that chose some of each.
pub fn registry() -> Vec<Mutation> {
    let mut chosen = server("s");
    chosen.associated_tools = vec!["b1".to_owned(), "a2".to_owned(), "a1".to_owned()];
    chosen.associated_resources = vec!["r1".to_owned()];
    chosen.associated_prompts = vec!["p1".to_owned()];
    chosen.associated_gateways = vec!["b".to_owned(), "a".to_owned()];
    vec![
        put_gateway(gateway("a")),
        put_gateway(gateway("b")),
        put_tool(tool("a1", "a")),
        put_tool(tool("a2", "a")),
        put_tool(tool("b1", "b")),
        Mutation::PutResource(Box::new(resource("r1", "a"))),
        Mutation::PutPrompt(Box::new(prompt("p1", "a"))),
        put_server(chosen),
    ]
}

/// Starts this test program again to do one ignored test, with the database's path.
pub fn start_child(test: &str, fixture: &Fixture) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("STORE_CHILD_PATH", fixture.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The options that a child was started with.
pub fn child_options() -> StoreOptions {
    let path = std::env::var_os("STORE_CHILD_PATH").expect("only start_child runs this");
    StoreOptions::new(Location::SqliteFile(PathBuf::from(path)))
}
