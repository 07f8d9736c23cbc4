//! Watchers on one real store, with upstreams that say what the test has them say.

use std::{cell::Cell, collections::BTreeSet};

use shards::{Driver, runtime};
use storage::{
    Feed, Location, Store, StoreOptions,
    record::{Era, Gateway, new_id},
    seal::Sealer,
};

use super::*;
use crate::{catalog::inventory::Listed, failure::UpstreamKind, upstream::watch::Told};

/// Longer than any test takes.
const AGES: Duration = Duration::from_secs(20);

const NAME: &str = "up";

/// One process, which watches one upstream.
struct Process {
    store: Store,
    sealer: Sealer,
    node_id: String,
    catalog: RefCell<Arc<Catalog>>,
    wants: Wants,
    ears: RefCell<Vec<Rc<Ear>>>,
    /// What the upstream answers to who would listen: nothing as long as this is empty.
    endings: RefCell<Vec<Result<Deaf, Failure>>>,
    /// Rung to end a watch.
    hang_up: Bell,
    watch_count: Cell<usize>,
    tools: RefCell<Vec<&'static str>>,
    is_away: Cell<bool>,
    read_count: Cell<usize>,
    caught_up: Cell<bool>,
    /// How often the lease was asked for.
    hold_count: Cell<usize>,
    news: RefCell<Vec<News>>,
    watchers: Rc<Watchers>,
    stop: Rc<Gate>,
}

fn store() -> Store {
    Store::open(&StoreOptions::new(Location::SqliteMemory)).unwrap().0
}

fn failure() -> Failure {
    Failure::upstream(NAME, UpstreamKind::Unreachable, "connection refused", false)
}

/// Starts a process, and waits until it listens.
async fn start(store: &Store) -> Rc<Process> {
    let process = Rc::new(Process {
        store: store.clone(),
        sealer: Sealer::new("a secret that only tests have"),
        node_id: new_id(),
        catalog: RefCell::default(),
        wants: Wants::new(|_| {}),
        ears: RefCell::default(),
        endings: RefCell::default(),
        hang_up: Bell::default(),
        watch_count: Cell::new(0),
        tools: RefCell::new(vec!["now"]),
        is_away: Cell::new(false),
        read_count: Cell::new(0),
        caught_up: Cell::new(false),
        hold_count: Cell::new(0),
        news: RefCell::default(),
        watchers: Rc::default(),
        stop: Rc::default(),
    });
    process.follow().await;
    let (watchers, stop) = (process.watchers.clone(), process.stop.clone());
    task::spawn(Warden::new(process.clone(), watchers, stop).run(|_| true));
    until("it listens", || process.watch_count.get() == 1).await;
    process
}

async fn register(store: &Store) {
    let gateway = Gateway {
        id: NAME.to_owned(),
        name: NAME.to_owned(),
        slug: NAME.to_owned(),
        ..Gateway::default()
    };
    store.apply(vec![Mutation::PutGateway(Box::new(gateway))]).await.unwrap();
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(time::timeout(AGES, wait).await.is_ok(), "waited in vain until {what}");
}

fn run(body: impl Future<Output = ()> + 'static) {
    runtime::block_on(Driver::Epoll, body).expect("the driver starts");
}

impl Process {
    fn say(&self, told: Told) {
        self.ears.borrow().last().expect("somebody listens").hear(told);
    }

    fn tool_names(&self) -> Vec<String> {
        let catalog = self.catalog.borrow();
        catalog.everything.tools.iter().map(|(name, _)| name.to_string()).collect()
    }

    async fn follow(&self) {
        let mut catalog = Catalog::clone(&self.catalog.borrow());
        let feed = self.store.changes_since(catalog.sequence, 10_000).await.unwrap();
        let Feed::Changes(changes) = feed else { panic!("nothing was pruned") };
        catalog.apply(changes.items, &self.sealer);
        catalog.sequence = changes.sequence;
        *self.catalog.borrow_mut() = Arc::new(catalog);
        self.watchers.bell.ring();
    }
}

impl World for Process {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.borrow().clone()
    }

    async fn watch(&self, _: &Arc<Upstream>, ear: &Rc<Ear>) -> Result<Deaf, Failure> {
        self.watch_count.set(self.watch_count.get() + 1);
        let ending = self.endings.borrow_mut().pop();
        if let Some(ending) = ending {
            return ending;
        }
        self.ears.borrow_mut().push(ear.clone());
        ear.hear(Told::Began);
        self.hang_up.wait().await;
        Err(failure())
    }

    async fn read(&self, _: &Arc<Upstream>) -> Result<Inventory, Failure> {
        self.read_count.set(self.read_count.get() + 1);
        if self.is_away.get() {
            return Err(failure());
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
            tools: self.tools.borrow().iter().map(listed).collect(),
            resources: Vec::new(),
            templates: Vec::new(),
            prompts: Vec::new(),
            skipped: Vec::new(),
        })
    }

    async fn hold(&self, lease: &str) -> Result<Option<i64>, Failure> {
        self.hold_count.set(self.hold_count.get() + 1);
        Ok(self.store.hold_lease(lease, &self.node_id, AGES).await?)
    }

    async fn release(&self, lease: &str) -> Result<(), Failure> {
        Ok(self.store.release_lease(lease, &self.node_id).await?)
    }

    async fn apply(&self, mutations: Vec<Mutation>) -> Result<(), Failure> {
        self.store.apply(mutations).await?;
        self.follow().await;
        Ok(())
    }

    fn catch_up(&self) {
        self.caught_up.set(true);
    }

    fn separator(&self) -> &'static str {
        "-"
    }

    fn wants(&self) -> &Wants {
        &self.wants
    }

    async fn tell(&self, news: News) {
        self.news.borrow_mut().push(news);
    }
}

