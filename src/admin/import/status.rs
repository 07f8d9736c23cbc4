//! How far an import is, as every process of the gateway can tell.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::record::{new_id, now};

use super::super::Backend;
use super::super::show::Time;
use crate::failure::Failure;

/// The most imports that are remembered; the oldest are forgotten first.
const STATUS_COUNT_MAX: usize = 100;

/// The most errors, and the most warnings, that an import tells.
const NOTE_COUNT_MAX: usize = 500;

/// The longest error or warning, in characters.
const NOTE_LENGTH_MAX: usize = 500;

/// An import, in the contract's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ImportStatus")]
pub struct Status {
    pub import_id: String,
    pub status: String,
    pub dry_run: bool,
    pub progress: Progress,
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
    pub started_at: String,
    pub completed_at: Option<String>,
    /// When it began, in microseconds since the epoch.
    #[serde(rename = "_began")]
    #[schemars(skip)]
    began: i64,
}

/// How many entities were dealt with, and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Progress {
    pub total: usize,
    pub processed: usize,
    pub created: usize,
    pub updated: usize,
    pub skipped: usize,
    pub failed: usize,
}

impl Status {
    /// An import of so many entities that begins now.
    pub fn begin(total: usize, dry_run: bool) -> Status {
        let began = now();
        Status {
            import_id: new_id(),
            status: "running".to_owned(),
            dry_run,
            progress: Progress { total, ..Progress::default() },
            errors: Vec::new(),
            warnings: Vec::new(),
            started_at: text(began),
            completed_at: None,
            began,
        }
    }

    /// Notes what went wrong with an entity.
    pub fn fail(&mut self, error: String) {
        self.progress.failed += 1;
        note(&mut self.errors, error);
    }

    /// Notes what somebody should look at.
    pub fn warn(&mut self, warning: String) {
        note(&mut self.warnings, warning);
    }

    /// Ends it.
    pub fn complete(&mut self) {
        self.status = "completed".to_owned();
        self.completed_at = Some(text(now()));
    }

    /// What the API shows.
    pub fn shown(&self) -> serde_json::Value {
        let mut shown = super::super::answer::value(self);
        if let Some(fields) = shown.as_object_mut() {
            fields.remove("_began");
        }
        shown
    }

    /// Tells every process how far it is. That this fails must not end an import.
    pub async fn publish<B: Backend>(&self, backend: &B) {
        let value = super::super::answer::value(self).to_string();
        if let Err(failure) = backend.put_import(&self.import_id, Some(&value)).await {
            tracing::debug!(%failure, "the progress of an import cannot be told");
        }
    }
}

/// Every import that is remembered, the newest first.
pub async fn all<B: Backend>(backend: &B) -> Result<Vec<Status>, Failure> {
    let kept = backend.imports().await?;
    let mut all: Vec<Status> =
        kept.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    all.sort_by_key(|status| std::cmp::Reverse(status.began));
    Ok(all)
}

/// Forgets imports that began more than `age_us` microseconds ago and are over; returns how many.
pub async fn forget<B: Backend>(backend: &B, age_us: i64) -> Result<usize, Failure> {
    let until = now().saturating_sub(age_us);
    let is_old = |status: &Status| status.completed_at.is_some() && status.began < until;
    let mut count = 0;
    for status in all(backend).await?.iter().filter(|status| is_old(status)) {
        backend.put_import(&status.import_id, None).await?;
        count += 1;
    }
    Ok(count)
}

/// Makes room for one more.
pub async fn make_room<B: Backend>(backend: &B) {
    let Ok(all) = all(backend).await else { return };
    for status in all.iter().skip(STATUS_COUNT_MAX - 1) {
        // One that stays longer does no harm.
        let _ = backend.put_import(&status.import_id, None).await;
    }
}

fn note(notes: &mut Vec<String>, mut text: String) {
    if notes.len() >= NOTE_COUNT_MAX {
        return;
    }
    if let Some((end, _)) = text.char_indices().nth(NOTE_LENGTH_MAX) {
        text.truncate(end);
        text.push('…');
    }
    notes.push(text);
}

fn text(at: i64) -> String {
    let value = super::super::answer::value(&Time(at));
    value.as_str().unwrap_or_default().to_owned()
}
