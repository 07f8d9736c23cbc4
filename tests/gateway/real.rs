//! Real servers, all behind one virtual server: each works, and when one is killed in the middle of a
//! call, that call fails clearly, the others do not notice, and it comes back by itself.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::io::ioctl_fionread;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, MODERN, names};
use crate::harness::tools::tools;
use crate::harness::upstreams::{Served, everything_stdio, stdio, time_stdio};
use crate::harness::wire::{Wire, request};

/// How long a server may take to come back: its program starts anew, perhaps held back a little.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// A server: its tool to be called, with what, what the answer must contain, and for a child what its
/// command line contains.
struct Server {
    tool: &'static str,
    arguments: Value,
    contains: &'static str,
    child: Option<&'static str>,
}

/// A gateway with everything behind one virtual server.
struct World {
    gateway: Gateway,
    path: String,
    sse: Served,
    http: Served,
    folder: TempDir,
}

impl World {
    fn start() -> World {
        let folder = folder();
        let (sse, http) = (Served::everything_sse(), Served::everything_http());
        let gateway = Gateway::start();
        let registrations = [
            everything_stdio("everything"),
            sse.registration("by-sse"),
            http.registration("by-http"),
            time_stdio("time"),
        ];
        let registrations = registrations.into_iter().chain(children(&folder));
        let ids: Vec<Value> = registrations.map(|one| gateway.add(&one)["id"].clone()).collect();
        let server = json!({"name": "all", "associated_gateways": ids, "auth_required": false});
        let made = gateway.post("/servers", &json!({ "server": server })).expect(201).json();
        let path = format!("/servers/{}/mcp", made["id"].as_str().expect("an id"));
        World { gateway, path, sse, http, folder }
    }

    fn servers(&self) -> Vec<Server> {
        let server = |tool, arguments, contains, child| Server { tool, arguments, contains, child };
        let folder = self.folder.path().display().to_string();
        let said = json!({"message": "hello"});
        let thought = json!({
            "thought": "one", "nextThoughtNeeded": false, "thoughtNumber": 1, "totalThoughts": 1,
        });
        let health = json!({"url": self.gateway.url("/health"), "raw": true});
        vec![
            server("everything-echo", said.clone(), "hello", Some("server-everything")),
            server("by-sse-echo", said.clone(), "hello", None),
            server("by-http-echo", said, "hello", None),
            server("time-get-current-time", json!({"timezone": "UTC"}), "UTC", Some("server-time")),
            server(
                "files-read-text-file",
                json!({"path": format!("{folder}/note")}),
                "a note",
                Some("server-filesystem"),
            ),
            server("memory-read-graph", json!({}), "entities", Some("server-memory")),
            server(
                "thinking-sequentialthinking",
                thought,
                "thoughtHistoryLength",
                Some("server-sequential-thinking"),
            ),
            server("git-git-log", json!({"repo_path": folder}), "the first", Some("server-git")),
            server("fetch-fetch", health, "healthy", Some("server-fetch")),
        ]
    }

    fn client(&self) -> Client<'_> {
        Client::modern(&self.gateway, &self.path)
    }

    fn call(&self, server: &Server) -> Value {
        let params = json!({"name": server.tool, "arguments": server.arguments});
        self.client().ask("tools/call", params)
    }

    #[track_caller]
    fn assert_works(&self, server: &Server) {
        let envelope = self.call(server);
        assert!(works(server, &envelope), "{}: {envelope}", server.tool);
    }

    /// Checks that every server but this one answers.
    #[track_caller]
    fn assert_others_work(&self, tool: &str) {
        for server in self.servers().iter().filter(|server| server.tool != tool) {
            self.assert_works(server);
        }
    }

    fn works_again(&self, server: &Server) {
        eventually(server.tool, BACK_WITHIN, || works(server, &self.call(server)).then_some(()));
    }

    /// The process of the gateway's child whose command line contains `name`.
    fn child(&self, name: &str) -> Pid {
        let parent = format!("PPid:\t{}\n", self.gateway.process_id());
        let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
        let mut ids = processes.filter_map(|one| one.file_name().to_str()?.parse::<i32>().ok());
        let found = ids.find(|id| {
            let read = |file: &str| fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&read("status")).contains(&parent)
                && String::from_utf8_lossy(&read("cmdline")).contains(name)
        });
        found.and_then(Pid::from_raw).unwrap_or_else(|| panic!("no child {name}"))
    }
}

/// A folder with a note, under the version control of git.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("note"), "a note").expect("the folder is ours");
    for arguments in ["init -q", "add note", "commit -q -m the\u{a0}first"] {
        let arguments = arguments.split(' ').map(|one| one.replace('\u{a0}', " "));
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-C"]);
        let status = git.arg(folder.path()).args(arguments).status().expect("git starts");
        assert!(status.success(), "git: {status}");
    }
    folder
}

/// The registrations of the servers over stdio that work on a folder.
fn children(folder: &TempDir) -> [Value; 5] {
    let tools = tools();
    let folder = folder.path().display();
    let node = |name: &str| {
        let file = format!("@modelcontextprotocol/server-{name}/dist/index.js");
        format!("{} {}", tools.node.join("bin/node").display(), tools.package_file(&file).display())
    };
    let python = |name: &str| tools.python.join("bin").join(name).display().to_string();
    let memory = format!("env MEMORY_FILE_PATH={folder}/memory.json {}", node("memory"));
    let fetch = python("mcp-server-fetch");
    [
        stdio("files", &format!("{} {folder}", node("filesystem"))),
        stdio("memory", &memory),
        stdio("thinking", &node("sequential-thinking")),
        stdio("git", &format!("{} --repository {folder}", python("mcp-server-git"))),
        stdio("fetch", &format!("{fetch} --ignore-robots-txt --allow-private-ips")),
    ]
}

