//! What a shard notes for the audit trail, until it is handed over.
//!
//! Noting never waits. What a shard may hold is bounded, in entries and in bytes; beyond that the
//! newest are dropped and counted.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    fmt::Write,
    net::IpAddr,
    time::Instant,
};

use aws_lc_rs::digest;
use serde_json::Value;
use storage::{audit::AuditEntry, record::now};

use super::mask;
use crate::{
    auth::Caller,
    limits,
    mcp::HeaderSource,
    settings::{Audit, AuditArguments, AuditCalls},
};

/// The actor of a request that nobody answers for. They have only a tenth of the room, so that a
/// flood of such requests drops nothing but itself.
pub const NOBODY: &str = "anonymous";

/// Notes what is done on a shard.
pub struct Trail {
    is_on: bool,
    calls: AuditCalls,
    arguments: AuditArguments,
    entry_count_max: usize,
    /// Called once when half of the room is taken, so that it is emptied before all is.
    on_crowded: Box<dyn Fn()>,
    entries: RefCell<Vec<AuditEntry>>,
    size: Cell<usize>,
    nobody_count: Cell<usize>,
    dropped_count: Cell<u64>,
}

/// What a shard hands over.
#[derive(Debug, Default)]
pub struct Noted {
    /// What happened.
    pub entries: Vec<AuditEntry>,
    /// How many entries were dropped, for want of room.
    pub dropped_count: u64,
}

impl Trail {
    /// A trail by the settings, which asks to be emptied by `on_crowded`.
    pub fn new(settings: &Audit, on_crowded: impl Fn() + 'static) -> Trail {
        Trail {
            is_on: settings.is_on,
            calls: if settings.is_on { settings.calls } else { AuditCalls::None },
            arguments: settings.arguments,
            entry_count_max: settings.entry_count_max,
            on_crowded: Box::new(on_crowded),
            entries: RefCell::default(),
            size: Cell::new(0),
            nobody_count: Cell::new(0),
            dropped_count: Cell::new(0),
        }
    }

    /// A trail that notes nothing.
    pub fn off() -> Trail {
        Trail {
            is_on: false,
            calls: AuditCalls::None,
            arguments: AuditArguments::Drop,
            entry_count_max: 0,
            on_crowded: Box::new(|| ()),
            entries: RefCell::default(),
            size: Cell::new(0),
            nobody_count: Cell::new(0),
            dropped_count: Cell::new(0),
        }
    }

    /// Whether anything is noted: if not, nobody needs to make an entry.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Which calls are noted.
    pub fn calls(&self) -> AuditCalls {
        self.calls
    }

    /// Notes an entry, if there is room. Long texts are cut.
    pub fn note(&self, mut entry: AuditEntry) {
        if !self.is_on {
            return;
        }
        cut_texts(&mut entry);
        let size = entry.size() + size_of::<AuditEntry>();
        let is_nobody = entry.actor_kind == NOBODY;
        if !self.has_room(size, is_nobody) {
            self.dropped_count.set(self.dropped_count.get() + 1);
            return;
        }
        self.size.set(self.size.get() + size);
        self.nobody_count.set(self.nobody_count.get() + usize::from(is_nobody));
        let count = {
            let mut entries = self.entries.borrow_mut();
            entries.push(entry);
            entries.len()
        };
        let was_crowded = self.is_crowded(count - 1, self.size.get() - size);
        if !was_crowded && self.is_crowded(count, self.size.get()) {
            (self.on_crowded)();
        }
    }

    /// What is kept of the arguments of a call, which are JSON.
    pub fn arguments(&self, raw: Option<&str>) -> Option<String> {
        let raw = raw?;
        match self.arguments {
            AuditArguments::Keep => Some(kept(raw)),
            AuditArguments::Hash => Some(digest_of(raw)),
            AuditArguments::Drop => None,
        }
    }

    /// Takes what was noted.
    pub fn take(&self) -> Noted {
        self.size.set(0);
        self.nobody_count.set(0);
        Noted { entries: self.entries.take(), dropped_count: self.dropped_count.take() }
    }

    /// Takes back what nobody took.
    pub fn give_back(&self, noted: Noted) {
        self.dropped_count.set(self.dropped_count.get() + noted.dropped_count);
        noted.entries.into_iter().for_each(|entry| self.note(entry));
    }

