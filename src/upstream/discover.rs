//! Asking an upstream what it is and what it offers.
//!
//! Every page of every list is read, within bounds: an upstream that never comes to an end is cut
//! off, and one that repeats itself is noticed.

use std::{collections::BTreeSet, future::Future, time::Duration};

use net::jsonrpc;
use serde_json::Value;
use storage::record::Era;

use super::{Answer, Event, Outcome, Outgoing, Reply};
use crate::{
    catalog::{
        inventory::{Inventory, Listed},
        param_headers,
    },
    failure::{Failure, UpstreamFailure, UpstreamKind},
};

/// Most pages of one list.
const PAGE_COUNT_MAX: usize = 1000;

/// Most entries of one list.
const ENTRY_COUNT_MAX: usize = 100_000;

/// Most bytes of one list.
const LIST_SIZE_MAX: usize = 256 * 1024 * 1024;

/// Most entries of [`Inventory::skipped`].
const SKIPPED_COUNT_MAX: usize = 100;

/// Characters of a tool's name that a client can still call, with the upstream's name before it.
const NAME_LENGTH_MAX: usize = 255;

/// Something that requests can be sent through.
pub trait Requester {
    /// Sends one request.
    fn request(&self, outgoing: &Outgoing<'_>) -> impl Future<Output = Result<Answer, Failure>>;
}

/// What an upstream said of itself when a conversation began.
pub struct Introduction {
    /// The era in which it spoke.
    pub era: Era,
    /// The raw result of `initialize` or `server/discover`.
    pub raw: String,
}

/// What the answer to a probe in the modern era tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It speaks the modern era.
    Modern,
    /// It does not: try the handshake.
    Legacy,
    /// It cannot be told: the failure stands.
    Unknown,
}

/// Judges how a probe by `server/discover` failed. One code decides nothing by itself, since
/// servers answer what they do not know in many ways.
pub fn judge(failure: &Failure) -> Verdict {
    match failure {
        Failure::Protocol(error) if (-32022..=-32020).contains(&error.code) => Verdict::Modern,
        Failure::Upstream(UpstreamFailure { kind, .. }) => match kind {
            UpstreamKind::Status(401 | 403 | 407 | 429) => Verdict::Unknown,
            UpstreamKind::Status(status) if (300..500).contains(status) || *status == 501 => {
                Verdict::Legacy
            }
            // Some servers break on what they do not expect before a handshake.
            UpstreamKind::Status(500) | UpstreamKind::Nonsense | UpstreamKind::SessionLost => {
                Verdict::Legacy
            }
            _ => Verdict::Unknown,
        },
        _ => Verdict::Unknown,
    }
}

/// A request of the gateway itself.
pub fn own_request<'a>(method: &'a str, params: &'a str, within: Duration) -> Outgoing<'a> {
    Outgoing {
        method,
        params: params.as_bytes(),
        edits: Vec::new(),
        meta: None,
        progress_token: None,
        name: None,
        param_headers: Vec::new(),
        modern: false,
        within,
    }
}

/// Asks by `server/discover`; the raw result.
///
/// # Errors
///
/// How it failed: [`judge`] tells what that means.
pub async fn probe<R: Requester>(
    requester: &R,
    upstream: &str,
    within: Duration,
) -> Result<Option<String>, Failure> {
    let reply = ask(requester, &own_request("server/discover", "{}", within)).await?;
    let raw = text(&reply, upstream)?;
    let versions = jsonrpc::pick(raw, ["supportedVersions"]).ok();
    let is_modern =
        reply.outcome == Outcome::Result && versions.is_some_and(|found| found[0].is_some());
    Ok(is_modern.then(|| raw.to_owned()))
}

