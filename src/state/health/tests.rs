//! Processes without sockets on one real store, with upstreams whose health the test decides.

use std::cell::Cell;

use shards::{Driver, runtime};
use storage::{
    Feed, Location, Store, StoreOptions,
    record::{Era, Gateway, Tool, Transport},
    seal::Sealer,
};

use super::*;
use crate::{
    catalog::inventory::Listed,
    failure::{Failure, UpstreamKind},
};

/// Longer than any test takes.
const AGES: Duration = Duration::from_secs(20);

/// One process.
struct Process {
    store: Store,
    sealer: Sealer,
    catalog: RefCell<Arc<Catalog>>,
    /// Upstreams that do not answer.
    silent: RefCell<Vec<&'static str>>,
    /// Upstreams that are asked and neither answer nor fail until the gate opens.
    stuck: RefCell<Vec<&'static str>>,
    released: Gate,
    /// Upstreams whose check panics.
    cursed: RefCell<Vec<&'static str>>,
    checked: RefCell<Vec<String>>,
    running: Cell<usize>,
    running_max: Cell<usize>,
    retired: RefCell<Vec<String>>,
    /// The database cannot be reached for the lease.
    cut_off: Cell<bool>,
    offers: RefCell<Vec<&'static str>>,
    stop: Rc<Gate>,
}

fn store() -> Store {
    Store::open(&StoreOptions::new(Location::SqliteMemory)).unwrap().0
}

fn options() -> Options {
    Options {
        holder: storage::record::new_id(),
        interval: Duration::from_millis(10),
        threshold: 3,
        concurrency: 4,
        lease: AGES,
        separator: "-",
    }
}

fn failure(name: &str) -> Failure {
    Failure::upstream(name, UpstreamKind::Unreachable, "connection refused", false)
}

async fn start(store: &Store, options: Options) -> Rc<Process> {
    let process = Rc::new(Process {
        store: store.clone(),
        sealer: Sealer::new("a secret that only tests have"),
        catalog: RefCell::default(),
        silent: RefCell::default(),
        stuck: RefCell::default(),
        released: Gate::default(),
        cursed: RefCell::default(),
        checked: RefCell::default(),
        running: Cell::new(0),
        running_max: Cell::new(0),
        retired: RefCell::default(),
        cut_off: Cell::new(false),
        offers: RefCell::new(vec!["now"]),
        stop: Rc::default(),
    });
    process.catch_up().await;
    task::spawn(Checker::new(process.clone(), options, process.stop.clone()).run());
    process
}

impl World for Process {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.borrow().clone()
    }

    async fn check(&self, upstream: &Arc<Upstream>) -> Health {
        let name = upstream.record.name.as_str();
        assert!(!self.cursed.borrow().contains(&name), "a bug");
        self.running.set(self.running.get() + 1);
        self.running_max.set(self.running_max.get().max(self.running.get()));
        self.checked.borrow_mut().push(name.to_owned());
        let is_stuck = self.stuck.borrow().contains(&name);
        if is_stuck {
            self.released.passed().await;
        }
        self.running.set(self.running.get() - 1);
        match self.silent.borrow().contains(&name) {
            true => Health::Failed(failure(name)),
            false => Health::Alive,
        }
    }

    async fn revive(&self, upstream: &Arc<Upstream>) -> Result<Inventory, Failure> {
        let name = upstream.record.name.as_str();
        if self.silent.borrow().contains(&name) {
            return Err(failure(name));
        }
        let listed = |name: &&str| Listed {
            definition: format!(r#"{{"name":"{name}"}}"#),
            name: (*name).to_owned(),
            ..Listed::default()
        };
        Ok(Inventory {
            era: Era::Legacy,
            protocol_version: "2025-11-25".to_owned(),
            capabilities: None,
            server_info: None,
            instructions: None,
            tools: self.offers.borrow().iter().map(listed).collect(),
            resources: Vec::new(),
            templates: Vec::new(),
            prompts: Vec::new(),
            skipped: Vec::new(),
        })
    }

    fn retire_child(&self, upstream: &Upstream) {
        self.retired.borrow_mut().push(upstream.record.name.clone());
    }

    async fn hold(&self, holder: &str, ttl: Duration) -> Result<Option<i64>, Failure> {
        match self.cut_off.get() {
            true => Err(Failure::Busy("the database is away".to_owned())),
            false => Ok(self.store.hold_lease(LEASE, holder, ttl).await?),
        }
    }

    async fn release(&self, holder: &str) -> Result<(), Failure> {
        Ok(self.store.release_lease(LEASE, holder).await?)
    }

    async fn apply(&self, mutations: Vec<Mutation>) -> Result<(), Failure> {
        self.store.apply(mutations).await?;
        self.catch_up().await;
        Ok(())
    }

    async fn catch_up(&self) {
        let mut catalog = Catalog::clone(&self.catalog.borrow());
        let feed = self.store.changes_since(catalog.sequence, 10_000).await.unwrap();
        let Feed::Changes(changes) = feed else { panic!("nothing was pruned") };
        catalog.apply(changes.items, &self.sealer);
        catalog.sequence = changes.sequence;
        *self.catalog.borrow_mut() = Arc::new(catalog);
    }
}