#[test]
fn a_burst_of_words_is_one_reading_and_streams_hear_only_of_what_they_cannot_see() {
    run(async {
        let store = store();
        register(&store).await;
        let process = start(&store).await;
        for _ in 0..1000 {
            process.say(Told::Changed(Kind::Tools));
            process.say(Told::Changed(Kind::Prompts));
        }
        until("it is told", || !process.news.borrow().is_empty()).await;
        assert_eq!(process.tool_names(), ["up-now"]);
        assert_eq!(process.read_count.get(), 1);
        // The catalog tells of the tools, since there is one more.
        let told =
            News { upstream_id: NAME.to_owned(), changed: vec![Kind::Prompts], ..News::default() };
        assert_eq!(*process.news.borrow(), [told]);
        process.stop.open();
    });
}

#[test]
fn resources_are_told_of_once_and_only_if_somebody_wants_to_hear() {
    run(async {
        let store = store();
        register(&store).await;
        let process = start(&store).await;
        let _wanted = process.wants.want(NAME, "a");
        assert_eq!(process.wants.of(NAME), BTreeSet::from(["a".to_owned()]));
        for uri in ["b", "a", "a", "b"] {
            process.say(Told::Updated(uri.to_owned()));
        }
        until("it is told", || !process.news.borrow().is_empty()).await;
        assert_eq!(process.news.borrow()[0].updated, ["a"]);
        assert_eq!(process.read_count.get(), 0, "no list changed");
        process.stop.open();
    });
}

#[test]
fn what_was_said_while_nobody_listened_is_found_when_somebody_does_again() {
    run(async {
        let store = store();
        register(&store).await;
        let process = start(&store).await;
        assert_eq!(process.read_count.get(), 0, "it was read when it was registered");
        process.endings.borrow_mut().extend([Err(failure()), Err(failure())]);
        process.hang_up.ring();
        until("its tools are there", || process.tool_names() == ["up-now"]).await;
        assert_eq!((process.watch_count.get(), process.read_count.get()), (4, 1));
        assert_eq!(*process.news.borrow(), [], "the catalog tells of it");
        process.stop.open();
    });
}

#[test]
fn of_two_processes_that_hear_the_same_one_reads() {
    run(async {
        let store = store();
        register(&store).await;
        let (one, other) = (start(&store).await, start(&store).await);
        // The one reads still when the other begins.
        assert!(one.hold("refresh:up").await.unwrap().is_some());
        other.say(Told::Changed(Kind::Tools));
        until("the other asks for the lease", || other.hold_count.get() == 1).await;
        one.say(Told::Changed(Kind::Tools));
        until("the one has read", || one.tool_names() == ["up-now"]).await;
        other.follow().await;
        until("the other knows", || other.caught_up.get()).await;
        assert_eq!(other.read_count.get(), 0);
        assert_eq!(*other.news.borrow(), []);
        one.stop.open();
        other.stop.open();
    });
}

#[test]
fn an_upstream_that_cannot_be_read_is_tried_again() {
    run(async {
        let store = store();
        register(&store).await;
        let process = start(&store).await;
        process.is_away.set(true);
        process.say(Told::Changed(Kind::Tools));
        until("it was tried", || process.read_count.get() == 1).await;
        process.is_away.set(false);
        until("its tools are there", || process.tool_names() == ["up-now"]).await;
        assert_eq!(process.read_count.get(), 2);
        process.stop.open();
    });
}

#[test]
fn one_that_says_nothing_by_itself_is_left_alone_until_it_is_another() {
    run(async {
        let store = store();
        register(&store).await;
        let process = start(&store).await;
        process.endings.borrow_mut().push(Ok(Deaf));
        process.hang_up.ring();
        until("it was asked again", || process.watch_count.get() == 2).await;
        let mut gateway = Gateway::clone(&process.catalog().upstream(NAME).unwrap().record);
        gateway.description = Some("another".to_owned());
        process.apply(vec![Mutation::PutGateway(Box::new(gateway.clone()))]).await.unwrap();
        gateway.capabilities = Some("{}".to_owned());
        process.apply(vec![Mutation::PutGateway(Box::new(gateway.clone()))]).await.unwrap();
        until("it was asked as another", || process.watch_count.get() == 3).await;
        gateway.enabled = false;
        process.apply(vec![Mutation::PutGateway(Box::new(gateway))]).await.unwrap();
        until("nobody watches it", || process.watchers.ears.borrow().is_empty()).await;
        process.stop.open();
    });
}