/// Reads every list of an upstream that has introduced itself.
///
/// # Errors
///
/// An upstream failure if its tools cannot be listed. Resources and prompts that cannot be listed
/// are noted in [`Inventory::skipped`] instead.
pub async fn inventory<R: Requester>(
    requester: &R,
    upstream: &str,
    introduction: Introduction,
    within: Duration,
) -> Result<Inventory, Failure> {
    let mut inventory = introduce(introduction);
    let reading = Reading { requester, upstream, within };
    let capabilities = inventory.capabilities.clone().unwrap_or_default();
    let advertised = |name: &str| {
        serde_json::from_str::<Value>(&capabilities).is_ok_and(|value| value.get(name).is_some())
    };
    let tools = reading.list("tools/list", "tools").await;
    match tools {
        Ok(raw) => inventory.tools = take(raw, "name", &mut inventory.skipped),
        Err(failure) if advertised("tools") || !is_refusal(&failure) => return Err(failure),
        Err(_) => {}
    }
    drop_invalid(&mut inventory);
    if advertised("resources") {
        let resources = reading.list("resources/list", "resources").await;
        inventory.resources = note(resources, "resources", "uri", &mut inventory.skipped);
        let templates = reading.list("resources/templates/list", "resourceTemplates").await;
        inventory.templates = note(templates, "templates", "uriTemplate", &mut inventory.skipped);
    }
    if advertised("prompts") {
        let prompts = reading.list("prompts/list", "prompts").await;
        inventory.prompts = note(prompts, "prompts", "name", &mut inventory.skipped);
    }
    inventory.skipped.truncate(SKIPPED_COUNT_MAX);
    Ok(inventory)
}

fn introduce(introduction: Introduction) -> Inventory {
    let raw = &introduction.raw;
    let keys = ["protocolVersion", "capabilities", "serverInfo", "instructions", "_meta"];
    let found = jsonrpc::pick(raw, keys).unwrap_or_default();
    let [version, capabilities, server_info, instructions, meta] =
        found.map(|place| place.map(|place| place.of_text(raw)));
    let string = |raw: Option<&str>| Some(jsonrpc::unescape(raw?).ok()?.into_owned());
    // A modern server says who it is in `_meta`.
    let modern_info = meta.and_then(|meta| {
        let place = jsonrpc::pick(meta, ["io.modelcontextprotocol/serverInfo"]).ok()?[0]?;
        Some(place.of_text(meta))
    });
    Inventory {
        era: introduction.era,
        protocol_version: match introduction.era {
            Era::Modern => super::http::MODERN_REVISION.to_owned(),
            Era::Legacy => string(version).unwrap_or_default(),
        },
        capabilities: capabilities.map(str::to_owned),
        server_info: server_info.or(modern_info).map(str::to_owned),
        instructions: string(instructions),
        tools: Vec::new(),
        resources: Vec::new(),
        templates: Vec::new(),
        prompts: Vec::new(),
        skipped: Vec::new(),
    }
}

/// Whether the upstream answered that it does not know the method, as one without tools may.
fn is_refusal(failure: &Failure) -> bool {
    matches!(failure, Failure::Protocol(error) if error.code == -32601)
}

struct Reading<'a, R> {
    requester: &'a R,
    upstream: &'a str,
    within: Duration,
}

impl<R: Requester> Reading<'_, R> {
    /// Reads all pages of a list; the raw entries.
    async fn list(&self, method: &str, key: &'static str) -> Result<Vec<String>, Failure> {
        let mut entries = Vec::new();
        let mut size = 0;
        let mut cursors = BTreeSet::new();
        let mut params = "{}".to_owned();
        for _ in 0..PAGE_COUNT_MAX {
            let reply = ask(self.requester, &own_request(method, &params, self.within)).await?;
            let raw = self.result(&reply)?;
            let found = jsonrpc::pick(raw, [key, "nextCursor"]).map_err(|error| {
                self.nonsense(format!("its answer to {method} is malformed: {error}"))
            })?;
            let [list, cursor] = found.map(|place| place.map(|place| place.of_text(raw)));
            let list = list.ok_or_else(|| self.nonsense(format!("{method} without {key}")))?;
            for entry in elements(list) {
                size += entry.len();
                entries.push(entry.to_owned());
            }
            if entries.len() > ENTRY_COUNT_MAX || size > LIST_SIZE_MAX {
                let text = format!("{method} lists more than {ENTRY_COUNT_MAX} entries");
                return Err(Failure::upstream(self.upstream, UpstreamKind::TooLarge, text, false));
            }
            let Some(cursor) = cursor.filter(|cursor| jsonrpc::is_string(cursor)) else {
                return Ok(entries);
            };
            if !cursors.insert(cursor.to_owned()) {
                return Err(self.nonsense(format!("{method} gives the same nextCursor again")));
            }
            params = format!("{{\"cursor\":{cursor}}}");
        }
        Err(self.nonsense(format!("{method} has more than {PAGE_COUNT_MAX} pages")))
    }

    fn result<'r>(&self, reply: &'r Reply) -> Result<&'r str, Failure> {
        let raw = text(reply, self.upstream)?;
        if reply.outcome == Outcome::Result {
            return Ok(raw);
        }
        let parts = jsonrpc::ErrorParts::parse(raw).ok();
        let code = parts.as_ref().map_or(0, |parts| i32::try_from(parts.code).unwrap_or(0));
        let message = parts.map(|parts| parts.message.into_owned()).unwrap_or_default();
        Err(Failure::protocol(502, code, format!("{} answered: {message}", self.upstream)))
    }

    fn nonsense(&self, detail: String) -> Failure {
        Failure::upstream(self.upstream, UpstreamKind::Nonsense, detail, false)
    }
}

