//! What an upstream sends: the answer to our request, or a request or notification of its own.

use std::borrow::Cow;

use crate::Span;
use crate::error::{EnvelopeError, Fault};
use crate::jsonrpc::envelope::{Envelope, EnvelopeLimits, check_id};

/// What an upstream's message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// A result; it has an id.
    Result,
    /// An error; it has no id when the upstream could not read that of the request.
    Error,
    /// A request of the upstream; it has an id and wants an answer.
    Request,
    /// A notification of the upstream.
    Notification,
}

/// A message of an upstream, checked, with the places of its members.
#[derive(Debug)]
pub struct Answer<'a> {
    text: &'a str,
    kind: AnswerKind,
    method: Cow<'a, str>,
    envelope: Envelope,
}

impl<'a> Answer<'a> {
    /// Reads a message. All of `bytes` are checked; nothing malformed passes.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] says what is wrong; the upstream's fault, not the caller's.
    pub fn parse(bytes: &'a [u8], limits: &EnvelopeLimits) -> Result<Answer<'a>, EnvelopeError> {
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?;
        let mut envelope = Envelope::scan(text, limits, false)?;
        match Answer::classify(text, &mut envelope, limits) {
            Ok((kind, method)) => Ok(Answer { text, kind, method, envelope }),
            Err(fault) => Err(EnvelopeError { fault, id: envelope.echo(text, limits) }),
        }
    }

    fn classify(
        text: &'a str,
        envelope: &mut Envelope,
        limits: &EnvelopeLimits,
    ) -> Result<(AnswerKind, Cow<'a, str>), Fault> {
        let is_error = envelope.error.is_some();
        // JSON-RPC §5: the id of an error is null where that of the request could not be read.
        if is_error && envelope.id.is_some_and(|id| id.of_text(text) == "null") {
            envelope.id = None;
        }
        if let Some(id) = envelope.id {
            check_id(id.of_text(text), limits)?;
        }
        envelope.check(text)?;
        let has_result = envelope.result.is_some();
        let kind = match (envelope.method.is_some(), envelope.id.is_some()) {
            (true, _) if has_result || is_error => return Err(Fault::Mixed),
            (true, true) => AnswerKind::Request,
            (true, false) => AnswerKind::Notification,
            (false, _) if has_result && is_error => return Err(Fault::Mixed),
            (false, _) if is_error => AnswerKind::Error,
            (false, true) if has_result => AnswerKind::Result,
            (false, false) if has_result => return Err(Fault::Id),
            (false, _) => return Err(Fault::Method),
        };
        Ok((kind, envelope.method(text)?.unwrap_or_default()))
    }

    /// What the message is.
    #[inline]
    pub fn kind(&self) -> AnswerKind {
        self.kind
    }

    /// The whole message.
    #[inline]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The method of a request or notification; else empty.
    #[inline]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The id exactly as it was sent, quotes included.
    #[inline]
    pub fn id(&self) -> Option<&'a str> {
        self.id_place().map(|place| place.of_text(self.text))
    }

    /// Where the id lies.
    #[inline]
    pub fn id_place(&self) -> Option<Span> {
        self.envelope.id
    }

    /// The raw result.
    #[inline]
    pub fn result(&self) -> Option<&'a str> {
        self.result_place().map(|place| place.of_text(self.text))
    }

    /// Where the result lies.
    #[inline]
    pub fn result_place(&self) -> Option<Span> {
        self.envelope.result
    }

    /// The raw error.
    #[inline]
    pub fn error(&self) -> Option<&'a str> {
        self.error_place().map(|place| place.of_text(self.text))
    }

    /// Where the error lies.
    #[inline]
    pub fn error_place(&self) -> Option<Span> {
        self.envelope.error
    }

    /// The raw parameters of a request or notification, always an object.
    #[inline]
    pub fn params(&self) -> Option<&'a str> {
        self.envelope.params.map(|place| place.of_text(self.text))
    }

    /// Where the parameters lie.
    #[inline]
    pub fn params_place(&self) -> Option<Span> {
        self.envelope.params
    }
}
