//! One exchange: a request in one write, and its answer, mostly in one read.

use std::{io, time::Duration};

use shards::{buffer, watch, watch::Action};

use super::{Cause, ClientError, Lease, Progress, Streaming};
use crate::{
    Span,
    connection::Connection,
    error::BodyError,
    http1::{Framing, HeadLimits, Method, body::BodyDecoder},
};

/// Most memory that is set aside for a body on the word of its head alone.
const TRUSTED_SIZE_MAX: usize = 1024 * 1024;

/// The status of a server that speaks another protocol from then on.
const SWITCHED: u16 = 101;

/// A point in time on the shard's coarse clock: good to a tick of it.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    within: Duration,
    at_ms: u64,
}

impl Deadline {
    /// The point `within` from now.
    pub fn after(within: Duration) -> Deadline {
        let at_ms = watch::clock_ms().saturating_add(within.as_millis() as u64);
        Deadline { within, at_ms }
    }

    /// Puts it off.
    pub fn extend(&mut self, by: Duration) {
        self.within += by;
        self.at_ms = self.at_ms.saturating_add(by.as_millis() as u64);
    }

    /// How much time is left; zero once it is over.
    pub fn left(&self) -> Duration {
        Duration::from_millis(self.at_ms.saturating_sub(watch::clock_ms()))
    }

    /// How much time there was.
    pub fn within(&self) -> Duration {
        self.within
    }
}

/// A request, ready to be sent.
pub struct Sending {
    /// Head and body. The buffer is a pooled one and serves again for the answer.
    pub request: Vec<u8>,
    /// The method in it, which rules how the answer is framed.
    pub method: Method,
    /// When the whole answer must be there.
    pub deadline: Deadline,
    /// How long the first byte of the answer may take, if that is less.
    pub first_byte_within: Duration,
}

/// An answer whose head is there.
pub struct Response {
    pub(super) lease: Lease,
    /// The head, and what came with it.
    pub(super) bytes: Vec<u8>,
    pub(super) head_size: usize,
    pub(super) deadline: Deadline,
}

/// The whole body of an answer.
#[derive(Debug)]
pub struct Body {
    /// The buffer that it lies in, to be given back to the pool of buffers.
    pub bytes: Vec<u8>,
    /// Where it lies.
    pub span: Span,
}

impl Body {
    /// The body's bytes.
    pub fn data(&self) -> &[u8] {
        self.span.of_bytes(&self.bytes)
    }
}

impl Lease {
    /// Sends a request and reads until the head of its answer is there; answers of 1xx are passed
    /// over, but for 101, behind which there is no HTTP any more.
    ///
    /// # Errors
    ///
    /// [`ClientError`] says how far it had come; the connection is closed.
    pub async fn exchange(
        mut self,
        sending: Sending,
        limits: &HeadLimits,
    ) -> Result<Response, ClientError> {
        let Sending { request, method, deadline, first_byte_within } = sending;
        let within = deadline.left().min(first_byte_within);
        if within.is_zero() {
            let cause = Cause::Timeout { within: deadline.within() };
            return Err(ClientError::new(cause, Progress::Unsent));
        }
        self.link.connection.watch().arm(within, Action::Abort);
        let (outcome, mut bytes) = self.link.connection.write_all(request).await;
        if let Err(error) = outcome {
            return Err(self.failure(&error.into(), Progress::Unsent, within));
        }
        bytes.clear();
        let mut progress = Progress::Silent;
        let head_size = loop {
            let count;
            (count, bytes) = self.link.connection.read(bytes).await;
            match count {
                Ok(0) => return Err(self.failure(&Ending::Closed, progress, within)),
                Ok(_) => progress = Progress::Answering,
                Err(error) => return Err(self.failure(&error.into(), progress, within)),
            }
            if let Some(size) = self.find_head(&mut bytes, limits, method)? {
                break size;
            }
        };
        if within < deadline.left() {
            self.link.connection.watch().arm(deadline.left(), Action::Abort);
        }
        Ok(Response { lease: self, bytes, head_size, deadline })
    }

    /// Returns the size of the final head that `bytes` begin with, if it is whole; interim ones
    /// are cut away.
    fn find_head(
        &mut self,
        bytes: &mut Vec<u8>,
        limits: &HeadLimits,
        method: Method,
    ) -> Result<Option<usize>, ClientError> {
        let head = &mut self.link.head;
        loop {
            let parsed = head.parse(bytes, limits, method);
            let size = parsed
                .map_err(|error| ClientError::new(Cause::Head(error), Progress::Answering))?;
            match size {
                Some(size) if head.status() < 200 && head.status() != SWITCHED => {
                    drop(bytes.drain(..size));
                }
                size => return Ok(size),
            }
        }
    }

    /// Says why the connection ended: by the watch, or on its own.
    #[cold]
    pub(super) fn failure(
        &self,
        ending: &Ending,
        progress: Progress,
        within: Duration,
    ) -> ClientError {
        let cause = match ending {
            _ if self.link.connection.watch().fired() => Cause::Timeout { within },
            Ending::Closed => Cause::Broken("the server closed the connection".to_owned()),
            Ending::Failed(error) => Cause::Broken(error.to_string()),
        };
        ClientError::new(cause, progress)
    }
}

/// How a connection ended.
pub(super) enum Ending {
    /// The server closed it.
    Closed,
    /// It failed.
    Failed(io::Error),
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Ending {
        Ending::Failed(error)
    }
}

