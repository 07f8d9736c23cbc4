//! The walls: which crate and which room may name which. Every arrow that runs back up is an error.

#![forbid(unsafe_code)]

mod licences;
mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use paths::{NamedPath, named};

/// Each crate with the crates of ours that it may name. Nobody may name `benches`.
const CRATES: [(&str, &[&str]); 5] = [
    ("shards", &[]),
    ("net", &["shards"]),
    ("storage", &["net", "shards"]),
    (".", &["ringway", "storage", "net", "shards"]),
    ("benches", &["ringway", "storage", "net", "shards"]),
];

/// The rooms of `src`, highest first. A room names rooms below its row; rooms of one row may name
/// each other only one way.
const ROOMS: [&[&str]; 10] = [
    &["main"],
    &["cli"],
    &["serve"],
    &["gateway", "admin", "bridge"],
    &["state"],
    &["upstream"],
    &["session"],
    &["route"],
    &[
        "auth", "mcp", "observe", "openapi", "policy", "reply", "safety", "settings", "throttle",
        "web",
    ],
    &["catalog", "failure", "own", "permission", "schema", "yaml", "limits"],
];

/// Foreign crates that only one crate of ours may name. `benches` compares runtimes and may.
const FENCED: [(&str, &str); 5] = [
    ("monoio", "shards"),
    ("io_uring", "shards"),
    ("tokio_postgres", "storage"),
    ("redis", "storage"),
    ("rusqlite", "storage"),
];

/// One Rust source file and where it stands.
struct Source {
    /// The crate's folder: one of [`CRATES`].
    home: &'static str,
    /// The path below the crate's `src`.
    below: PathBuf,
    paths: Vec<NamedPath>,
}

impl Source {
    fn place(&self, line: usize) -> String {
        format!("{}/src/{}:{line}", self.home, self.below.display())
    }

    /// The module path of the file below its crate's root: `["mcp", "message"]`.
    fn modules(&self) -> Vec<String> {
        let bare = self.below.with_extension("");
        let names = bare.iter().map(|part| part.to_string_lossy().into_owned());
        names.filter(|name| !["lib", "mod"].contains(&name.as_str())).collect()
    }
}

fn root() -> &'static Path {
    // Tests run in the folder of their package.
    Path::new(".")
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for (home, _) in CRATES {
        let folder = root().join(home).join("src");
        collect(&folder, &mut |path| {
            let text = fs::read_to_string(path).expect("a listed file is readable");
            let below = path.strip_prefix(&folder).expect("it was found there").to_owned();
            found.push(Source { home, below, paths: named(&text) });
        });
    }
    found
}

fn collect(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("the folder stays while it is read").path();
        if path.is_dir() {
            collect(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            visit(&path);
        }
    }
}

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "{} arrows run back up:\n{}", found.len(), found.join("\n"));
}

/// The names of the tables `dependencies`, `dev-dependencies` and `build-dependencies`.
fn manifest_dependencies(text: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(table) = line.strip_prefix('[') {
            inside = table.trim_end_matches(']').ends_with("dependencies");
        } else if inside && line.starts_with(|first: char| first.is_alphabetic()) {
            let name = line.split(['=', '.', ' ']).next().expect("split gives one part at least");
            found.insert(name.replace('-', "_"));
        }
    }
    found
}

