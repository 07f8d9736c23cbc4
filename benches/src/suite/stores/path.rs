//! The path of a request on PostgreSQL and Redis beside the same on SQLite: no request asks a
//! store, so the two should cost the same.

use std::io;
use std::path::Path;

use super::CASE_SUFFIX;
use super::backend::{self, Backend, Stores};
use crate::suite::measure::{require_same_bytes, rounds};
use crate::suite::{Kind, Results, Settings, Stage, TOOL_COUNT};

/// The first is what the other is compared with.
const BACKENDS: [Backend; 2] = [Backend::Sqlite, Backend::PostgresRedis];
const CONCURRENCY: usize = 32;

/// The cases that are wanted: all but those that touch no catalog.
pub fn wanted(settings: &Settings) -> Vec<Kind> {
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Health);
    kinds.filter(|kind| settings.wants(&case_name(*kind))).collect()
}

fn case_name(kind: Kind) -> String {
    format!("{}{CASE_SUFFIX}", kind.name())
}

/// Measures the wanted cases, on both backends in turns.
pub fn measure(
    settings: &Settings,
    stores: &Stores,
    folder: &Path,
    results: &mut Results,
) -> io::Result<()> {
    let backends = stores.available(&BACKENDS);
    if backends.len() < BACKENDS.len() {
        return Ok(());
    }
    let mut stages = Vec::new();
    for backend in backends {
        let folder = folder.join(backend.folder_name());
        let program = stores.program(&settings.program, backend, &folder)?;
        let mut stage = Stage::build_with(settings, &program, &folder, TOOL_COUNT)?;
        backend::require(&mut stage.gateway, backend)?;
        stages.push((backend, stage));
    }
    for kind in wanted(settings) {
        let case = case_name(kind);
        eprintln!("{case}, c={CONCURRENCY}");
        let mut contenders = Vec::new();
        for (backend, stage) in &stages {
            contenders.push(stage.contender(kind, backend.server().to_owned())?);
        }
        require_same_bytes(&contenders, kind)?;
        results.rows.extend(rounds(settings.timing, &case, &contenders, 0, CONCURRENCY)?);
    }
    Ok(())
}
