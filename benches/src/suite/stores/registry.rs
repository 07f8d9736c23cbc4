//! Writes and reads of the registry over REST, on each backend.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::backend::{self, Backend, Stores};
use super::visible::server_path;
use crate::load::{Expected, Numbered, Plan, Requests};
use crate::suite::measure::{Contender, Row, Sample, rounds, row, sample};
use crate::suite::{Results, Settings, Stage, Timing};

const ALL: [Backend; 3] = [Backend::Sqlite, Backend::Postgres, Backend::PostgresRedis];
const WRITE_CONCURRENCIES: [usize; 2] = [1, 8];
const READ_CONCURRENCY: usize = 8;
/// Tools that are registered, of which a list shows [`PAGE_SIZE`].
const TOOL_COUNT: usize = 100;
const PAGE_SIZE: usize = 50;
/// A new server's name is compared with all that there are, so there may be only so many, lest the
/// cost of a write depend on the length of a window.
const SERVER_COUNT_MAX: usize = 2000;
/// How long deleting what one window made may take.
const DELETE_WAIT_MAX: Duration = Duration::from_secs(600);

/// Measures `POST /servers`, `DELETE /servers/{id}`, `GET /servers/{id}` and `GET /tools`.
pub fn measure(
    settings: &Settings,
    stores: &Stores,
    folder: &Path,
    results: &mut Results,
) -> io::Result<()> {
    let mut stages = Vec::new();
    for backend in stores.available(&ALL) {
        let folder = folder.join(backend.folder_name());
        let program = stores.program(&settings.program, backend, &folder)?;
        let mut stage = Stage::build_with(settings, &program, &folder, TOOL_COUNT)?;
        backend::require(&mut stage.gateway, backend)?;
        stages.push((backend, stage));
    }
    measure_reads(settings, &stages, results)?;
    for concurrency in WRITE_CONCURRENCIES {
        eprintln!("registry writes, stores, c={concurrency}");
        results.rows.extend(measure_writes(settings.timing, &stages, concurrency)?);
    }
    Ok(())
}

fn measure_reads(
    settings: &Settings,
    stages: &[(Backend, Stage)],
    results: &mut Results,
) -> io::Result<()> {
    type Path = fn(&Value) -> String;
    let one: Path = |server| server_path(server["id"].as_str().unwrap_or_default());
    let page: Path = |_| format!("/tools?limit={PAGE_SIZE}");
    let reads = [("GET /servers/{id}, stores", one), ("GET /tools?limit=50, stores", page)];
    let mut made = Vec::new();
    for (_, stage) in stages {
        made.push(stage.gateway.post(
            "/servers",
            &json!({"server": {"name": "bench-read"}}),
            201,
        )?);
    }
    for (case, path) in reads {
        eprintln!("{case}, c={READ_CONCURRENCY}");
        let mut contenders = Vec::new();
        for ((backend, stage), server) in stages.iter().zip(&made) {
            contenders.push(reader(case, *backend, stage, &path(server))?);
        }
        results.rows.extend(rounds(settings.timing, case, &contenders, 0, READ_CONCURRENCY)?);
    }
    Ok(())
}

fn reader(case: &str, backend: Backend, stage: &Stage, path: &str) -> io::Result<Contender> {
    let gateway = &stage.gateway;
    let request = gateway.plain("GET", path);
    let (name, pids) = (backend.server().to_owned(), gateway.pids()?);
    Contender::checked(case, name, gateway.address(), request, pids, &refuse)
}

/// Says what is wrong with one record or with a page of them.
fn refuse(body: &[u8]) -> Option<&'static str> {
    match serde_json::from_slice(body).unwrap_or_default() {
        Value::Array(page) if page.len() == PAGE_SIZE => None,
        Value::Array(_) => Some("is no full page"),
        record => record["id"].is_null().then_some("has no record"),
    }
}

/// Takes turns between the backends: a window of `POST`s, and then a `DELETE` of each server that
/// it made.
fn measure_writes(
    timing: Timing,
    stages: &[(Backend, Stage)],
    concurrency: usize,
) -> io::Result<Vec<Row>> {
    let mut writers = Vec::new();
    for (backend, stage) in stages {
        writers.push(Writer::new(*backend, stage)?);
    }
    for _ in 0..timing.round_count.max(1) {
        for writer in &mut writers {
            writer.take_turn(timing, concurrency)?;
        }
    }
    let mut rows = Vec::new();
    let made = writers.iter().map(|writer| {
        let (size, base) = (writer.made_size, &writers[0].made);
        let server = writer.backend.server();
        row("POST /servers, stores", server, concurrency, size, &writer.made, base)
    });
    rows.extend(made);
    let deleted = writers.iter().map(|writer| {
        let (size, base) = (writer.deleted_size, &writers[0].deleted);
        let server = writer.backend.server();
        row("DELETE /servers/{id}, stores", server, concurrency, size, &writer.deleted, base)
    });
    rows.extend(deleted);
    Ok(rows)
}