#[test]
fn crates_depend_only_on_crates_below_them() {
    let mut wrong = Vec::new();
    for (home, allowed) in CRATES {
        let manifest = root().join(home).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("every crate has a manifest");
        for name in manifest_dependencies(&text) {
            let ours = CRATES.iter().any(|(other, _)| *other == name) || name == "ringway";
            if ours && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{home}/Cargo.toml names {name}"));
            }
            let fence = FENCED.iter().find(|(foreign, _)| *foreign == name);
            if fence.is_some_and(|(_, owner)| *owner != home && home != "benches") {
                wrong.push(format!("{home}/Cargo.toml names {name}"));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn only_the_fence_s_owner_names_a_fenced_crate() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.home != "benches") {
        for path in source.paths.iter().filter(|path| path.segments.len() > 1) {
            let fence = FENCED.iter().find(|(foreign, _)| *foreign == path.segments[0]);
            if fence.is_some_and(|(_, owner)| *owner != source.home) {
                wrong.push(format!("{} names {}", source.place(path.line), path.segments[0]));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn unsafe_stands_only_in_shards() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.home != "shards") {
        for path in source.paths.iter().filter(|path| path.segments == ["unsafe"]) {
            wrong.push(format!("{} says unsafe", source.place(path.line)));
        }
    }
    assert_none(wrong);
}

#[test]
fn every_crate_but_shards_forbids_unsafe() {
    for crate_root in ["net/src/lib.rs", "storage/src/lib.rs", "src/lib.rs", "src/main.rs"] {
        let text = fs::read_to_string(root().join(crate_root)).expect("the crate has a root");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{crate_root} does not forbid unsafe");
    }
}

/// Which row of [`ROOMS`] a room stands in, 0 the highest.
fn row(room: &str) -> Option<usize> {
    ROOMS.iter().position(|rooms| rooms.contains(&room))
}

/// The room that `path`, written in the file with these modules, leads to; `None` for other crates
/// and for the file's own room.
fn room_named(modules: &[String], path: &NamedPath) -> Option<String> {
    let mut at = modules.to_vec();
    let mut rest = path.segments.as_slice();
    match rest.first()?.as_str() {
        "crate" | "ringway" => at.clear(),
        "super" => {
            while rest.first().is_some_and(|segment| segment == "super") {
                at.pop();
                rest = &rest[1..];
            }
            let room = at.first().or(rest.first())?;
            return (Some(room) != modules.first()).then(|| room.clone());
        }
        _ => return None,
    }
    rest.get(1).filter(|room| Some(*room) != modules.first()).cloned()
}

/// Every arrow from room to room, with the places where it is drawn.
fn arrows<'a>(
    sources: impl Iterator<Item = &'a Source>,
) -> BTreeMap<(String, String), Vec<String>> {
    let mut found: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for source in sources {
        let modules = source.modules();
        let Some(room) = modules.first().cloned() else { continue };
        for path in &source.paths {
            let target = room_named(&modules, path).filter(|target| row(target).is_some());
            if let Some(target) = target {
                found.entry((room.clone(), target)).or_default().push(source.place(path.line));
            }
        }
    }
    found
}

/// What is wrong with these arrows: those that run up, and pairs in one row that run both ways.
fn forbidden(arrows: &BTreeMap<(String, String), Vec<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((from, to), places) in arrows {
        let up = row(from) > row(to);
        let loops = row(from) == row(to) && arrows.contains_key(&(to.clone(), from.clone()));
        if up || loops {
            wrong.push(format!("{from} names {to}: {}", places.join(", ")));
        }
    }
    wrong
}

#[test]
fn rooms_name_only_rooms_below_them() {
    let all = sources();
    assert_none(forbidden(&arrows(all.iter().filter(|source| source.home == "."))));
}

#[test]
fn every_room_of_src_has_its_row() {
    let all = sources();
    let rooms = all.iter().filter(|source| source.home == ".").map(Source::modules);
    let unknown: BTreeSet<String> = rooms
        .filter_map(|modules| modules.first().cloned())
        .filter(|room| row(room).is_none())
        .collect();
    assert!(unknown.is_empty(), "rooms without a row in this test: {unknown:?}");
}

fn drawn(file: &str, text: &str) -> Source {
    Source { home: ".", below: PathBuf::from(file), paths: named(text) }
}

#[test]
fn an_arrow_up_is_found_however_it_is_written() {
    for text in [
        "use crate::serve::run;",
        "use crate::{limits, serve::run};",
        "fn f() { crate::serve::run() }",
        "use super::super::serve;",
        "use ringway::serve::run;",
    ] {
        let found = forbidden(&arrows([drawn("route/table.rs", text)].iter()));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with("route names serve: ./src/route/table.rs:1"), "{found:?}");
    }
}

#[test]
fn an_arrow_down_or_inside_a_room_is_free() {
    for text in
        ["use crate::catalog::Catalog;", "use super::table::Row;", "use crate::route::table;"]
    {
        let found = forbidden(&arrows([drawn("route/find.rs", text)].iter()));
        assert_eq!(found, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn rooms_of_one_row_may_not_name_each_other_both_ways() {
    let one = drawn("mcp.rs", "use crate::reply::Reply;");
    let other = drawn("reply.rs", "use crate::mcp::Message;");
    assert_eq!(forbidden(&arrows([&one].into_iter())).len(), 0);
    assert_eq!(forbidden(&arrows([&one, &other].into_iter())).len(), 2);
}

#[test]
fn manifests_are_read_table_by_table() {
    let text = "[package]\nname = \"x\"\n[dependencies]\nnet = { path = \"net\" }\nio-uring.workspace = true\n[lints]\na = 1\n";
    let expected = ["io_uring", "net"].map(str::to_owned);
    assert_eq!(manifest_dependencies(text), BTreeSet::from(expected));
}
