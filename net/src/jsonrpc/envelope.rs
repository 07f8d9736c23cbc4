//! The outermost object of a message, read once; what it means is decided by `Message` and `Answer`.

use std::borrow::Cow;

use crate::Span;
use crate::error::{EnvelopeError, Fault, JsonError};
use crate::jsonrpc::params::Params;
use crate::jsonrpc::scan::Scanner;
use crate::jsonrpc::text::unescape;

/// Bounds of an envelope. The size of the message is bounded before it comes here.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeLimits {
    /// Most levels of objects and arrays, the envelope's own included; at most
    /// [`DEPTH_CAP`](crate::jsonrpc::DEPTH_CAP).
    pub depth_max: usize,
    /// Most bytes of an id, quotes included. Ids are kept and echoed, so their size is ours to bound.
    pub id_size_max: usize,
}

impl Default for EnvelopeLimits {
    fn default() -> EnvelopeLimits {
        EnvelopeLimits { depth_max: 100, id_size_max: 256 }
    }
}

/// The places of the envelope's members, as they were found.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    pub(super) version: Option<Span>,
    pub(super) id: Option<Span>,
    pub(super) method: Option<Span>,
    pub(super) params: Option<Span>,
    pub(super) result: Option<Span>,
    pub(super) error: Option<Span>,
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
        let mut scanner = Scanner::new(text);
        match scanner.space() {
            b'{' => {}
            b'[' => return Err(shape(scanner, limits, Fault::Batch)),
            _ => return Err(shape(scanner, limits, Fault::NotAnObject)),
        }
        let mut envelope = Envelope::default();
        let read = scanner.members(|scanner, key| {
            let name = key.name()?;
            envelope.take(scanner, &name, limits.depth_max, with_params)
        });
        read.and_then(|()| scanner.finish()).map_err(EnvelopeError::from)?;
        Ok(envelope)
    }

    /// Takes the value of the member `name`.
    #[inline(always)]
    fn take(
        &mut self,
        scanner: &mut Scanner<'_>,
        name: &str,
        depth_max: usize,
        with_params: bool,
    ) -> Result<(), JsonError> {
        let depth_max = depth_max.saturating_sub(1);
        let (place, key) = match name {
            "jsonrpc" => (&mut self.version, "jsonrpc"),
            "id" => (&mut self.id, "id"),
            "method" => (&mut self.method, "method"),
            "params" if with_params => return self.take_params(scanner, depth_max),
            "params" => (&mut self.params, "params"),
            "result" => (&mut self.result, "result"),
            "error" => (&mut self.error, "error"),
            _ => return scanner.value(depth_max).map(|_| ()),
        };
        match place.replace(scanner.value(depth_max)?) {
            None => Ok(()),
            Some(_) => Err(JsonError::Duplicate { key }),
        }
    }

    #[inline]
    fn take_params(
        &mut self,
        scanner: &mut Scanner<'_>,
        depth_max: usize,
    ) -> Result<(), JsonError> {
        if self.params.is_some() {
            return Err(JsonError::Duplicate { key: "params" });
        }
        let place = if scanner.is_at_object() {
            if depth_max == 0 {
                return Err(JsonError::TooDeep { depth_max: 1 });
            }
            let start = scanner.at();
            self.named.scan(scanner, depth_max - 1)?;
            Span::new(start, scanner.at())
        } else {
            scanner.value(depth_max)?
        };
        self.params = Some(place);
        Ok(())
    }

    /// The id that an error answer can echo: one that is valid.
    pub(super) fn echo(&self, text: &str, limits: &EnvelopeLimits) -> Option<Span> {
        self.id.filter(|id| check_id(id.of_text(text), limits).is_ok())
    }

    /// Checks the version, and that parameters are an object if there are any. `null` is taken for
    /// none, since some clients write every field.
    pub(super) fn check(&mut self, text: &str) -> Result<(), Fault> {
        let version = self.version.map(|version| unescape(version.of_text(text)));
        if !version.is_some_and(|version| version.is_ok_and(|version| version == "2.0")) {
            return Err(Fault::Version);
        }
        match self.params.map(|params| &params.of_text(text)[..1]) {
            None | Some("{") => {}
            Some("n") => self.params = None,
            Some(_) => return Err(Fault::Params),
        }
        Ok(())
    }

    /// The method's text.
    pub(super) fn method<'a>(&self, text: &'a str) -> Result<Option<Cow<'a, str>>, Fault> {
        let Some(method) = self.method else { return Ok(None) };
        unescape(method.of_text(text)).map(Some).map_err(|_| Fault::Method)
    }
}

/// Says that the outermost value is no object, unless it is not even JSON.
#[cold]
fn shape(mut scanner: Scanner<'_>, limits: &EnvelopeLimits, fault: Fault) -> EnvelopeError {
    match scanner.value(limits.depth_max).and_then(|_| scanner.finish()) {
        Ok(()) => EnvelopeError { fault, id: None },
        Err(error) => EnvelopeError::from(error),
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
