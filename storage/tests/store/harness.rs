//! A database in a temporary folder, records to put into it, and a way to wait without a runtime.

use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use storage::record::{Gateway, Prompt, Resource, Server, Tool};
use storage::{
    Applied, Changes, Current, Feed, Location, Mutation, Store, StoreError, StoreOptions,
};

use crate::postgres::{Instance, Version};

/// The databases that every test of behaviour runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres(Version),
}

/// Makes a test of each function for each database, which must all answer alike.
macro_rules! on_every_backend {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name($crate::harness::Backend::Sqlite); })+
        }
        mod postgres_15 {
            use $crate::{harness::Backend, postgres::Version};
            $(#[test] fn $name() { super::$name(Backend::Postgres(Version::V15)); })+
        }
        mod postgres_18 {
            use $crate::{harness::Backend, postgres::Version};
            $(#[test] fn $name() { super::$name(Backend::Postgres(Version::V18)); })+
        }
    };
}
pub(crate) use on_every_backend;

/// A database of its own, gone when dropped.
pub struct Fixture {
    folder: tempfile::TempDir,
    database: Option<(&'static Instance, String)>,
    pub options: StoreOptions,
}

impl Fixture {
    pub fn on(backend: Backend) -> Fixture {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = tempfile::tempdir().unwrap();
        let (database, location) = match backend {
            Backend::Sqlite => (None, Location::SqliteFile(folder.path().join("mcp.db"))),
            Backend::Postgres(version) => {
                let instance = Instance::shared(version);
                let name = format!("mcp_{}", COUNT.fetch_add(1, Ordering::Relaxed));
                instance.ask("postgres", &format!("CREATE DATABASE {name}"));
                let location = Location::parse(&instance.url(&name)).unwrap();
                (Some((instance, name)), location)
            }
        };
        Fixture { folder, database, options: StoreOptions::new(location) }
    }

    /// The file of SQLite.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mcp.db")
    }

    /// The address of the database.
    pub fn url(&self) -> String {
        match &self.database {
            Some((instance, name)) => instance.url(name),
            None => format!("sqlite:///{}", self.path().display()),
        }
    }

    pub fn open(&self) -> Store {
        Store::open(&self.options).unwrap().0
    }

    /// The database behind the store's back, on SQLite.
    pub fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    /// Runs SQL behind the store's back.
    pub fn run(&self, sql: &str) {
        match &self.database {
            Some((instance, name)) => drop(instance.ask(name, sql)),
            None => self.raw().execute_batch(sql).unwrap(),
        }
    }

    /// Asks for one whole number behind the store's back.
    pub fn count(&self, sql: &str) -> i64 {
        match &self.database {
            Some((instance, name)) => instance.ask(name, sql).parse().unwrap(),
            None => self.raw().query_row(sql, [], |row| row.get(0)).unwrap(),
        }
    }

    /// How many tables there are.
    pub fn table_count(&self) -> i64 {
        self.count(match &self.database {
            Some(_) => "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'",
            None => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'",
        })
    }

    /// Writes as another process does, and does not end until the value is dropped.
    pub fn lock(&self) -> Lock {
        match &self.database {
            Some((instance, name)) => Lock::of_postgres(&mut instance.psql(name)),
            None => {
                let connection = self.raw();
                connection.execute_batch("BEGIN IMMEDIATE").unwrap();
                Lock::Sqlite(connection)
            }
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some((instance, name)) = &self.database
            && !std::thread::panicking()
        {
            instance.ask("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// Another process in the middle of a write; dropping it undoes the write.
#[allow(dead_code)]
pub enum Lock {
    Sqlite(rusqlite::Connection),
    Postgres(Child),
}

impl Lock {
    pub fn of_postgres(psql: &mut Command) -> Lock {
        let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let sql = "BEGIN; SELECT 'held' FROM feed FOR UPDATE;\n";
        child.stdin.as_mut().unwrap().write_all(sql.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Lock::Postgres(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Lock::Postgres(child) = self {
            // Its end of input is psql's end. Without the word before, the server would notice only
            // some time later.
            let mut input = child.stdin.take().unwrap();
            input.write_all(b"ROLLBACK;\n").unwrap();
            drop(input);
            child.wait().unwrap();
        }
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

/// Starts this test program again to do one ignored test, with the database's address.
pub fn start_child(test: &str, fixture: &Fixture) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("STORE_CHILD_URL", fixture.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The options that a child was started with.
pub fn child_options() -> StoreOptions {
    let url = std::env::var("STORE_CHILD_URL").expect("only start_child runs this");
    StoreOptions::new(Location::parse(&url).unwrap())
}
