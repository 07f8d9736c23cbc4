//! The parameters of a message: where those lie that rule its way.

use crate::Span;
use crate::error::JsonError;
use crate::jsonrpc::scan::{Scanner, Stop};

/// The parameters that are looked for. None of them may be there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Param {
    Name,
    Uri,
    Cursor,
    Arguments,
    Meta,
    Ref,
    Level,
    ProtocolVersion,
    TaskId,
    ServerId,
    RequestId,
    RequestState,
}

const COUNT: usize = 12;
const KEYS: [&str; COUNT] = [
    "name",
    "uri",
    "cursor",
    "arguments",
    "_meta",
    "ref",
    "level",
    "protocolVersion",
    "taskId",
    "server_id",
    "requestId",
    "requestState",
];

/// The members of `_meta` that are looked for. None of them may be there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MetaKey {
    ProgressToken,
    ProtocolVersion,
    ClientCapabilities,
    LogLevel,
}

const META_COUNT: usize = 4;
const META_KEYS: [&str; META_COUNT] = [
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
];

/// Where the parameters of a message lie in its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params {
    places: [Span; COUNT],
    meta_places: [Span; META_COUNT],
}

impl Params {
    /// The place of a parameter's raw value in the message.
    #[inline]
    pub fn get(&self, param: Param) -> Option<Span> {
        let place = self.places[param as usize];
        if place.is_empty() { None } else { Some(place) }
    }

    /// The place of the raw value of a member of `_meta` in the message.
    #[inline]
    pub fn meta(&self, key: MetaKey) -> Option<Span> {
        let place = self.meta_places[key as usize];
        if place.is_empty() { None } else { Some(place) }
    }

    /// Takes a value, looking into it if it is an object, and returns its place. It may have
    /// `depth_max` levels, at least one.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        scanner: &mut Scanner<'_>,
        depth_max: usize,
    ) -> Result<Span, Stop> {
        if scanner.peek() != b'{' {
            return scanner.value(depth_max);
        }
        let start = scanner.at();
        self.scan(scanner, depth_max - 1)?;
        Ok(Span::new(start, scanner.at()))
    }

    #[inline(always)]
    fn scan(&mut self, scanner: &mut Scanner<'_>, depth_max: usize) -> Result<(), Stop> {
        let Params { places, meta_places } = self;
        scanner.members(|scanner, key| {
            let index = scanner.named(key, index_of)?;
            let place = match index == Param::Meta as usize && scanner.peek() == b'{' {
                true if depth_max > 0 => read_meta(meta_places, scanner, depth_max - 1)?,
                _ => scanner.value(depth_max)?,
            };
            note(places, &KEYS, index, place, scanner)
        })
    }
}

/// Takes the object that `_meta` is, with what is looked for in it.
#[inline(never)]
fn read_meta(
    places: &mut [Span; META_COUNT],
    scanner: &mut Scanner<'_>,
    depth_max: usize,
) -> Result<Span, Stop> {
    let start = scanner.at();
    scanner.members(|scanner, key| {
        let index = scanner.named(key, meta_index_of)?;
        let place = scanner.value(depth_max)?;
        note(places, &META_KEYS, index, place, scanner)
    })?;
    Ok(Span::new(start, scanner.at()))
}

/// Remembers where a member lies, if it is one that is looked for.
#[inline(always)]
fn note<const N: usize>(
    places: &mut [Span; N],
    keys: &[&'static str; N],
    index: usize,
    place: Span,
    scanner: &mut Scanner<'_>,
) -> Result<(), Stop> {
    let Some(known) = places.get_mut(index) else { return Ok(()) };
    if !known.is_empty() {
        return Err(scanner.refuse(JsonError::Duplicate { key: keys[index] }));
    }
    *known = place;
    Ok(())
}

/// The index of a key that is looked for; the count of them for any other.
#[inline(always)]
fn index_of(name: &str) -> usize {
    match name {
        "name" => Param::Name as usize,
        "uri" => Param::Uri as usize,
        "cursor" => Param::Cursor as usize,
        "arguments" => Param::Arguments as usize,
        "_meta" => Param::Meta as usize,
        "ref" => Param::Ref as usize,
        "level" => Param::Level as usize,
        "protocolVersion" => Param::ProtocolVersion as usize,
        "taskId" => Param::TaskId as usize,
        "server_id" => Param::ServerId as usize,
        "requestId" => Param::RequestId as usize,
        "requestState" => Param::RequestState as usize,
        _ => COUNT,
    }
}

/// The same for a member of `_meta`.
#[inline(always)]
fn meta_index_of(name: &str) -> usize {
    match name {
        "progressToken" => MetaKey::ProgressToken as usize,
        "io.modelcontextprotocol/protocolVersion" => MetaKey::ProtocolVersion as usize,
        "io.modelcontextprotocol/clientCapabilities" => MetaKey::ClientCapabilities as usize,
        "io.modelcontextprotocol/logLevel" => MetaKey::LogLevel as usize,
        _ => META_COUNT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Param; COUNT] = [
        Param::Name,
        Param::Uri,
        Param::Cursor,
        Param::Arguments,
        Param::Meta,
        Param::Ref,
        Param::Level,
        Param::ProtocolVersion,
        Param::TaskId,
        Param::ServerId,
        Param::RequestId,
        Param::RequestState,
    ];
    const ALL_META: [MetaKey; META_COUNT] = [
        MetaKey::ProgressToken,
        MetaKey::ProtocolVersion,
        MetaKey::ClientCapabilities,
        MetaKey::LogLevel,
    ];

    #[test]
    fn every_member_of_meta_is_found_by_its_key_and_refused_twice() {
        for (key, name) in ALL_META.into_iter().zip(META_KEYS) {
            let text = format!(r#"{{"_meta":{{"x":0, "{name}" : [3]}},"{name}":1}}"#);
            let mut params = Params::default();
            params.read(&mut Scanner::new(&text), 8).unwrap();
            assert_eq!(params.meta(key).unwrap().of_text(&text), "[3]", "{name}");
            assert_eq!(ALL_META.iter().filter(|key| params.meta(**key).is_some()).count(), 1);
            let twice = format!(r#"{{"_meta":{{"{name}":1,"{name}":2}}}}"#);
            assert!(Params::default().read(&mut Scanner::new(&twice), 8).is_err(), "{name}");
        }
    }

    #[test]
    fn meta_counts_its_levels_like_any_other_value() {
        let text = r#"{"_meta":{"a":{"b":1}}}"#;
        for (depth_max, is_read) in [(1, false), (2, false), (3, true)] {
            let read = Params::default().read(&mut Scanner::new(text), depth_max);
            assert_eq!(read.is_ok(), is_read, "{depth_max}");
        }
    }

    #[test]
    fn every_parameter_is_found_by_its_key() {
        for (param, key) in ALL.into_iter().zip(KEYS) {
            let text = format!(r#"{{"other":[1],"{key}":{{"a":2}}}}"#);
            let mut params = Params::default();
            params.read(&mut Scanner::new(&text), 8).unwrap();
            assert_eq!(params.get(param).unwrap().of_text(&text), r#"{"a":2}"#, "{key}");
            assert_eq!(ALL.iter().filter(|param| params.get(**param).is_some()).count(), 1);
        }
    }
}
