//! Everything that an upstream lists, page by page, within bounds.

use std::{collections::HashSet, time::Duration};

use net::jsonrpc;
use serde_json::value::RawValue;
use shards::time::Instant;
use storage::record::Era;

use super::{Handshake, plain};
use crate::{
    catalog::{
        inventory::{Inventory, Listed},
        param_headers,
    },
    failure::{Failure, UpstreamKind},
    upstream::{Answer, Event, Outcome, Outgoing, Reply},
};

/// The longest name of a tool or a prompt in characters, as the specification advises it.
const NAME_LENGTH_MAX: usize = 128;

/// The longest URI of a resource in bytes.
const URI_SIZE_MAX: usize = 4096;

/// Sentences about what was left out that are kept: one bad upstream must not fill a record.
const SKIPPED_COUNT_MAX: usize = 100;

/// A leg of any kind, as far as discovery needs it.
pub trait Requester {
    /// Opens the way to the upstream if that was not done yet, and returns what it said of itself.
    fn handshake(&self, within: Duration) -> impl Future<Output = Result<Handshake, Failure>>;

    /// Sends a request.
    fn request(&self, outgoing: &Outgoing<'_>) -> impl Future<Output = Result<Answer, Failure>>;
}

/// How much of an upstream is read.
#[derive(Clone, Copy, Debug)]
pub struct DiscoverLimits {
    /// For the handshake, and for each page.
    pub within: Duration,
    /// For all pages of all lists together.
    pub whole_within: Duration,
    /// Pages of one list.
    pub page_count_max: usize,
    /// Entries of one list.
    pub item_count_max: usize,
    /// Bytes of all definitions together.
    pub size_max: usize,
    /// Bytes of one definition.
    pub definition_size_max: usize,
}

impl Default for DiscoverLimits {
    fn default() -> DiscoverLimits {
        DiscoverLimits {
            within: Duration::from_secs(120),
            whole_within: Duration::from_secs(60 * 60),
            page_count_max: 1000,
            item_count_max: 20_000,
            size_max: 64 * 1024 * 1024,
            definition_size_max: 1024 * 1024,
        }
    }
}

/// Opens the way to an upstream and reads all its lists.
///
/// # Errors
///
/// An upstream failure of the handshake or of `tools/list`. A failure of another list is noted in
/// [`Inventory::skipped`], since a server of good tools may have bad prompts.
pub async fn discover<R: Requester>(
    requester: &R,
    upstream: &str,
    limits: &DiscoverLimits,
) -> Result<Inventory, Failure> {
    let handshake = requester.handshake(limits.within).await?;
    inventory(requester, upstream, handshake, limits).await
}

/// Reads all lists of an upstream that said `handshake` of itself.
///
/// # Errors
///
/// As [`discover`].
pub async fn inventory<R: Requester>(
    requester: &R,
    upstream: &str,
    handshake: Handshake,
    limits: &DiscoverLimits,
) -> Result<Inventory, Failure> {
    let began = Instant::now();
    let skipped = Vec::new();
    let mut reader = Reader { requester, upstream, limits, began, size: 0, skipped };
    // Some servers forget to say that they have tools, and hardly any server has none.
    let tools = match reader.list(&TOOLS).await {
        Ok(tools) => reader.usable_tools(tools, handshake.era),
        Err(Refusal { unknown: true, .. }) if !handshake.has("tools") => Vec::new(),
        Err(refusal) => return Err(refusal.failure),
    };
    let has_resources = handshake.has("resources");
    let resources = reader.optional(&RESOURCES, has_resources).await;
    let templates = reader.optional(&TEMPLATES, has_resources).await;
    let prompts = reader.optional(&PROMPTS, handshake.has("prompts")).await;
    let skipped = reader.skipped;
    Ok(Inventory {
        era: handshake.era,
        protocol_version: handshake.protocol_version,
        capabilities: handshake.capabilities,
        server_info: handshake.server_info,
        instructions: handshake.instructions,
        tools,
        resources,
        templates,
        prompts,
        skipped,
    })
}

/// One kind of list.
struct Kind {
    method: &'static str,
    key: &'static str,
    /// What one entry is called in a sentence.
    word: &'static str,
    /// The member that tells entries apart.
    identity: &'static str,
}

const TOOLS: Kind = Kind { method: "tools/list", key: "tools", word: "tool", identity: "name" };
const RESOURCES: Kind =
    Kind { method: "resources/list", key: "resources", word: "resource", identity: "uri" };
const TEMPLATES: Kind = Kind {
    method: "resources/templates/list",
    key: "resourceTemplates",
    word: "resource template",
    identity: "uriTemplate",
};
const PROMPTS: Kind =
    Kind { method: "prompts/list", key: "prompts", word: "prompt", identity: "name" };

/// Why a list could not be read.
struct Refusal {
    failure: Failure,
    /// The upstream does not know the method.
    unknown: bool,
}

struct Reader<'a, R> {
    requester: &'a R,
    upstream: &'a str,
    limits: &'a DiscoverLimits,
    began: Instant,
    /// Bytes of all definitions so far.
    size: usize,
    skipped: Vec<String>,
}