/// Sends a request and waits for its answer; notifications before it are dropped.
pub async fn ask<R: Requester>(requester: &R, outgoing: &Outgoing<'_>) -> Result<Reply, Failure> {
    match requester.request(outgoing).await? {
        Answer::Whole(reply) => Ok(reply),
        Answer::Stream(mut stream) => loop {
            if let Event::Reply(reply) = stream.next().await? {
                return Ok(reply);
            }
        },
    }
}

fn text<'r>(reply: &'r Reply, upstream: &str) -> Result<&'r str, Failure> {
    std::str::from_utf8(reply.raw()).map_err(|_| {
        Failure::upstream(upstream, UpstreamKind::Nonsense, "its answer is not UTF-8", false)
    })
}

/// The raw elements of a raw array that was checked already; none for anything else.
fn elements(raw: &str) -> Vec<&str> {
    let parsed: Result<Vec<&serde_json::value::RawValue>, _> = serde_json::from_str(raw);
    parsed.map(|values| values.into_iter().map(|value| value.get()).collect()).unwrap_or_default()
}

/// A list that may fail: the failure is noted, and the list is empty.
fn note(
    outcome: Result<Vec<String>, Failure>,
    what: &str,
    key: &'static str,
    skipped: &mut Vec<String>,
) -> Vec<Listed> {
    match outcome {
        Ok(raw) => take(raw, key, skipped),
        Err(failure) => {
            skipped.push(format!("{what}: {failure}"));
            Vec::new()
        }
    }
}

/// Takes the entries apart; `key` names what tells them apart, of which each may be there once.
fn take(raw: Vec<String>, key: &'static str, skipped: &mut Vec<String>) -> Vec<Listed> {
    let mut seen = BTreeSet::new();
    let mut taken = Vec::with_capacity(raw.len());
    for definition in raw {
        let outcome = listed(definition, key).and_then(|(id, listed)| {
            if id.chars().count() > NAME_LENGTH_MAX && key == "name" {
                return Err(format!("{id:.40}…: its name is longer than {NAME_LENGTH_MAX}"));
            }
            if !seen.insert(id.clone()) {
                return Err(format!("{id:.100}: listed twice"));
            }
            Ok(listed)
        });
        match outcome {
            Ok(listed) => taken.push(listed),
            Err(reason) => skipped.push(reason),
        }
    }
    taken
}

fn listed(definition: String, key: &'static str) -> Result<(String, Listed), String> {
    let keys = ["name", "title", "description", "uri", "uriTemplate", "mimeType", "size"];
    let found = jsonrpc::pick(&definition, keys)
        .map_err(|error| format!("an entry that cannot be read: {error}"))?;
    let string = |index: usize| {
        let raw = found[index]?.of_text(&definition);
        Some(jsonrpc::unescape(raw).ok()?.into_owned())
    };
    let uri = string(3).or_else(|| string(4));
    let name = string(0).unwrap_or_default();
    let id = if key == "name" { name.clone() } else { uri.clone().unwrap_or_default() };
    if id.is_empty() {
        return Err(format!("an entry without {key}: {definition:.80}"));
    }
    let size = found[6].and_then(|place| place.of_text(&definition).parse().ok());
    let listed = Listed {
        name,
        title: string(1),
        description: string(2),
        uri,
        mime_type: string(5),
        size,
        definition: String::new(),
    };
    Ok((id, Listed { definition, ..listed }))
}

/// Drops the tools of a modern upstream whose headers nobody could follow: clients must not see
/// them (revision 2026-07-28, `x-mcp-header`).
fn drop_invalid(inventory: &mut Inventory) {
    if inventory.era == Era::Legacy {
        return;
    }
    let skipped = &mut inventory.skipped;
    inventory.tools.retain(|tool| match param_headers::find(&tool.definition) {
        Ok(_) => true,
        Err(reason) => {
            skipped.push(format!("{}: {reason}", tool.name));
            false
        }
    });
}