impl Process {
    fn record(&self, id: &str) -> Arc<Gateway> {
        self.catalog.borrow().upstream(id).expect("it is registered").record.clone()
    }

    fn tools(&self) -> Vec<String> {
        let catalog = self.catalog.borrow();
        catalog.everything.tools.iter().map(|(name, _)| name.to_string()).collect()
    }

    fn count(&self, name: &str) -> usize {
        self.checked.borrow().iter().filter(|checked| *checked == name).count()
    }
}

/// What is stored of an upstream, whatever the processes believe.
async fn stored(store: &Store, id: &str) -> Arc<Gateway> {
    let snapshot = store.load().await.unwrap();
    snapshot.gateways.into_iter().find(|gateway| gateway.id == id).expect("it is stored")
}

async fn register(store: &Store, names: &[&str], transport: Transport) {
    let mut mutations = Vec::new();
    for name in names {
        let gateway = Gateway {
            id: (*name).to_owned(),
            name: (*name).to_owned(),
            slug: (*name).to_owned(),
            transport,
            ..Gateway::default()
        };
        let tool = Tool {
            id: format!("{name}-now"),
            gateway_id: Some((*name).to_owned()),
            original_name: "now".to_owned(),
            custom_name_slug: "now".to_owned(),
            name: format!("{name}-now"),
            definition: r#"{"name":"now"}"#.to_owned(),
            ..Tool::default()
        };
        mutations.push(Mutation::PutGateway(Box::new(gateway)));
        mutations.push(Mutation::PutTool(Box::new(tool)));
    }
    store.apply(mutations).await.unwrap();
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < AGES, "waited in vain until {what}");
        time::sleep(Duration::from_millis(1)).await;
    }
}

fn on_a_shard<F: Future<Output = ()> + 'static>(body: F) {
    runtime::block_on(Driver::Epoll, body).expect("the driver starts");
}

#[test]
fn an_upstream_that_fails_leaves_the_lists_and_comes_back_with_its_lists_read_anew() {
    on_a_shard(async {
        let store = store();
        register(&store, &["time", "git"], Transport::StreamableHttp).await;
        let process = start(&store, options()).await;
        until("both were checked", || process.count("time") > 0 && process.count("git") > 0).await;
        process.silent.borrow_mut().push("time");
        until("it left", || process.tools() == ["git-now"]).await;
        let record = stored(&store, "time").await;
        assert!(!record.reachable && record.enabled && record.last_seen.is_some());
        let told = record.last_error.clone().expect("a reason");
        assert!(told.contains("connection refused"), "{told}");
        // While it is away nothing more is written.
        let sequence = process.catalog().sequence;
        let checks = process.count("git");
        until("others were checked", || process.count("git") > checks + 5).await;
        assert_eq!(store.load().await.unwrap().sequence, sequence);

        *process.offers.borrow_mut() = vec!["zone"];
        process.silent.borrow_mut().clear();
        until("it came back", || process.tools() == ["git-now", "time-zone"]).await;
        let record = stored(&store, "time").await;
        assert!(record.reachable && record.last_error.is_none());
        assert!(process.retired.borrow().is_empty());
    });
}

#[test]
fn checks_that_pass_write_nothing() {
    on_a_shard(async {
        let store = store();
        register(&store, &["time"], Transport::StreamableHttp).await;
        let process = start(&store, options()).await;
        until("it was checked often", || process.count("time") > 10).await;
        assert_eq!(store.load().await.unwrap().sequence, 2);
    });
}

#[test]
fn a_child_that_hangs_is_ended_and_its_words_are_not_shown() {
    on_a_shard(async {
        let store = store();
        register(&store, &["child"], Transport::Stdio).await;
        let process = start(&store, options()).await;
        process.silent.borrow_mut().push("child");
        until("it was ended", || *process.retired.borrow() == ["child"]).await;
        let told = stored(&store, "child").await.last_error.clone().expect("a reason");
        assert_eq!(told, "its command failed; the log of the gateway says how");
    });
}

#[test]
fn of_two_processes_one_checks_and_the_other_follows_when_it_stops() {
    on_a_shard(async {
        let store = store();
        register(&store, &["time"], Transport::StreamableHttp).await;
        let lease = Duration::from_millis(300);
        let one = start(&store, Options { lease, ..options() }).await;
        until("the first checks", || one.count("time") > 0).await;
        let two = start(&store, Options { lease, ..options() }).await;
        // Long enough for many renewals of the one and attempts of the other.
        let checks = one.count("time");
        until("it checked often", || one.count("time") > checks + 100).await;
        assert_eq!(two.count("time"), 0);
        one.stop.open();
        until("the other checks", || two.count("time") > 0).await;
        let checks = one.count("time");
        let others = two.count("time");
        until("it goes on", || two.count("time") > others + 10).await;
        assert!(one.count("time") <= checks + 1, "one that stopped goes on");
    });
}