impl<R: Requester> Reader<'_, R> {
    /// Reads a list that the upstream said it has; what goes wrong is noted.
    async fn optional(&mut self, kind: &Kind, advertised: bool) -> Vec<Listed> {
        if !advertised {
            return Vec::new();
        }
        match self.list(kind).await {
            Ok(items) => items,
            // Templates have no capability of their own, so their absence is no fault.
            Err(Refusal { unknown: true, .. }) if kind.key == TEMPLATES.key => Vec::new(),
            Err(refusal) => {
                self.skip(format!("no {}s: {}", kind.word, refusal.failure));
                Vec::new()
            }
        }
    }

    /// Follows a list to its end, or to a bound.
    async fn list(&mut self, kind: &Kind) -> Result<Vec<Listed>, Refusal> {
        let mut items = Vec::new();
        let mut names = HashSet::new();
        let mut cursors = HashSet::new();
        let mut params = b"{}".to_vec();
        for _ in 0..self.limits.page_count_max {
            let reply = self.page(kind, &params).await?;
            let next = self.take_page(kind, &reply, &mut items, &mut names)?;
            let Some(cursor) = next else { return Ok(items) };
            if items.len() >= self.limits.item_count_max || self.size >= self.limits.size_max {
                let (word, count) = (kind.word, items.len());
                self.skip(format!("{word}s after the first {count}: there are too many"));
                return Ok(items);
            }
            params.clear();
            params.extend_from_slice(b"{\"cursor\":");
            jsonrpc::write_string(&mut params, &cursor);
            params.push(b'}');
            if !cursors.insert(cursor) {
                self.skip(format!("{}s after a page that leads back to itself", kind.word));
                return Ok(items);
            }
        }
        self.skip(format!("{}s after page {}", kind.word, self.limits.page_count_max));
        Ok(items)
    }

    async fn page(&self, kind: &Kind, params: &[u8]) -> Result<Reply, Refusal> {
        let left = self.limits.whole_within.saturating_sub(self.began.elapsed());
        let outgoing = plain(kind.method, params, self.limits.within.min(left));
        let known = |failure| Refusal { failure, unknown: false };
        let answer = self.requester.request(&outgoing).await.map_err(known)?;
        let reply = match answer {
            Answer::Whole(reply) => reply,
            Answer::Stream(mut stream) => loop {
                if let Event::Reply(reply) = stream.next().await.map_err(known)? {
                    break reply;
                }
            },
        };
        match reply.outcome {
            Outcome::Result => Ok(reply),
            Outcome::Error => Err(self.refusal(kind, &reply)),
        }
    }

    fn refusal(&self, kind: &Kind, reply: &Reply) -> Refusal {
        let raw = std::str::from_utf8(reply.raw()).unwrap_or("{}");
        let (code, message) = match jsonrpc::ErrorParts::parse(raw) {
            Ok(parts) => (parts.code, format!("{:.500}", parts.message)),
            Err(_) => (0, String::new()),
        };
        let text = format!("{} was answered with error {code}: {message}", kind.method);
        Refusal { failure: self.nonsense(text), unknown: code == -32601 }
    }

    fn nonsense(&self, text: String) -> Failure {
        Failure::upstream(self.upstream, UpstreamKind::Nonsense, text, false)
    }

    /// Takes the entries of one page and returns the cursor of the next.
    fn take_page(
        &mut self,
        kind: &Kind,
        reply: &Reply,
        items: &mut Vec<Listed>,
        names: &mut HashSet<String>,
    ) -> Result<Option<String>, Refusal> {
        let wrong = |text: String| Refusal { failure: self.nonsense(text), unknown: false };
        let no_list = || wrong(format!("{} has no list {:?}", kind.method, kind.key));
        let raw = std::str::from_utf8(reply.raw()).map_err(|_| no_list())?;
        let [list, cursor] = jsonrpc::pick(raw, [kind.key, "nextCursor"]).map_err(|_| no_list())?;
        let list = list.ok_or_else(no_list)?.of_text(raw);
        let list: Vec<&RawValue> = serde_json::from_str(list).map_err(|_| no_list())?;
        for entry in list {
            if items.len() >= self.limits.item_count_max || self.size >= self.limits.size_max {
                break;
            }
            match self.read(kind, entry.get(), names) {
                Ok(listed) => {
                    self.size += listed.definition.len();
                    items.push(listed);
                }
                Err(reason) => self.skip(reason),
            }
        }
        let cursor = cursor.map(|cursor| cursor.of_text(raw)).filter(|raw| *raw != "null");
        Ok(cursor.and_then(|raw| jsonrpc::unescape(raw).ok()).map(|cursor| cursor.into_owned()))
    }

    /// Reads one entry, or says why it is left out.
    fn read(
        &self,
        kind: &Kind,
        definition: &str,
        names: &mut HashSet<String>,
    ) -> Result<Listed, String> {
        let word = kind.word;
        let (listed, has_schema) = parse(kind, definition)
            .map_err(|error| format!("a {word} that cannot be read: {error}"))?;
        let identity = listed.uri.as_ref().unwrap_or(&listed.name);
        let shown: String = identity.chars().take(NAME_LENGTH_MAX).collect();
        let problem = if definition.len() > self.limits.definition_size_max {
            format!("its definition is over {} bytes", self.limits.definition_size_max)
        } else if let Some(problem) = check_identity(kind, &listed) {
            problem
        } else if kind.key == TOOLS.key && !has_schema {
            "it has no inputSchema".to_owned()
        } else if !names.insert(identity.clone()) {
            "it is listed twice; the first one counts".to_owned()
        } else {
            return Ok(listed);
        };
        Err(format!("{word} {shown:?}: {problem}"))
    }

    /// Leaves out the tools that clients of the stateless revision would have to leave out.
    fn usable_tools(&mut self, tools: Vec<Listed>, era: Era) -> Vec<Listed> {
        if era == Era::Legacy {
            return tools;
        }
        let mut usable = Vec::with_capacity(tools.len());
        for tool in tools {
            match param_headers::find(&tool.definition) {
                Ok(_) => usable.push(tool),
                Err(reason) => self.skip(format!("tool {:?}: {reason}", tool.name)),
            }
        }
        usable
    }

    fn skip(&mut self, sentence: String) {
        tracing::warn!(upstream = %self.upstream, "left out: {sentence}");
        if self.skipped.len() < SKIPPED_COUNT_MAX {
            self.skipped.push(sentence);
        }
    }
}