fn works(server: &Server, envelope: &Value) -> bool {
    let result = &envelope["result"];
    result["content"].to_string().contains(server.contains) && result["isError"] != true
}

/// Checks that a call told of its failure, in words.
#[track_caller]
fn assert_failed(tool: &str, envelope: &Value) {
    let told = match &envelope["error"] {
        Value::Null if envelope["result"]["isError"] == true => {
            &envelope["result"]["content"][0]["text"]
        }
        error => &error["message"],
    };
    let told = told.as_str().unwrap_or_else(|| panic!("{tool}: {envelope}"));
    assert!(!told.trim().is_empty(), "{tool}: {envelope}");
}

/// How many bytes a process has not read yet of what was written to its sockets; its standard input
/// is one of them, by that number or another.
fn unread(process: Pid) -> u64 {
    let folder = format!("/proc/{}/fd", process.as_raw_nonzero());
    let handle = pidfd_open(process, PidfdFlags::empty()).expect("the child is there");
    let files = fs::read_dir(folder).expect("the child is there").flatten();
    let sockets = files.filter(|file| {
        fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    });
    let numbers = sockets.filter_map(|file| file.file_name().to_str()?.parse().ok());
    let copies = numbers.filter_map(|fd| pidfd_getfd(&handle, fd, PidfdGetfdFlags::empty()).ok());
    copies.map(|copy| ioctl_fionread(copy).unwrap_or(0)).sum()
}

/// Calls the everything server's slow tool, and reads until it tells of its progress.
fn slow_call(world: &World, tool: &str) -> (Wire, String) {
    let meta = json!({
        "progressToken": "p",
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let arguments = json!({"duration": 120, "steps": 240});
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let headers = [
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", tool),
    ];
    let mut wire = world.gateway.wire();
    wire.send(request("POST", &world.path, &headers, body.to_string().as_bytes()));
    let head = wire.head().expect("an answer");
    assert_eq!(head.header("content-type"), Some("text/event-stream"), "{tool}: {head:?}");
    let mut text = String::new();
    while !text.contains("notifications/progress") {
        text.push_str(&next(&mut wire).unwrap_or_else(|| panic!("{tool}: it ended: {text}")));
    }
    (wire, text)
}

fn next(wire: &mut Wire) -> Option<String> {
    wire.chunk().map(|chunk| String::from_utf8(chunk).expect("events are text"))
}

/// Reads the rest of a stream, and gives its last message.
fn last_message(mut wire: Wire, mut text: String) -> Value {
    while let Some(more) = next(&mut wire) {
        text.push_str(&more);
    }
    let mut data = text.lines().rev().filter_map(|line| line.strip_prefix("data: "));
    serde_json::from_str(data.next().expect("an event")).expect("JSON")
}

#[test]
fn real_servers_work_side_by_side_and_come_back_when_they_are_killed() {
    let mut world = World::start();
    let listed = world.client().result("tools/list", json!({}));
    let listed = names(&listed["tools"], "name");
    for server in world.servers() {
        assert!(listed.contains(&server.tool.to_owned()), "{} in {listed:?}", server.tool);
        world.assert_works(&server);
    }
    for server in world.servers() {
        if let Some(name) = server.child {
            kill_in_mid_call(&world, &server, name);
        }
    }
    for (which, script) in [("by-sse", "sse"), ("by-http", "streamableHttp")] {
        kill_served_in_mid_call(&mut world, which, script);
    }
}

/// A stopped child takes no call, so the one that waits in its pipe is in the middle when it dies.
fn kill_in_mid_call(world: &World, server: &Server, name: &str) {
    let child = world.child(name);
    kill_process(child, Signal::STOP).expect("the child is there");
    let envelope = std::thread::scope(|scope| {
        let called = scope.spawn(|| world.call(server));
        eventually("the call is with the child", BACK_WITHIN, || (unread(child) > 0).then_some(()));
        world.assert_others_work(server.tool);
        kill_process(child, Signal::KILL).expect("the child is there");
        called.join().expect("the call is answered")
    });
    assert_failed(server.tool, &envelope);
    world.works_again(server);
    assert_ne!(world.child(name), child, "{name}");
    world.assert_others_work(server.tool);
}

fn kill_served_in_mid_call(world: &mut World, which: &str, script: &str) {
    let tool = format!("{which}-trigger-long-running-operation");
    let (wire, text) = slow_call(world, &tool);
    let echo = format!("{which}-echo");
    world.assert_others_work(&echo);
    let served = if which == "by-sse" { &mut world.sse } else { &mut world.http };
    served.kill();
    assert_failed(&tool, &last_message(wire, text));
    world.assert_others_work(&echo);
    let served = if which == "by-sse" { &mut world.sse } else { &mut world.http };
    served.restart_everything(script);
    let servers = world.servers();
    let server = servers.iter().find(|server| server.tool == echo).expect("it is listed");
    world.works_again(server);
}