    fn has_room(&self, size: usize, is_nobody: bool) -> bool {
        self.entries.borrow().len() < self.entry_count_max
            && self.size.get() + size <= limits::AUDIT_BUFFER_SIZE_MAX
            && !(is_nobody && self.nobody_count.get() >= self.entry_count_max.div_ceil(10))
    }

    fn is_crowded(&self, count: usize, size: usize) -> bool {
        count >= self.entry_count_max.div_ceil(2) || size >= limits::AUDIT_BUFFER_SIZE_MAX / 2
    }
}

/// An entry that tells that `caller` did `action` now; what it was done to is added by whoever knows.
pub fn entry(caller: Option<&Caller>, action: impl Into<Cow<'static, str>>) -> AuditEntry {
    let Some(caller) = caller else { return AuditEntry::new(now(), NOBODY, NOBODY, action) };
    let kind = match (&*caller.email == NOBODY, caller.is_admin, caller.is_api_token) {
        (true, true, _) => "operator",
        (true, false, _) => NOBODY,
        (false, _, true) => "token",
        (false, _, false) => "user",
    };
    AuditEntry {
        token_id: caller.token_id.clone(),
        ..AuditEntry::new(now(), caller.email.clone(), kind, action)
    }
}

/// As [`entry`], with where the request came from.
pub fn entry_of(
    caller: Option<&Caller>,
    peer: Option<IpAddr>,
    headers: &dyn HeaderSource,
    action: impl Into<Cow<'static, str>>,
) -> AuditEntry {
    let text = |name| std::str::from_utf8(headers.get(name)?).ok().map(str::to_owned);
    AuditEntry {
        request_id: text("x-correlation-id").or_else(|| text("x-request-id")),
        ip: peer.map(|peer| peer.to_string()),
        user_agent: text("user-agent"),
        ..entry(caller, action)
    }
}

/// Whether a status says that who asked might not: not known, not permitted, or too often.
pub fn is_refusal(status: u16) -> bool {
    matches!(status, 401 | 403 | 429)
}

