//! Children are small Python programs that the tests write; what they were sent is in their log.

use std::{collections::BTreeMap, path::PathBuf, sync::atomic::AtomicU32};

use net::jsonrpc;
use shards::{Driver, Preference, driver, runtime, task};
use storage::record::{Era, Gateway, ProtocolPin, Transport};

use super::*;
use crate::upstream::Outcome;

/// A server whose manners depend on its first argument. It writes every line that it reads into
/// the file of its second argument.
const SERVER: &str = r#"
import json, os, sys, time
mode, log = sys.argv[1], open(sys.argv[2], "a")

def note(text):
    log.write(text + "\n")
    log.flush()

def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()

def result(message, value):
    say({"jsonrpc": "2.0", "id": message["id"], "result": value})

def error(message, code, data=None):
    say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": "no", "data": data}})

def read():
    line = sys.stdin.readline()
    if not line:
        note("eof")
        if mode == "stubborn":
            while True:
                time.sleep(1)
        sys.exit(0)
    note(line.strip())
    return json.loads(line)

def updated(uri):
    say({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}})

def call(message):
    params = message["params"]
    name, meta = params.get("name"), params.get("_meta", {})
    if name == "echo":
        result(message, params)
    elif name == "progress":
        for step in (1, 2):
            token = {"progressToken": meta["progressToken"], "progress": step}
            say({"jsonrpc": "2.0", "method": "notifications/progress", "params": token})
        say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 999, "progress": 1}})
        result(message, {})
    elif name == "crash":
        sys.stderr.write("first line\nout of \x1b[31mluck\n")
        sys.stderr.flush()
        os._exit(7)
    elif name == "noise":
        sys.stdout.write("hello from a print\n\n[1,2]\n{\"jsonrpc\":\"2.0\"}\n")
        say({"jsonrpc": "2.0", "id": 424242, "result": {}})
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}})
        result(message, {})
    elif name == "deep":
        sys.stdout.write('{"jsonrpc":"2.0","id":%d,"result":%s}\n' % (message["id"], "[" * 500 + "]" * 500))
        sys.stdout.flush()
    elif name == "string":
        say({"jsonrpc": "2.0", "id": str(message["id"]), "result": {}})
    elif name == "huge":
        result(message, {"text": "x" * 300000})
    elif name == "ask":
        say({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        say({"jsonrpc": "2.0", "id": "r", "method": "roots/list"})
        result(message, {"answers": [read(), read()]})
    elif name == "elicit":
        say({"jsonrpc": "2.0", "id": "e", "method": "elicitation/create", "params": {"message": "?"}})
        result(message, {"pid": os.getpid(), "answer": read()})
    elif name == "log":
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "x"}})
        result(message, {})
    elif name == "env":
        result(message, dict(os.environ))
    elif name == "sleep":
        time.sleep(1000)

if mode == "exits":
    sys.stderr.write("cannot start: no license\n")
    sys.exit(3)