/// Takes an entry apart; the flag is whether it has an `inputSchema` that is an object.
fn parse(kind: &Kind, definition: &str) -> Result<(Listed, bool), net::error::JsonError> {
    let keys = ["name", "title", "description", "mimeType", "size", "inputSchema"];
    let found = jsonrpc::pick(definition, keys)?;
    let [uri] = jsonrpc::pick(definition, [kind.identity])?;
    let raw = |place: net::Span| place.of_text(definition);
    let text = |place: Option<net::Span>| Some(jsonrpc::unescape(raw(place?)).ok()?.into_owned());
    let [name, title, description, mime_type, size, schema] = found;
    let listed = Listed {
        definition: definition.to_owned(),
        name: text(name).unwrap_or_default(),
        uri: if kind.identity == "name" { None } else { Some(text(uri).unwrap_or_default()) },
        title: text(title),
        description: text(description),
        mime_type: text(mime_type),
        size: size.and_then(|size| raw(size).parse().ok()),
    };
    Ok((listed, schema.is_some_and(|schema| raw(schema).starts_with('{'))))
}

/// Says what is wrong with what tells an entry from others. A resource may go without a name.
fn check_identity(kind: &Kind, listed: &Listed) -> Option<String> {
    let identity = listed.uri.as_ref().unwrap_or(&listed.name);
    let what = kind.identity;
    if identity.is_empty() {
        Some(format!("it has no {what}"))
    } else if identity.chars().any(char::is_control) {
        Some(format!("its {what} has control characters"))
    } else if listed.uri.is_none() && identity.chars().count() > NAME_LENGTH_MAX {
        Some(format!("its {what} is over {NAME_LENGTH_MAX} characters"))
    } else if identity.len() > URI_SIZE_MAX {
        Some(format!("its {what} is over {URI_SIZE_MAX} bytes"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