/// How long ago something began, in microseconds.
pub fn microseconds_since(begun: Instant) -> i64 {
    i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// JSON as it is kept: its secrets masked, and not more than an entry should hold.
pub fn masked(mut value: Value) -> String {
    mask::mask(&mut value);
    bounded(value.to_string())
}

/// Raw JSON as it is kept.
fn kept(raw: &str) -> String {
    if raw.len() > limits::AUDIT_JSON_SIZE_MAX {
        return digest_of(raw);
    }
    // What nests too deeply to be read is kept as a digest: its secrets cannot be found.
    serde_json::from_str(raw).map_or_else(|_| digest_of(raw), masked)
}

fn bounded(text: String) -> String {
    if text.len() > limits::AUDIT_JSON_SIZE_MAX { digest_of(&text) } else { text }
}

/// What stands for a text that is not kept.
fn digest_of(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut json = String::with_capacity(100);
    json.push_str("{\"sha256\":\"");
    for byte in digest.as_ref() {
        let _ = write!(json, "{byte:02x}");
    }
    let _ = write!(json, "\",\"bytes\":{}}}", text.len());
    json
}

fn cut_texts(entry: &mut AuditEntry) {
    cut(&mut entry.actor);
    let texts = [
        &mut entry.request_id,
        &mut entry.token_id,
        &mut entry.user_agent,
        &mut entry.entity_id,
        &mut entry.entity_name,
        &mut entry.team_id,
        &mut entry.server_id,
        &mut entry.reason,
    ];
    texts.into_iter().flatten().for_each(cut);
}

fn cut(text: &mut String) {
    if text.len() > limits::AUDIT_TEXT_SIZE_MAX {
        text.truncate(text.floor_char_boundary(limits::AUDIT_TEXT_SIZE_MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn settings(entry_count_max: usize, arguments: AuditArguments) -> Audit {
        let loaded = crate::settings::parse("", [], &[]).unwrap();
        Audit { entry_count_max, arguments, ..loaded.settings.audit }
    }

    fn trail(entry_count_max: usize) -> Trail {
        Trail::new(&settings(entry_count_max, AuditArguments::Hash), || ())
    }

    fn entry(actor: &str, kind: &'static str) -> AuditEntry {
        AuditEntry::new(1, actor, kind, "tools.execute")
    }

    fn actors(noted: &Noted) -> Vec<&str> {
        noted.entries.iter().map(|entry| entry.actor.as_str()).collect()
    }

    #[test]
    fn the_newest_are_dropped_and_counted_when_there_is_no_room() {
        let trail = trail(3);
        for actor in ["a", "b", "c", "d", "e"] {
            trail.note(entry(actor, "user"));
        }
        let noted = trail.take();
        assert_eq!((actors(&noted), noted.dropped_count), (vec!["a", "b", "c"], 2));
        trail.give_back(noted);
        trail.note(entry("f", "user"));
        let noted = trail.take();
        assert_eq!((actors(&noted), noted.dropped_count), (vec!["a", "b", "c"], 3));
    }

    #[test]
    fn whoever_is_unknown_takes_a_tenth_of_the_room_at_most() {
        let trail = trail(20);
        for _ in 0..100 {
            trail.note(entry("", NOBODY));
        }
        trail.note(entry("a", "user"));
        let noted = trail.take();
        assert_eq!((actors(&noted), noted.dropped_count), (vec!["", "", "a"], 98));
    }

    #[test]
    fn large_entries_are_bounded_by_their_bytes() {
        let trail = trail(1_000_000);
        let count = limits::AUDIT_BUFFER_SIZE_MAX / limits::AUDIT_JSON_SIZE_MAX + 10;
        for _ in 0..count {
            let after = Some("x".repeat(limits::AUDIT_JSON_SIZE_MAX));
            trail.note(AuditEntry { after, ..entry("a", "user") });
        }
        assert!(trail.take().dropped_count > 0);
        trail.note(entry("a", "user"));
        assert_eq!(trail.take().entries.len(), 1);
    }

    #[test]
    fn asks_once_to_be_emptied_when_half_full() {
        let asked = Rc::new(Cell::new(0));
        let counter = asked.clone();
        let settings = settings(10, AuditArguments::Hash);
        let trail = Trail::new(&settings, move || counter.set(counter.get() + 1));
        for (count, expected) in [(4, 0), (1, 1), (4, 1)] {
            (0..count).for_each(|_| trail.note(entry("a", "user")));
            assert_eq!(asked.get(), expected);
        }
        trail.take();
        (0..5).for_each(|_| trail.note(entry("a", "user")));
        assert_eq!(asked.get(), 2);
    }

    #[test]
    fn arguments_are_kept_without_secrets_or_as_a_digest_or_not_at_all() {
        let raw = r#"{"zone":"UTC","api_key":"hunter2"}"#;
        let of = |arguments| Trail::new(&settings(10, arguments), || ()).arguments(Some(raw));
        let kept = of(AuditArguments::Keep).unwrap();
        assert_eq!(kept, r#"{"zone":"UTC","api_key":"*****"}"#);
        let hashed = of(AuditArguments::Hash).unwrap();
        assert!(hashed.starts_with(r#"{"sha256":""#) && hashed.ends_with(r#""bytes":34}"#));
        assert_eq!(of(AuditArguments::Drop), None);
        let trail = Trail::new(&settings(10, AuditArguments::Keep), || ());
        let large = format!("\"{}\"", "x".repeat(limits::AUDIT_JSON_SIZE_MAX));
        assert!(trail.arguments(Some(&large)).unwrap().starts_with(r#"{"sha256":""#));
        assert_eq!(trail.arguments(None), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let trail = trail(10);
        let long = "é".repeat(limits::AUDIT_TEXT_SIZE_MAX);
        trail.note(AuditEntry { user_agent: Some(long), ..entry("a", "user") });
        let agent = trail.take().entries.remove(0).user_agent.unwrap();
        assert_eq!(agent.len(), limits::AUDIT_TEXT_SIZE_MAX);
    }

    #[test]
    fn nothing_is_noted_when_it_is_off() {
        let trail = Trail::off();
        trail.note(entry("a", "user"));
        let noted = trail.take();
        assert!(noted.entries.is_empty());
        assert_eq!((noted.dropped_count, trail.calls()), (0, AuditCalls::None));
    }
}
