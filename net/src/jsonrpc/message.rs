//! What a client sends: a request, a notification or a response to one of our requests.

use std::borrow::Cow;

use crate::Span;
use crate::error::{EnvelopeError, Fault};
use crate::jsonrpc::envelope::{Envelope, EnvelopeLimits, Member, check_id};
use crate::jsonrpc::params::{MetaKey, Param, Params};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// It has a method and an id, and wants an answer.
    Request,
    /// It has a method and no id.
    Notification,
    /// It has an id and either a result or an error.
    Response,
}

/// A message of a client, checked, with the places of its members.
///
/// Places are offsets into [`Message::text`], so that the message can be spliced.
#[derive(Debug)]
pub struct Message<'a> {
    text: &'a str,
    kind: MessageKind,
    method: Cow<'a, str>,
    envelope: Envelope,
}

impl<'a> Message<'a> {
    /// Reads a message. All of `bytes` are checked; nothing malformed passes.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] has the code, the sentence and, where one could be read, the id to answer.
    pub fn parse(bytes: &'a [u8], limits: &EnvelopeLimits) -> Result<Message<'a>, EnvelopeError> {
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?;
        let mut envelope = Envelope::scan(text, limits, true)?;
        match Message::classify(text, &mut envelope, limits) {
            Ok((kind, method)) => Ok(Message { text, kind, method, envelope }),
            Err(fault) => Err(EnvelopeError { fault, id: envelope.echo(text, limits) }),
        }
    }

    fn classify(
        text: &'a str,
        envelope: &mut Envelope,
        limits: &EnvelopeLimits,
    ) -> Result<(MessageKind, Cow<'a, str>), Fault> {
        if let Some(id) = envelope.raw(Member::Id, text) {
            check_id(id, limits)?;
        }
        envelope.check(text)?;
        let has = |member| envelope.get(member).is_some();
        let (has_id, has_result, has_error) =
            (has(Member::Id), has(Member::Result), has(Member::Error));
        let is_answer = has_result || has_error;
        match envelope.method(text)? {
            Some(_) if is_answer => Err(Fault::Mixed),
            Some(method) if has_id => Ok((MessageKind::Request, method)),
            Some(method) => Ok((MessageKind::Notification, method)),
            None if !is_answer => Err(Fault::Method),
            None if has_result && has_error => Err(Fault::Mixed),
            None if has_id => Ok((MessageKind::Response, Cow::Borrowed(""))),
            None => Err(Fault::Id),
        }
    }

    /// What the message is.
    #[inline]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The whole message.
    #[inline]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The method; empty for a response.
    #[inline]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The id exactly as it was sent, quotes included: `1` and `"1"` differ.
    #[inline]
    pub fn id(&self) -> Option<&'a str> {
        self.envelope.raw(Member::Id, self.text)
    }

    /// Where the id lies.
    #[inline]
    pub fn id_place(&self) -> Option<Span> {
        self.envelope.get(Member::Id)
    }

    /// Where the method lies, quotes included.
    #[inline]
    pub fn method_place(&self) -> Option<Span> {
        self.envelope.get(Member::Method)
    }

    /// The raw parameters, always an object.
    #[inline]
    pub fn params(&self) -> Option<&'a str> {
        self.envelope.raw(Member::Params, self.text)
    }

    /// Where the parameters lie.
    #[inline]
    pub fn params_place(&self) -> Option<Span> {
        self.envelope.get(Member::Params)
    }

    /// The raw value of a parameter.
    #[inline]
    pub fn param(&self, param: Param) -> Option<&'a str> {
        self.param_place(param).map(|place| place.of_text(self.text))
    }

    /// Where the value of a parameter lies.
    #[inline]
    pub fn param_place(&self, param: Param) -> Option<Span> {
        self.envelope.named.get(param)
    }

    /// The raw value of a member of `_meta`.
    #[inline]
    pub fn meta(&self, key: MetaKey) -> Option<&'a str> {
        self.envelope.named.meta(key).map(|place| place.of_text(self.text))
    }

    /// The places of the parameters, for callers that outlive this borrow of the text.
    #[inline]
    pub fn named(&self) -> Params {
        self.envelope.named
    }

    /// The raw result of a response.
    #[inline]
    pub fn result(&self) -> Option<&'a str> {
        self.envelope.raw(Member::Result, self.text)
    }

    /// The raw error of a response.
    #[inline]
    pub fn error(&self) -> Option<&'a str> {
        self.envelope.raw(Member::Error, self.text)
    }
}