/// One backend's gateway, and what its turns found.
struct Writer<'a> {
    backend: Backend,
    stage: &'a Stage,
    pids: Vec<u32>,
    /// The number of the next server, of which its name and its id are made.
    upcoming: usize,
    made: Vec<Sample>,
    deleted: Vec<Sample>,
    made_size: usize,
    deleted_size: usize,
}

impl<'a> Writer<'a> {
    /// Makes and deletes one server, so that what is measured is known to work.
    fn new(backend: Backend, stage: &'a Stage) -> io::Result<Writer<'a>> {
        let gateway = &stage.gateway;
        let made = gateway.ask_for(&gateway.message("/servers", &[], &new_server(0)), 201)?;
        let deleted =
            gateway.ask_for(&gateway.plain("DELETE", &server_path(&server_id(0))), 200)?;
        Ok(Writer {
            backend,
            stage,
            pids: gateway.pids()?,
            upcoming: 1,
            made: Vec::new(),
            deleted: Vec::new(),
            made_size: made.body.len(),
            deleted_size: deleted.body.len(),
        })
    }

    fn take_turn(&mut self, timing: Timing, concurrency: usize) -> io::Result<()> {
        let gateway = &self.stage.gateway;
        let first = self.upcoming;
        let post = |number| gateway.message("/servers", &[], &new_server(number));
        let posts = Numbered::new(first..first + SERVER_COUNT_MAX, &post);
        // There is no warming up: it would make servers, and the first round does it as well.
        let timing = Timing { warmup: Duration::ZERO, ..timing };
        self.made.push(self.window(&posts, 201, timing, concurrency)?);
        self.upcoming = posts.upcoming();
        let delete = |number| gateway.plain("DELETE", &server_path(&server_id(number)));
        let deletes = Numbered::new(first..self.upcoming, &delete);
        // All are deleted, so that every turn begins with as many servers.
        let until_done = Timing { window: DELETE_WAIT_MAX, ..timing };
        self.deleted.push(self.window(&deletes, 200, until_done, concurrency)?);
        Ok(())
    }

    fn window(
        &self,
        numbered: &Numbered<'_>,
        status: u16,
        timing: Timing,
        concurrency: usize,
    ) -> io::Result<Sample> {
        let plan = Plan {
            target: self.stage.gateway.address(),
            requests: Requests::Numbered(numbered),
            expected: &Expected { status, body: None },
            concurrency,
            thread_count: timing.thread_count,
            warmup: timing.warmup,
            window: timing.window,
        };
        sample(self.backend.server(), &self.pids, &plan)
    }
}

/// The body that makes the virtual server with a number.
fn new_server(number: usize) -> String {
    let id = server_id(number);
    format!(r#"{{"server":{{"id":"{id}","name":"bench-{number}"}}}}"#)
}

/// The id of the virtual server with a number.
fn server_id(number: usize) -> String {
    // The fixed digits say version 4, as every id does.
    format!("{:08x}00004000800000{:010x}", 0xbe, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_has_an_id_of_its_own_that_is_a_uuid() {
        assert_eq!(server_id(1).len(), 32);
        assert_ne!(server_id(1), server_id(2));
        let body: Value = serde_json::from_str(&new_server(7)).expect("is JSON");
        assert_eq!(body["server"]["id"], server_id(7));
        assert_eq!(body["server"]["name"], "bench-7");
    }

    #[test]
    fn a_read_shows_a_record_or_a_full_page() {
        let page = Value::Array(vec![json!({"id": "x"}); PAGE_SIZE]).to_string();
        assert_eq!(refuse(page.as_bytes()), None);
        assert_eq!(refuse(br#"[{"id": "x"}]"#), Some("is no full page"));
        assert_eq!(refuse(br#"{"id": "x"}"#), None);
        assert_eq!(refuse(br#"{"detail": "x"}"#), Some("has no record"));
    }
}
