//! What must be done so that the registry is as the files say.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Value};

use super::Applied;
use super::compare::{choice, field_of, is_same};
use super::kind::Kind;
use super::manifest::{Entry, Manifest};
use crate::cli::client::{Client, ClientError};

/// What is done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
}

/// One change to make.
#[derive(Debug)]
pub struct Step {
    /// Of which kind.
    kind: &'static Kind,
    /// What the file, or else the registry, calls it.
    name: String,
    /// What is done.
    pub act: Act,
    /// The fields that differ.
    changed: Vec<String>,
    /// The path of the entry, once it exists.
    path: Option<String>,
    /// What is sent.
    body: Value,
    /// Whether it should be switched on, where that must be said.
    enabled: Option<bool>,
    /// The fields that cannot be read back, as JSON.
    pub opaque: Option<String>,
}

/// The changes to make, in order.
#[derive(Debug, Default)]
pub struct Plan {
    /// The changes: what others refer to is made before and deleted after them.
    pub steps: Vec<Step>,
    /// Entries that are as the files say.
    pub unchanged_count: usize,
}

impl Plan {
    /// Compares the registry with the files.
    ///
    /// # Errors
    ///
    /// As [`Client::get`]; [`ClientError::Input`] if a file has a field that its entry cannot have.
    pub fn make(
        client: &Client,
        manifest: &Manifest,
        prune: bool,
        applied: &Applied,
    ) -> Result<Plan, ClientError> {
        let registry = Registry::new(client);
        let mut plan = Plan::default();
        for (kind, entries) in manifest.lists() {
            for entry in entries {
                match plan_entry(kind, entry, &registry, applied)? {
                    Some(step) => plan.steps.push(step),
                    None => plan.unchanged_count += 1,
                }
            }
        }
        if prune {
            let lists: Vec<_> = manifest.lists().collect();
            for (kind, entries) in lists.into_iter().rev() {
                plan.steps.extend(deletions(kind, entries, &registry)?);
            }
        }
        Ok(plan)
    }
}

/// The registry, of which each list is read when it is first needed.
struct Registry<'a> {
    client: &'a Client,
    lists: RefCell<HashMap<&'static str, Vec<Value>>>,
}

impl Registry<'_> {
    fn new(client: &Client) -> Registry<'_> {
        Registry { client, lists: RefCell::default() }
    }

    /// Reads the list of a kind, unless it was read.
    fn read(&self, kind: &'static Kind) -> Result<(), ClientError> {
        if !self.lists.borrow().contains_key(kind.name) {
            let list = kind.list(self.client)?;
            self.lists.borrow_mut().insert(kind.name, list);
        }
        Ok(())
    }

    fn list(&self, kind: &'static Kind) -> Result<Vec<Value>, ClientError> {
        self.read(kind)?;
        Ok(self.lists.borrow()[kind.name].clone())
    }

    fn find(&self, kind: &'static Kind, name: &str) -> Result<Option<Value>, ClientError> {
        self.read(kind)?;
        Ok(kind.find_in(&self.lists.borrow()[kind.name], name).cloned())
    }

    /// The id of what a name or an id refers to.
    fn id_of(&self, kind: &'static Kind, name: &str) -> Result<Option<String>, ClientError> {
        self.read(kind)?;
        let lists = self.lists.borrow();
        let list = &lists[kind.name];
        let by_id = list.iter().find(|entry| entry["id"] == name);
        let found = by_id.or_else(|| kind.find_in(list, name));
        Ok(found.and_then(|entry| entry["id"].as_str()).map(str::to_owned))
    }
}

/// What must be done for one entry of a file; `None` if nothing.
fn plan_entry(
    kind: &'static Kind,
    entry: &Entry,
    registry: &Registry<'_>,
    applied: &Applied,
) -> Result<Option<Step>, ClientError> {
    let mut fields = entry.fields.clone();
    let enabled = fields.remove("enabled").and_then(|value| value.as_bool());
    let opaque = opaque_of(kind, &fields);
    let found = registry.find(kind, &entry.name)?;
    let Some(found) = found else {
        let body = kind.wrapped(&Value::Object(fields));
        let enabled = enabled.filter(|enabled| !enabled);
        return Ok(Some(Step::new(kind, &entry.name, Act::Create, body, enabled, opaque)));
    };
    let mut changed = changed_fields(kind, entry, &fields, &found, registry)?;
    let label = label(kind, &entry.name);
    if opaque.is_some() && applied.get(&label) != opaque.as_ref() {
        let unread = kind.opaque.iter().filter(|name| fields.contains_key(**name));
        changed.extend(unread.map(|name| format!("{name} (cannot be read back)")));
    }
    let is_on = found["enabled"].as_bool();
    let enabled = enabled.filter(|enabled| is_on.is_some_and(|is_on| is_on != *enabled));
    let must_write = !changed.is_empty();
    changed.extend(enabled.map(|_| "enabled".to_owned()));
    if changed.is_empty() {
        return Ok(None);
    }
    let body = if must_write { Value::Object(fields) } else { Value::Null };
    let path = Some(kind.path_of(&found));
    let step = Step::new(kind, &entry.name, Act::Update, body, enabled, opaque);
    Ok(Some(Step { changed, path, ..step }))
}

