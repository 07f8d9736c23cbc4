//! The outermost object of a message, read once; what it means is decided by `Message` and `Answer`.

use std::borrow::Cow;

use crate::Span;
use crate::error::{EnvelopeError, Fault, JsonError};
use crate::jsonrpc::params::Params;
use crate::jsonrpc::scan::{DEPTH_CAP, Scanner, Stop};
use crate::jsonrpc::text::{is_string, unescape};

/// Bounds of an envelope. The size of the message is bounded before it comes here.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeLimits {
    /// Most levels of objects and arrays, the envelope's own and that of its parameters included; 2
    /// to [`DEPTH_CAP`].
    pub depth_max: usize,
    /// Most bytes of an id, quotes included. Ids are kept and echoed, so their size is ours to bound.
    pub id_size_max: usize,
}

impl Default for EnvelopeLimits {
    fn default() -> EnvelopeLimits {
        EnvelopeLimits { depth_max: 100, id_size_max: 256 }
    }
}

/// The members of an envelope.
#[derive(Clone, Copy)]
pub(super) enum Member {
    Version,
    Id,
    Method,
    Params,
    Result,
    Error,
}

const COUNT: usize = 6;
const KEYS: [&str; COUNT] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// The index of a member; the count of them for any other key.
#[inline(always)]
fn index_of(name: &str) -> usize {
    match name {
        "jsonrpc" => Member::Version as usize,
        "id" => Member::Id as usize,
        "method" => Member::Method as usize,
        "params" => Member::Params as usize,
        "result" => Member::Result as usize,
        "error" => Member::Error as usize,
        _ => COUNT,
    }
}

/// Where the members of an envelope lie; no value is empty, so an empty place means none.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    places: [Span; COUNT],
    pub(super) named: Params,
}

impl Envelope {
    /// Reads a message; `with_params` looks into its parameters in the same pass.
    #[inline]
    pub(super) fn scan(
        text: &str,
        limits: &EnvelopeLimits,
        with_params: bool,
    ) -> Result<Envelope, EnvelopeError> {
        let depth_max = limits.depth_max.clamp(2, DEPTH_CAP);
        let mut scanner = Scanner::new(text);
        if scanner.space() != b'{' {
            return Err(shape(scanner, depth_max));
        }
        let mut envelope = Envelope::default();
        let read = scanner.members(|scanner, key| {
            let index = scanner.named(key, index_of)?;
            let place = if with_params && index == Member::Params as usize {
                envelope.named.read(scanner, depth_max - 1)?
            } else {
                scanner.value(depth_max - 1)?
            };
            let Some(known) = envelope.places.get_mut(index) else { return Ok(()) };
            if !known.is_empty() {
                return Err(scanner.refuse(JsonError::Duplicate { key: KEYS[index] }));
            }
            *known = place;
            Ok(())
        });
        match read.and_then(|()| scanner.finish()) {
            Ok(()) => Ok(envelope),
            Err(Stop) => Err(EnvelopeError::from(scanner.error())),
        }
    }

    /// Where a member lies.
    #[inline]
    pub(super) fn get(&self, member: Member) -> Option<Span> {
        let place = self.places[member as usize];
        if place.is_empty() { None } else { Some(place) }
    }

    /// The raw value of a member.
    #[inline]
    pub(super) fn raw<'a>(&self, member: Member, text: &'a str) -> Option<&'a str> {
        self.get(member).map(|place| place.of_text(text))
    }

    /// Leaves a member out.
    pub(super) fn forget(&mut self, member: Member) {
        self.places[member as usize] = Span::default();
    }

    /// The id that an error answer can echo: one that is valid.
    pub(super) fn echo(&self, text: &str, limits: &EnvelopeLimits) -> Option<Span> {
        self.get(Member::Id).filter(|id| check_id(id.of_text(text), limits).is_ok())
    }

    /// Checks the version, and that parameters are an object if there are any. `null` is taken for
    /// none, since some clients write every field.
    pub(super) fn check(&mut self, text: &str) -> Result<(), Fault> {
        match self.raw(Member::Version, text) {
            Some("\"2.0\"") => {}
            Some(other) if is_string(other) && unescape(other) == Ok("2.0".into()) => {}
            _ => return Err(Fault::Version),
        }
        match self.raw(Member::Params, text).map(|params| params.as_bytes()[0]) {
            None | Some(b'{') => {}
            Some(b'n') => self.forget(Member::Params),
            Some(_) => return Err(Fault::Params),
        }
        Ok(())
    }

    /// The method's text.
    #[inline]
    pub(super) fn method<'a>(&self, text: &'a str) -> Result<Option<Cow<'a, str>>, Fault> {
        let Some(method) = self.raw(Member::Method, text) else { return Ok(None) };
        unescape(method).map(Some).map_err(|_| Fault::Method)
    }
}

/// Says that the outermost value is no object, unless it is not even JSON.
#[cold]
fn shape(mut scanner: Scanner<'_>, depth_max: usize) -> EnvelopeError {
    let fault = if scanner.peek() == b'[' { Fault::Batch } else { Fault::NotAnObject };
    match scanner.value(depth_max).and_then(|_| scanner.finish()) {
        Ok(()) => EnvelopeError::from(fault),
        Err(Stop) => EnvelopeError::from(scanner.error()),
    }
}

/// Checks an id: a string or an integer, within its bound (the MCP narrows JSON-RPC here).
#[inline]
pub(super) fn check_id(raw: &str, limits: &EnvelopeLimits) -> Result<(), Fault> {
    if raw.len() > limits.id_size_max {
        return Err(Fault::IdTooLong { size_max: limits.id_size_max });
    }
    let is_integer = || raw.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match raw.as_bytes()[0] {
        b'"' if unescape(raw).is_ok() => Ok(()),
        b'-' | b'0'..=b'9' if is_integer() => Ok(()),
        _ => Err(Fault::Id),
    }
}