impl Response {
    /// The status: 101, or 200 to 999.
    pub fn status(&self) -> u16 {
        self.lease.link.head.status()
    }

    /// The value of the first field called `name`.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.lease.link.head.header(&self.bytes, name)
    }

    /// Reads the whole body and gives the connection back to its pool.
    ///
    /// # Errors
    ///
    /// [`Cause::TooLarge`] if the body has more than `size_max` bytes; else as
    /// [`Lease::exchange`]. The connection is closed.
    pub async fn whole(mut self, size_max: usize) -> Result<Body, ClientError> {
        let framing = self.lease.link.head.framing();
        let mut decoder = self.decoder(size_max)?;
        let server_idle = self.server_idle();
        let body = match framing {
            Framing::None | Framing::Length(_) => self.read_length(&decoder).await?,
            _ => self.read_coded(&mut decoder, size_max).await?,
        };
        buffer::give(std::mem::take(&mut self.bytes));
        // Bytes behind the answer are an answer to nothing: who sends them is not to be trusted
        // with another request.
        let is_clean = body.rest == 0
            && self.lease.link.head.keep_alive()
            && self.lease.link.head.status() != SWITCHED;
        if is_clean {
            self.lease.give_back(server_idle);
        }
        Ok(body.body)
    }

    /// Takes the connection of a server that has switched to another protocol, without a deadline,
    /// and what came behind its answer.
    pub fn into_connection(self) -> (Connection, Vec<u8>) {
        let Response { lease, mut bytes, head_size, .. } = self;
        bytes.drain(..head_size);
        let connection = lease.into_connection();
        connection.watch().disarm();
        (connection, bytes)
    }

    /// Hands on the body as it comes.
    ///
    /// # Errors
    ///
    /// [`Cause::TooLarge`] if its declared length is more than `size_max` bytes.
    pub fn stream(self, size_max: usize) -> Result<Streaming, ClientError> {
        let decoder = self.decoder(size_max)?;
        let server_idle = self.server_idle();
        let Response { lease, bytes, head_size, deadline } = self;
        Ok(Streaming::new(lease, bytes, head_size, decoder, deadline, server_idle))
    }

    fn decoder(&self, size_max: usize) -> Result<BodyDecoder, ClientError> {
        BodyDecoder::new(self.lease.link.head.framing(), size_max as u64)
            .map_err(|error| body_failure(error, size_max))
    }

    /// Reads a body of known length behind its head, where it stays.
    async fn read_length(&mut self, decoder: &BodyDecoder) -> Result<Read, ClientError> {
        let size = decoder.remaining().expect("the length is known") as usize;
        let end = self.head_size + size;
        while self.bytes.len() < end {
            let missing = end - self.bytes.len();
            self.bytes.reserve(missing.min(TRUSTED_SIZE_MAX));
            if self.read_more().await? == 0 {
                return Err(self.cut());
            }
        }
        let bytes = std::mem::take(&mut self.bytes);
        let rest = bytes.len() - end;
        Ok(Read { body: Body { span: Span::new(self.head_size, end), bytes }, rest })
    }

    /// Reads a body in chunks, or one that ends with the connection, into a second buffer.
    async fn read_coded(
        &mut self,
        decoder: &mut BodyDecoder,
        size_max: usize,
    ) -> Result<Read, ClientError> {
        let mut data = buffer::take();
        let mut from = self.head_size;
        loop {
            let fed = decoder
                .feed(&self.bytes[from..], &mut data)
                .map_err(|error| body_failure(error, size_max))?;
            let rest = self.bytes.len() - from - fed.consumed;
            if fed.done {
                return Ok(Read::coded(data, rest));
            }
            self.bytes.clear();
            from = 0;
            match self.read_more().await? {
                0 if decoder.may_end() => return Ok(Read::coded(data, 0)),
                0 => return Err(self.cut()),
                _ => {}
            }
        }
    }

    /// Reads once; 0 bytes are the end.
    async fn read_more(&mut self) -> Result<usize, ClientError> {
        let bytes = std::mem::take(&mut self.bytes);
        let (count, bytes) = self.lease.link.connection.read(bytes).await;
        self.bytes = bytes;
        let within = self.deadline.within();
        count.map_err(|error| self.lease.failure(&error.into(), Progress::Answering, within))
    }

    #[cold]
    fn cut(&self) -> ClientError {
        self.lease.failure(&Ending::Closed, Progress::Answering, self.deadline.within())
    }

    /// For how long the server says it keeps the connection (`Keep-Alive: timeout=5`).
    fn server_idle(&self) -> Option<Duration> {
        let value = std::str::from_utf8(self.header("keep-alive")?).ok()?;
        let mut parameters = value.split(',').map(str::trim);
        let seconds = parameters.find_map(|parameter| parameter.strip_prefix("timeout="))?;
        seconds.parse().ok().map(Duration::from_secs)
    }
}

/// A body, and how many bytes came behind it.
struct Read {
    body: Body,
    rest: usize,
}

impl Read {
    fn coded(data: Vec<u8>, rest: usize) -> Read {
        Read { body: Body { span: Span::new(0, data.len()), bytes: data }, rest }
    }
}

#[cold]
pub(super) fn body_failure(error: BodyError, size_max: usize) -> ClientError {
    let cause = match error {
        BodyError::TooLarge { .. } => Cause::TooLarge { size_max },
        other => Cause::Body(other),
    };
    ClientError::new(cause, Progress::Answering)
}
