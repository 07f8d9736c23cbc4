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
}

const COUNT: usize = 11;
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
];

/// Where the parameters of a message lie in its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params {
    places: [Span; COUNT],
}

impl Params {
    /// The place of a parameter's raw value in the message.
    #[inline]
    pub fn get(&self, param: Param) -> Option<Span> {
        let place = self.places[param as usize];
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
        scanner.members(|scanner, key| {
            let index = scanner.named(key, index_of)?;
            let place = scanner.value(depth_max)?;
            let Some(known) = self.places.get_mut(index) else { return Ok(()) };
            if !known.is_empty() {
                return Err(scanner.refuse(JsonError::Duplicate { key: KEYS[index] }));
            }
            *known = place;
            Ok(())
        })
    }
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
        _ => COUNT,
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
    ];

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
