//! What an upstream sends: the answer to our request, or a request or notification of its own.

use std::borrow::Cow;

use crate::Span;
use crate::error::{EnvelopeError, Fault};
use crate::jsonrpc::envelope::{Envelope, EnvelopeLimits, Member, check_id};

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
        drop_null_twin(text, envelope);
        let has_error = match envelope.raw(Member::Error, text) {
            None => false,
            Some(error) if error.starts_with('{') => true,
            Some(_) => return Err(Fault::Error),
        };
        // JSON-RPC §5: the id of an error is null where that of the request could not be read.
        if has_error && envelope.raw(Member::Id, text) == Some("null") {
            envelope.forget(Member::Id);
        }
        if let Some(id) = envelope.raw(Member::Id, text) {
            check_id(id, limits)?;
        }
        envelope.check(text)?;
        let has = |member| envelope.get(member).is_some();
        let (has_id, has_result) = (has(Member::Id), has(Member::Result));
        match envelope.method(text)? {
            Some(_) if has_result || has_error => Err(Fault::Mixed),
            Some(method) if has_id => Ok((AnswerKind::Request, method)),
            Some(method) => Ok((AnswerKind::Notification, method)),
            None if has_result && has_error => Err(Fault::Mixed),
            None if has_error => Ok((AnswerKind::Error, Cow::Borrowed(""))),
            None if has_result && has_id => Ok((AnswerKind::Result, Cow::Borrowed(""))),
            None if has_result => Err(Fault::Id),
            None => Err(Fault::Method),
        }
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
        self.envelope.raw(Member::Id, self.text)
    }

    /// Where the id lies.
    #[inline]
    pub fn id_place(&self) -> Option<Span> {
        self.envelope.get(Member::Id)
    }

    /// The raw result.
    #[inline]
    pub fn result(&self) -> Option<&'a str> {
        self.envelope.raw(Member::Result, self.text)
    }

    /// Where the result lies.
    #[inline]
    pub fn result_place(&self) -> Option<Span> {
        self.envelope.get(Member::Result)
    }

    /// The raw error.
    #[inline]
    pub fn error(&self) -> Option<&'a str> {
        self.envelope.raw(Member::Error, self.text)
    }

    /// Where the error lies.
    #[inline]
    pub fn error_place(&self) -> Option<Span> {
        self.envelope.get(Member::Error)
    }

    /// The raw parameters of a request or notification, always an object.
    #[inline]
    pub fn params(&self) -> Option<&'a str> {
        self.envelope.raw(Member::Params, self.text)
    }

    /// Where the parameters lie.
    #[inline]
    pub fn params_place(&self) -> Option<Span> {
        self.envelope.get(Member::Params)
    }
}

/// Leaves out the `null` where both a result and an error are given and one of them is `null`, as
/// servers send that write every field.
fn drop_null_twin(text: &str, envelope: &mut Envelope) {
    match (envelope.raw(Member::Result, text), envelope.raw(Member::Error, text)) {
        (Some(_), Some("null")) => envelope.forget(Member::Error),
        (Some("null"), Some(_)) => envelope.forget(Member::Result),
        _ => {}
    }
}