/// The fields of a file that the registry has otherwise.
fn changed_fields(
    kind: &'static Kind,
    entry: &Entry,
    fields: &Map<String, Value>,
    found: &Value,
    registry: &Registry<'_>,
) -> Result<Vec<String>, ClientError> {
    // They are read here, since what resolves names cannot fail.
    for (kind, _) in fields.keys().filter_map(|name| choice(name)) {
        registry.read(Kind::find(kind).expect("a choice is of a kind that there is"))?;
    }
    let resolve = |list: &str, name: &str| {
        let kind = Kind::find(list)?;
        registry.id_of(kind, name).ok().flatten()
    };
    let mut changed = Vec::new();
    for (name, wanted) in fields {
        if kind.opaque.contains(&name.as_str()) || (name == kind.key && kind.key == "name") {
            continue;
        }
        let is_known = choice(name).is_some() || field_of(found, name).is_some();
        if !is_known && !wanted.is_null() {
            let (file, word) = (entry.file.display(), kind.word);
            return Err(ClientError::Input(format!(
                "{file}: {}: a {word} has no field {name:?}",
                entry.name
            )));
        }
        if !is_same(name, wanted, found, &resolve) {
            changed.push(name.clone());
        }
    }
    Ok(changed)
}

/// The fields that cannot be read back, as one text to compare.
fn opaque_of(kind: &Kind, fields: &Map<String, Value>) -> Option<String> {
    let unread = kind.opaque.iter().filter_map(|name| Some((*name, fields.get(*name)?)));
    let unread: Vec<_> = unread.collect();
    (!unread.is_empty()).then(|| serde_json::to_string(&unread).unwrap_or_default())
}

/// The deletion of everything of a kind that no file names.
fn deletions(
    kind: &'static Kind,
    entries: &[Entry],
    registry: &Registry<'_>,
) -> Result<Vec<Step>, ClientError> {
    let list = registry.list(kind)?;
    let kept: Vec<_> =
        entries.iter().filter_map(|entry| kind.find_in(&list, &entry.name)).collect();
    let extra = list.iter().filter(|found| {
        kind.is_made_by_hand(found) && !kept.iter().any(|kept| std::ptr::eq(*kept, *found))
    });
    let steps = extra.map(|found| {
        let name = found[kind.key].as_str().unwrap_or_default();
        let step = Step::new(kind, name, Act::Delete, Value::Null, None, None);
        Step { path: Some(kind.path_of(found)), ..step }
    });
    Ok(steps.collect())
}

fn label(kind: &Kind, name: &str) -> String {
    format!("{} {name}", kind.word)
}

impl Step {
    fn new(
        kind: &'static Kind,
        name: &str,
        act: Act,
        body: Value,
        enabled: Option<bool>,
        opaque: Option<String>,
    ) -> Step {
        let (name, changed) = (name.to_owned(), Vec::new());
        Step { kind, name, act, changed, path: None, body, enabled, opaque }
    }

    /// The kind and the name, as people read them.
    pub fn label(&self) -> String {
        label(self.kind, &self.name)
    }

    /// Makes the change.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub fn carry_out(&self, client: &Client) -> Result<(), ClientError> {
        let path = match (self.act, &self.path) {
            (Act::Delete, Some(path)) => return client.delete(path).map(|_| ()),
            (Act::Create, _) => {
                let made = client.post(self.kind.path, &self.body)?;
                self.kind.path_of(&made)
            }
            (_, Some(path)) => {
                if !self.body.is_null() {
                    client.put(path, &self.body)?;
                }
                path.clone()
            }
            (_, None) => return Ok(()),
        };
        if let Some(enabled) = self.enabled {
            client.post(&format!("{path}/state?activate={enabled}"), &Value::Null)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = crate::cli::print::printable(&self.name);
        let word = self.kind.word;
        match self.act {
            Act::Create => write!(f, "+ {word} {name}"),
            Act::Update => write!(f, "~ {word} {name}: {}", self.changed.join(", ")),
            Act::Delete => write!(f, "- {word} {name}"),
        }
    }
}