#[test]
fn who_cannot_renew_stops_in_time_and_what_it_had_begun_changes_nothing() {
    on_a_shard(async {
        let store = store();
        register(&store, &["time"], Transport::StreamableHttp).await;
        let lease = Duration::from_millis(300);
        let options = || Options { lease, threshold: 1, ..options() };
        let one = start(&store, options()).await;
        one.silent.borrow_mut().push("time");
        one.stuck.borrow_mut().push("time");
        until("a check is under way", || one.count("time") == 1).await;
        one.cut_off.set(true);
        let two = start(&store, options()).await;
        until("the other took over", || two.count("time") > 0).await;
        // The check that the first began ends now, and found the upstream to be away.
        one.released.open();
        until("it ended", || one.running.get() == 0).await;
        let others = two.count("time");
        until("the other goes on", || two.count("time") > others + 10).await;
        assert!(stored(&store, "time").await.reachable);
        assert_eq!(store.load().await.unwrap().sequence, 2, "something was written");
        assert_eq!(one.count("time"), 1, "it went on without the lease");
    });
}

#[test]
fn counts_begin_anew_with_each_reign() {
    on_a_shard(async {
        let store = store();
        register(&store, &["time"], Transport::StreamableHttp).await;
        let lease = Duration::from_millis(300);
        // One failure less than are needed, however long it takes.
        let one = start(&store, Options { lease, threshold: 1000, ..options() }).await;
        one.silent.borrow_mut().push("time");
        until("it failed", || one.count("time") >= 3).await;
        one.stop.open();
        let two = start(&store, Options { lease, ..options() }).await;
        two.silent.borrow_mut().push("time");
        until("it left", || !two.record("time").reachable).await;
        assert!(two.count("time") >= 3, "failures of another reign were counted");
    });
}

#[test]
fn a_check_that_hangs_delays_no_other_and_more_than_may_never_run() {
    on_a_shard(async {
        let store = store();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        register(&store, &names, Transport::StreamableHttp).await;
        let process = start(&store, options()).await;
        process.stuck.borrow_mut().extend(["a", "b"]);
        until("the others are checked often", || {
            names[2..].iter().all(|name| process.count(name) > 10)
        })
        .await;
        assert!(process.count("a") <= 2 && process.count("b") <= 2);
        assert!(process.running_max.get() <= 4, "{} ran at once", process.running_max.get());
    });
}

#[test]
fn a_check_that_panics_costs_itself_and_is_tried_again() {
    on_a_shard(async {
        let store = store();
        register(&store, &["time", "git"], Transport::StreamableHttp).await;
        let process = start(&store, options()).await;
        process.cursed.borrow_mut().push("time");
        until("the other is checked", || process.count("git") > 10).await;
        process.cursed.borrow_mut().clear();
        until("it is checked again", || process.count("time") > 0).await;
    });
}

#[test]
fn a_change_by_somebody_else_in_between_is_not_overwritten() {
    on_a_shard(async {
        let store = store();
        register(&store, &["time"], Transport::StreamableHttp).await;
        let process = start(&store, Options { threshold: 1, ..options() }).await;
        process.stuck.borrow_mut().push("time");
        process.silent.borrow_mut().push("time");
        until("a check is under way", || process.count("time") > 0).await;
        // Written on another machine: this process does not know of it.
        let mut record = Gateway::clone(&process.record("time"));
        record.description = Some("by somebody else".to_owned());
        record.audit.version += 1;
        store.apply(vec![Mutation::PutGateway(Box::new(record))]).await.unwrap();
        process.released.open();
        until("it left", || !process.record("time").reachable).await;
        let record = stored(&store, "time").await;
        assert_eq!(record.description.as_deref(), Some("by somebody else"));
        assert_eq!(record.audit.version, 3);
    });
}

#[test]
fn upstreams_that_come_and_go_are_followed() {
    on_a_shard(async {
        let store = store();
        let process = start(&store, options()).await;
        register(&store, &["late"], Transport::StreamableHttp).await;
        process.catch_up().await;
        until("it is checked", || process.count("late") > 3).await;
        let mut record = Gateway::clone(&process.record("late"));
        record.enabled = false;
        store.apply(vec![Mutation::PutGateway(Box::new(record))]).await.unwrap();
        process.catch_up().await;
        register(&store, &["later"], Transport::StreamableHttp).await;
        process.catch_up().await;
        until("the next is checked", || process.count("later") > 0).await;
        let checks = process.count("late");
        until("the next is checked often", || process.count("later") > 10).await;
        assert!(process.count("late") <= checks + 1, "one that is switched off is checked");
    });
}
