//! The parameters of a message: where those lie that rule its way.

use std::borrow::Cow;

use crate::Span;
use crate::error::JsonError;
use crate::jsonrpc::scan::{Key, Scanner};

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

    /// Reads the object that begins at the cursor.
    #[inline]
    pub(super) fn scan(
        &mut self,
        scanner: &mut Scanner<'_>,
        depth_max: usize,
    ) -> Result<(), JsonError> {
        scanner.members(|scanner, key| {
            let index = index_of(key)?;
            let place = scanner.value(depth_max)?;
            let Some(index) = index else { return Ok(()) };
            if !self.places[index].is_empty() {
                return Err(JsonError::Duplicate { key: KEYS[index] });
            }
            self.places[index] = place;
            Ok(())
        })
    }
}

#[inline]
fn index_of(key: Key<'_>) -> Result<Option<usize>, JsonError> {
    let param = match key.name()?.as_ref() {
        "name" => Param::Name,
        "uri" => Param::Uri,
        "cursor" => Param::Cursor,
        "arguments" => Param::Arguments,
        "_meta" => Param::Meta,
        "ref" => Param::Ref,
        "level" => Param::Level,
        "protocolVersion" => Param::ProtocolVersion,
        "taskId" => Param::TaskId,
        "server_id" => Param::ServerId,
        "requestId" => Param::RequestId,
        _ => return Ok(None),
    };
    Ok(Some(param as usize))
}

impl<'a> Key<'a> {
    /// The key's text: `"\u006dethod"` is the key `method` to every reader that unescapes.
    #[inline]
    pub(super) fn name(self) -> Result<Cow<'a, str>, JsonError> {
        if self.is_escaped {
            super::text::unescape_inner(self.raw).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(self.raw))
        }
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
            params.scan(&mut Scanner::new(&text), 8).unwrap();
            assert_eq!(params.get(param).unwrap().of_text(&text), r#"{"a":2}"#, "{key}");
            assert_eq!(ALL.iter().filter(|param| params.get(**param).is_some()).count(), 1);
        }
    }
}