note("start")
while True:
    message = read()
    method = message["method"]
    if method == "server/discover":
        if mode in ("legacy", "stubborn"):
            error(message, -32601)
        elif mode == "dies":
            sys.exit(1)
        elif mode == "capability":
            error(message, -32021, {"requiredCapabilities": {}})
        elif mode == "future":
            error(message, -32022, {"supported": ["2031-01-01"]})
        elif mode == "talks":
            error(message, -32601)
        elif mode in ("modern", "strict"):
            result(message, {"resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "public"})
    elif method == "initialize" and mode == "strict":
        error(message, -32022, {"supported": ["2026-07-28"]})
    elif method == "initialize":
        result(message, {"protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}, "logging": {}, "resources": {"subscribe": mode == "talks"}}, "serverInfo": {"name": mode, "version": "1"}})
    elif method == "resources/subscribe":
        result(message, {})
        updated(message["params"]["uri"])
    elif method == "subscriptions/listen":
        for uri in message["params"]["notifications"].get("resourceSubscriptions", []):
            updated(uri)
    elif method in ("resources/unsubscribe", "logging/setLevel"):
        result(message, {})
    elif method == "tools/call":
        call(message)
"#;

mod listen;
mod logs;

fn limits() -> StdioLimits {
    StdioLimits {
        sessions: KeyedLimits::default(),
        pending_count_max: 8,
        line_size_max: 64 * 1024,
        queue_size_max: 64 * 1024,
        start_within: Duration::from_secs(20),
        probe_within: Duration::from_secs(10),
        restart_delay_min: Duration::from_millis(10),
        restart_delay_max: Duration::from_secs(60),
        stop_patience: Duration::from_secs(5),
    }
}

/// A host on this shard, a folder for the child's log, and a leg to the child.
struct World {
    folder: tempfile::TempDir,
    host: Rc<StdioHost>,
    mailbox: mailbox::Sender<StdioMail>,
    upstream: Upstream,
}

impl World {
    fn new(mode: &str, limits: StdioLimits) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("server.py");
        std::fs::write(&script, SERVER).expect("written");
        let host = StdioHost::new(limits);
        let (mailbox, mail) = mailbox::channel(64);
        let serving = host.clone();
        task::spawn(async move { serving.serve(mail).await });
        let text = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
        let log = text(folder.path().join("log"));
        let command = vec!["python3".to_owned(), text(script), mode.to_owned(), log];
        let upstream = upstream(Gateway { command, ..Gateway::default() });
        World { folder, host, mailbox, upstream }
    }

    fn leg(&self) -> StdioLeg {
        let upstream = self.upstream.record.as_ref().clone();
        let environment = self.upstream.environment.clone();
        let upstream = Upstream { environment, ..super::tests::upstream(upstream) };
        StdioLeg::new(Arc::new(upstream), Rc::new(self.mailbox.clone()), Duration::from_secs(5))
    }

    fn change(&mut self, change: impl FnOnce(&mut Gateway)) {
        let mut record = self.upstream.record.as_ref().clone();
        change(&mut record);
        self.upstream.record = Arc::new(record);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn count(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until the child was sent, or wrote down, `text`.
    async fn noted(&self, text: &str) {
        let started = Instant::now();
        while self.count(text) == 0 {
            assert!(started.elapsed() < Duration::from_secs(10), "no {text:?} in:\n{}", self.log());
            time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn upstream(record: Gateway) -> Upstream {
    let record = Gateway {
        id: "id".to_owned(),
        name: "child".to_owned(),
        transport: Transport::Stdio,
        ..record
    };
    Upstream { record: Arc::new(record), headers: Vec::new(), environment: BTreeMap::new() }
}

/// Runs `body` on each driver of this machine.
fn on_each_driver<F: Future<Output = ()> + 'static>(body: fn() -> F) {
    let mut drivers = vec![Driver::Epoll];
    let best = driver::choose(Preference::Auto).expect("auto finds a driver").driver;
    drivers.extend(Some(best).filter(|best| *best != Driver::Epoll));
    for driver in drivers {
        let shard = std::thread::spawn(move || {
            runtime::block_on(driver, body()).expect("the driver starts");
        });
        if let Err(panic) = shard.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

fn call(params: &str) -> Outgoing<'_> {
    let place = |key: &'static str| {
        let [meta] = jsonrpc::pick(params, ["_meta"]).unwrap();
        let [found] = jsonrpc::pick(meta?.of_text(params), [key]).unwrap();
        found.map(|found| found.shifted(meta.unwrap().start as usize))
    };
    Outgoing {
        method: "tools/call",
        params: params.as_bytes(),
        edits: Vec::new(),
        meta: jsonrpc::pick(params, ["_meta"]).unwrap()[0],
        progress_token: place("progressToken"),
        name: None,
        param_headers: Vec::new(),
        modern: false,
        within: Duration::from_secs(20),
        capabilities: crate::mcp::Capabilities::NONE,
        log_level: None,
        client: None,
    }
}

async fn result(leg: &StdioLeg, params: &str) -> String {
    match leg.request(&call(params)).await.map_err(|failure| failure.to_string()) {
        Ok(Answer::Whole(reply)) => {
            assert_eq!(reply.outcome, Outcome::Result);
            String::from_utf8(reply.raw().to_vec()).unwrap()
        }
        Ok(Answer::Stream(_)) => panic!("no notification was asked for"),
        Err(text) => panic!("{text}"),
    }
}

async fn failure(leg: &StdioLeg, params: &str) -> crate::failure::UpstreamFailure {
    match leg.request(&call(params)).await {
        Err(Failure::Upstream(failure)) => failure,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was answered"),
    }
}

#[test]
fn the_owner_of_an_upstream_is_the_same_in_every_run() {
    assert_eq!(owner("", 8), 5);
    assert_eq!(owner("anything", 1), 0);
    let owners: std::collections::HashSet<_> =
        (0..64).map(|index| owner(&format!("upstream {index}"), 4)).collect();
    assert_eq!(owners.len(), 4);
}

#[test]
fn starts_a_child_once_for_all_who_call_at_the_same_time() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let leg = world.leg();
        let call = |index| {
            let leg = world.leg();
            task::spawn(async move {
                let params = format!(r#"{{"name":"echo","arguments":{{"index":{index}}}}}"#);
                assert!(result(&leg, &params).await.contains(&format!("\"index\": {index}}}")));
            })
        };
        let calls: Vec<_> = (0..8).map(call).collect();
        for call in calls {
            call.join().await.expect("each got its own answer");
        }
        let handshake = leg.handshake(Duration::from_secs(5)).await.unwrap();
        assert_eq!(
            (handshake.era, handshake.protocol_version.as_str()),
            (Era::Legacy, "2025-11-25")
        );
        // One start for the probe, one for the session.
        assert_eq!((world.count("start"), world.count("\"initialize\"")), (2, 1));
        assert_eq!(world.count("notifications/initialized"), 1);
        world.host.stop().await;
        assert_eq!(world.count("eof"), 2, "both ended by the end of their input");
    });
}

#[test]
fn finds_the_era_that_a_child_speaks() {
    on_each_driver(|| async {
        let quick = StdioLimits { probe_within: Duration::from_millis(300), ..limits() };
        for (mode, era, starts) in [
            ("modern", Era::Modern, 1),
            ("capability", Era::Modern, 1),
            ("legacy", Era::Legacy, 2),
            ("dies", Era::Legacy, 2),
            ("mute", Era::Legacy, 2),
        ] {
            let limits = if mode == "mute" { quick } else { limits() };
            let world = World::new(mode, limits);
            let handshake = world.leg().handshake(Duration::from_secs(20)).await.unwrap();
            assert_eq!((handshake.era, world.count("start")), (era, starts), "{mode}");
            world.host.stop().await;
        }
    });
}

#[test]
fn does_not_probe_what_is_pinned_or_known() {
    on_each_driver(|| async {
        for (pin, era, method) in [
            (ProtocolPin::Legacy, None, "initialize"),
            (ProtocolPin::Auto, Some(Era::Legacy), "initialize"),
            (ProtocolPin::Modern, None, "server/discover"),
            (ProtocolPin::Auto, Some(Era::Modern), "server/discover"),
        ] {
            let mut world = World::new("modern", limits());
            world.change(|record| (record.protocol, record.era) = (pin, era));
            world.leg().handshake(Duration::from_secs(20)).await.unwrap();
            let first = world.log().lines().nth(1).unwrap_or_default().to_owned();
            assert!(first.contains(method), "{pin:?} {era:?}: {first}");
            assert_eq!(world.count("start"), 1);
            world.host.stop().await;
        }
    });
}

#[test]
fn finds_the_era_anew_when_the_program_was_replaced() {
    on_each_driver(|| async {
        let mut world = World::new("legacy", limits());
        world.change(|record| record.era = Some(Era::Modern));
        let handshake = world.leg().handshake(Duration::from_secs(20)).await.unwrap();
        assert_eq!(handshake.era, Era::Legacy);
        world.host.stop().await;
        let mut world = World::new("strict", limits());
        world.change(|record| record.era = Some(Era::Legacy));
        let handshake = world.leg().handshake(Duration::from_secs(20)).await.unwrap();
        assert_eq!(handshake.era, Era::Modern);
        world.host.stop().await;
    });
}

#[test]
fn says_that_a_child_shares_no_revision_with_us() {
    on_each_driver(|| async {
        let world = World::new("future", limits());
        let failed = world.leg().handshake(Duration::from_secs(20)).await.unwrap_err();
        assert!(failed.to_string().contains("2031-01-01"), "{failed}");
        let mut world = World::new("legacy", limits());
        world.change(|record| record.protocol = ProtocolPin::Modern);
        let failed = world.leg().handshake(Duration::from_secs(20)).await.unwrap_err();
        assert!(failed.to_string().contains("stateless revision"), "{failed}");
    });
}

#[test]
fn makes_a_legacy_clients_call_modern_for_a_modern_child() {
    on_each_driver(|| async {
        let world = World::new("modern", limits());
        let got = result(&world.leg(), r#"{"name":"echo","_meta":{"k":1}}"#).await;
        for key in ["protocolVersion", "clientCapabilities", "clientInfo"] {
            assert!(got.contains(&format!("io.modelcontextprotocol/{key}")), "{got}");
        }
        world.host.stop().await;
    });
}

#[test]
fn gives_progress_under_the_clients_own_token() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let leg = world.leg();
        let params = r#"{"name":"progress","_meta":{"progressToken":"mine"}}"#;
        let Ok(Answer::Stream(mut stream)) = leg.request(&call(params)).await else {
            panic!("progress comes first")
        };
        for step in 1..=2 {
            let Ok(Event::Notification(text)) = stream.next().await else { panic!("step {step}") };
            let text = String::from_utf8(text).unwrap();
            let wanted = format!("{{\"progressToken\": \"mine\", \"progress\": {step}}}");
            assert!(text.contains(&wanted), "{text}");
        }
        assert!(matches!(stream.next().await, Ok(Event::Reply(_))));
        assert!(stream.next().await.is_err(), "nothing comes after the answer");
        world.host.stop().await;
    });
}

#[test]
fn tells_the_child_when_nobody_waits_any_more() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let leg = world.leg();
        leg.handshake(Duration::from_secs(20)).await.unwrap();
        let outgoing = call(r#"{"name":"hang"}"#);
        let left = time::timeout(Duration::from_millis(50), leg.request(&outgoing)).await;
        assert!(left.is_err(), "it hangs");
        world.noted("notifications/cancelled").await;
        // The other way to leave: the request's own time is over.
        let outgoing = Outgoing { within: Duration::from_millis(50), ..call(r#"{"name":"hang"}"#) };
        let Err(Failure::Upstream(failed)) = leg.request(&outgoing).await else {
            panic!("it hangs")
        };
        assert_eq!(failed.kind, UpstreamKind::Timeout(Duration::from_millis(50)));
        assert!(failed.may_have_run);
        let started = Instant::now();
        while world.count("notifications/cancelled") < 2
            && started.elapsed() < Duration::from_secs(5)
        {
            time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(world.count("notifications/cancelled"), 2);
        assert!(result(&leg, r#"{"name":"echo"}"#).await.contains("echo"), "others go on");
        world.host.stop().await;
    });
}

#[test]
fn tells_how_a_child_died_and_starts_it_again() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let leg = world.leg();
        let failed = failure(&leg, r#"{"name":"crash"}"#).await;
        assert_eq!((failed.kind, failed.may_have_run), (UpstreamKind::Broken, true));
        assert!(failed.detail.contains("exit status: 7"), "{}", failed.detail);
        assert!(failed.detail.contains("first line | out of  [31mluck"), "{}", failed.detail);
        assert!(result(&leg, r#"{"name":"echo"}"#).await.contains("echo"));
        assert_eq!(world.count("\"initialize\""), 2);
        world.host.stop().await;
    });
}

#[test]
fn fails_at_once_while_the_pause_after_deaths_is_long() {
    on_each_driver(|| async {
        let slow = Duration::from_secs(40);
        let world = World::new("exits", StdioLimits { restart_delay_min: slow, ..limits() });
        let failed = failure(&world.leg(), r#"{"name":"echo"}"#).await;
        assert_eq!((failed.kind, failed.may_have_run), (UpstreamKind::Unreachable, false));
        assert!(failed.detail.contains("cannot start: no license"), "{}", failed.detail);
        let again = failure(&world.leg(), r#"{"name":"echo"}"#).await;
        assert!(again.detail.contains("failed once, next try in 3"), "{}", again.detail);
        assert!(again.detail.contains("no license"), "{}", again.detail);
    });
}

#[test]
fn says_that_there_is_no_such_program() {
    on_each_driver(|| async {
        let mut world = World::new("legacy", limits());
        world.change(|record| record.command = vec!["no-such-program-here".to_owned()]);
        let failed = failure(&world.leg(), "{}").await;
        assert_eq!(failed.kind, UpstreamKind::Unreachable);
        assert!(failed.detail.contains("no-such-program-here"), "{}", failed.detail);
    });
}

#[test]
fn survives_what_is_no_answer_on_the_output() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let leg = world.leg();
        assert_eq!(result(&leg, r#"{"name":"noise"}"#).await, "{}");
        let failed = failure(&leg, r#"{"name":"huge"}"#).await;
        assert_eq!(failed.kind, UpstreamKind::TooLarge);
        let failed = failure(&leg, r#"{"name":"deep"}"#).await;
        assert_eq!(failed.kind, UpstreamKind::Nonsense);
        assert_eq!(result(&leg, r#"{"name":"string"}"#).await, "{}");
        assert!(result(&leg, r#"{"name":"echo"}"#).await.contains("echo"));
        world.host.stop().await;
    });
}

#[test]
fn answers_a_ping_of_the_child_and_refuses_the_rest() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let got = result(&world.leg(), r#"{"name":"ask"}"#).await;
        assert!(got.contains(r#"{"jsonrpc": "2.0", "id": "p", "result": {}}"#), "{got}");
        assert!(got.contains(r#""id": "r", "error": {"code": -32601"#), "{got}");
        world.host.stop().await;
    });
}

#[test]
fn refuses_more_requests_than_may_wait() {
    on_each_driver(|| async {
        let hasty = StdioLimits { stop_patience: Duration::from_millis(300), ..limits() };
        let world = World::new("legacy", hasty);
        let leg = world.leg();
        leg.handshake(Duration::from_secs(20)).await.unwrap();
        let hang = || {
            let leg = world.leg();
            task::spawn(async move { leg.request(&call(r#"{"name":"hang"}"#)).await.is_ok() })
        };
        let _hanging: Vec<_> = (0..8).map(|_| hang()).collect();
        let started = Instant::now();
        while world.count("hang") < 8 && started.elapsed() < Duration::from_secs(10) {
            time::sleep(Duration::from_millis(5)).await;
        }
        let failed = failure(&leg, r#"{"name":"echo"}"#).await;
        assert_eq!((failed.kind, failed.may_have_run), (UpstreamKind::Full, false));
        world.host.stop().await;
    });
}

#[test]
fn a_child_that_does_not_read_neither_blocks_nor_grows_us() {
    on_each_driver(|| async {
        let limits = StdioLimits { pending_count_max: 1000, ..limits() };
        let world = World::new(
            "legacy",
            StdioLimits { stop_patience: Duration::from_millis(200), ..limits },
        );
        let leg = world.leg();
        leg.handshake(Duration::from_secs(20)).await.unwrap();
        let sleeping = world.leg();
        task::spawn(async move { sleeping.request(&call(r#"{"name":"sleep"}"#)).await.is_ok() });
        world.noted("sleep").await;
        let large = format!(r#"{{"name":"echo","arguments":"{}"}}"#, "x".repeat(60_000));
        let mut full = 0;
        for _ in 0..40 {
            let outgoing = Outgoing { within: Duration::from_millis(20), ..call(&large) };
            let Err(Failure::Upstream(failed)) = leg.request(&outgoing).await else {
                panic!("it sleeps")
            };
            full += usize::from(failed.kind == UpstreamKind::Full);
        }
        assert!(full > 0, "the queue has a bound");
        world.host.stop().await;
    });
}

#[test]
fn stops_a_child_that_does_not_heed_the_end_of_its_input() {
    on_each_driver(|| async {
        let world = World::new(
            "stubborn",
            StdioLimits { stop_patience: Duration::from_millis(200), ..limits() },
        );
        world.leg().handshake(Duration::from_secs(20)).await.unwrap();
        let started = Instant::now();
        world.host.stop().await;
        assert!(started.elapsed() < Duration::from_secs(5), "SIGTERM ended it");
        let late = world.leg().handshake(Duration::from_secs(5)).await.unwrap_err();
        assert!(late.to_string().contains("is stopping"), "{late}");
    });
}

#[test]
fn a_changed_command_gets_a_new_child_and_a_removed_upstream_none() {
    on_each_driver(|| async {
        let mut world = World::new("legacy", limits());
        let old = world.leg();
        assert!(result(&old, r#"{"name":"echo"}"#).await.contains("echo"));
        world.change(|record| {
            record.command[2] = "modern".to_owned();
            record.audit.version += 1;
        });
        let new = world.leg();
        let handshake = new.handshake(Duration::from_secs(20)).await.unwrap();
        assert_eq!(handshake.era, Era::Modern);
        let again = old.handshake(Duration::from_secs(20)).await.unwrap();
        assert_eq!(again.era, Era::Modern, "an older record does not bring the old command back");
        let (done, retired) = oneshot::channel();
        let upstream_id = "id".to_owned();
        let mail = StdioMail::Retire { upstream_id, done: Some(done) };
        assert!(world.mailbox.send(mail).is_ok());
        retired.await.expect("it is told");
        assert_eq!(world.count("eof"), world.count("start"), "every child ended");
    });
}

#[test]
fn a_child_gets_its_own_environment_and_none_of_ours() {
    on_each_driver(|| async {
        let mut world = World::new("legacy", limits());
        world.upstream.environment.insert("API_KEY".to_owned(), "k".to_owned());
        let got = result(&world.leg(), r#"{"name":"env"}"#).await;
        assert!(got.contains(r#""API_KEY": "k""#) && got.contains("\"PATH\""), "{got}");
        assert!(!got.contains("CARGO"), "{got}");
        world.host.stop().await;
    });
}

#[test]
fn other_shards_reach_the_child_by_mail() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let answered = Arc::new(AtomicU32::new(0));
        let ask = |mailbox: mailbox::Sender<StdioMail>, record: Gateway, count: Arc<AtomicU32>| {
            std::thread::spawn(move || {
                let asked = async move {
                    let leg = StdioLeg::new(
                        Arc::new(upstream(record)),
                        Rc::new(mailbox),
                        Duration::from_secs(5),
                    );
                    for _ in 0..20 {
                        result(&leg, r#"{"name":"echo"}"#).await;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                };
                runtime::block_on(Driver::Epoll, asked).expect("epoll is everywhere");
            })
        };
        let record = || world.upstream.record.as_ref().clone();
        let others: Vec<_> =
            (0..3).map(|_| ask(world.mailbox.clone(), record(), answered.clone())).collect();
        while others.iter().any(|other| !other.is_finished()) {
            time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(answered.load(Ordering::Relaxed), 60);
        assert_eq!(world.count("\"initialize\""), 1);
        world.host.stop().await;
    });
}

#[test]
fn relays_a_result_byte_by_byte() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let Ok(Answer::Whole(reply)) = world.leg().request(&call(r#"{"name":"echo"}"#)).await
        else {
            panic!("it is answered")
        };
        assert_eq!(reply.raw(), br#"{"name": "echo"}"#);
        world.host.stop().await;
    });
}

fn check<'a>(method: &'a str, within: Duration) -> Outgoing<'a> {
    crate::upstream::discover::plain(method, b"{}", within)
}

#[test]
fn a_health_check_asks_a_child_that_runs_and_starts_none() {
    on_each_driver(|| async {
        let world = World::new("modern", limits());
        let leg = world.leg();
        let asked = check("server/discover", Duration::from_secs(20));
        assert!(matches!(leg.check(&asked).await, Pulse::Asleep));
        assert_eq!(world.count("start"), 0);
        leg.handshake(Duration::from_secs(20)).await.unwrap();
        assert!(matches!(leg.check(&asked).await, Pulse::Answered));
        assert_eq!((world.count("start"), world.count("server/discover")), (1, 2));
        world.host.stop().await;
    });
}

#[test]
fn a_health_check_tells_of_a_child_that_runs_and_says_nothing() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let leg = world.leg();
        leg.handshake(Duration::from_secs(20)).await.unwrap();
        // This server knows no ping.
        let pulse = leg.check(&check("ping", Duration::from_millis(200))).await;
        let Pulse::Silent(Failure::Upstream(failure)) = pulse else { panic!("{pulse:?}") };
        assert!(matches!(failure.kind, UpstreamKind::Timeout(_)), "{failure:?}");
        world.host.stop().await;
    });
}

#[test]
fn a_health_check_tells_how_often_a_child_died_in_a_row() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let leg = world.leg();
        let asked = check("ping", Duration::from_secs(20));
        for deaths in 1..=3 {
            failure(&leg, r#"{"name":"crash"}"#).await;
            let started = Instant::now();
            let told = loop {
                match leg.check(&asked).await {
                    Pulse::Died { count, failure } => break (count, failure.detail),
                    // Its burial takes a moment.
                    pulse => assert!(started.elapsed() < Duration::from_secs(10), "{pulse:?}"),
                }
                time::sleep(Duration::from_millis(2)).await;
            };
            assert_eq!(told.0, deaths);
            assert!(told.1.contains("luck"), "{}", told.1);
        }
        world.host.stop().await;
    });
}

/// Calls the tool that asks, answers what it asks by `answer`, and returns its result.
async fn asked(leg: &StdioLeg, client: Option<&str>, answer: &str) -> serde_json::Value {
    let mut outgoing = call(r#"{"name":"elicit"}"#);
    outgoing.capabilities = Capabilities::FORMS;
    outgoing.client = client.map(Arc::from);
    let Ok(Answer::Stream(mut stream)) = leg.request(&outgoing).await else {
        panic!("nothing was asked");
    };
    loop {
        match stream.next().await.expect("an event") {
            Event::Question(question) => {
                assert_eq!(question.method, "elicitation/create");
                assert_eq!(question.params, r#"{"message": "?"}"#);
                question.answer(&crate::session::Word::Result(answer.to_owned()));
            }
            Event::Notification(_) => panic!("nothing is told"),
            Event::Reply(reply) => return serde_json::from_slice(reply.raw()).unwrap(),
        }
    }
}

#[test]
fn a_child_asks_the_client_whose_call_runs() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let leg = world.leg();
        let told = asked(&leg, None, "{\"action\":\n\"accept\"}").await;
        assert_eq!(told["answer"]["result"]["action"], "accept", "{told}");
        assert_eq!(told["answer"]["id"], "e");
        // A client that cannot be asked is not, and the child is told so.
        let refused = result(&leg, r#"{"name":"elicit"}"#).await;
        assert!(refused.contains("-32601"), "{refused}");
        assert_eq!(world.count("\"method\":\"initialize\""), 1, "all share one child");
        world.host.stop().await;
    });
}

#[test]
fn users_have_children_of_their_own_where_the_record_says_so() {
    on_each_driver(|| async {
        let sessions = KeyedLimits { count_max: 2, ..KeyedLimits::default() };
        let mut world = World::new("legacy", StdioLimits { sessions, ..limits() });
        world.change(|record| record.era = Some(Era::Legacy));
        let leg = world.leg();
        let pid = async |client| asked(&leg, client, "{}").await["pid"].clone();
        let (shared, ada, eve) = (pid(None).await, pid(Some("ada")).await, pid(Some("eve")).await);
        assert!(shared != ada && ada != eve && eve != shared);
        assert_eq!(pid(Some("ada")).await, ada);
        // There are two already, so the longest idle one goes.
        assert_ne!(pid(Some("kim")).await, eve);
        world.noted("eof").await;
        assert_eq!(pid(Some("ada")).await, ada);
        assert_eq!(pid(None).await, shared);
        assert_eq!(world.count("eof"), 1);
        world.host.stop().await;
    });
}

#[test]
fn a_user_s_child_ends_when_nobody_uses_it_and_the_shared_one_stays() {
    on_each_driver(|| async {
        let sessions = KeyedLimits { idle_within: Duration::from_millis(1), count_max: 2 };
        let mut world = World::new("legacy", StdioLimits { sessions, ..limits() });
        world.change(|record| record.era = Some(Era::Legacy));
        let leg = world.leg();
        let shared = asked(&leg, None, "{}").await["pid"].clone();
        asked(&leg, Some("ada"), "{}").await;
        world.noted("eof").await;
        assert_eq!(asked(&leg, None, "{}").await["pid"], shared);
        assert_eq!(world.count("eof"), 1);
        world.host.stop().await;
    });
}
