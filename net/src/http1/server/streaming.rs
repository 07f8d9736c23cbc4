//! Bodies that are made while they are sent.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use shards::{buffer, task, watch};

use super::BodyStream;
use crate::{connection::Connection, http1::encode};

/// A body that is made while it is sent.
pub(super) struct Flow {
    pub(super) stream: Box<dyn BodyStream>,
    /// It is sent in chunks.
    pub(super) chunked: bool,
    /// The connection stays open behind it.
    pub(super) keep_alive: bool,
    /// The client's leaving cancels it.
    pub(super) cancels: bool,
}

impl Flow {
    /// Writes what comes as it comes, each write within `within`; whether the connection stays open
    /// behind the end. False also if the peer left before it.
    pub(super) async fn write(mut self, connection: &mut Connection, within: Duration) -> bool {
        loop {
            // While a stream waits it holds no buffer.
            let mut data = Vec::new();
            connection.watch().disarm();
            let Some(more) = next_or_gone(connection, self.stream.as_mut(), &mut data).await else {
                buffer::give(data);
                run_out(self.stream, self.cancels);
                return false;
            };
            let bytes = frame(data, more, self.chunked);
            if !write_bytes(connection, within, bytes).await {
                run_out(self.stream, self.cancels);
                return false;
            }
            if !more {
                return self.keep_alive;
            }
        }
    }
}

/// Writes all of `bytes` within `within`; false if the peer left.
pub(super) async fn write_bytes(
    connection: &mut Connection,
    within: Duration,
    bytes: Vec<u8>,
) -> bool {
    connection.watch().arm(within, watch::Action::Abort);
    let (outcome, bytes) = connection.write_all(bytes).await;
    buffer::give(bytes);
    outcome.is_ok()
}

/// Waits for the stream's next data; `None` if the peer left before it came.
async fn next_or_gone(
    connection: &Connection,
    stream: &mut dyn BodyStream,
    data: &mut Vec<u8>,
) -> Option<bool> {
    let mut next = stream.next(data);
    let mut gone = pin!(connection.watch().peer_gone());
    poll_fn(|context| {
        if let Poll::Ready(more) = Pin::new(&mut next).poll(context) {
            return Poll::Ready(Some(more));
        }
        gone.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Leaving is cancelling for some protocols and not for others: there, the stream is run to its
/// end for its effects.
fn run_out(mut stream: Box<dyn BodyStream>, cancel: bool) {
    if !cancel {
        task::spawn(async move {
            let mut data = Vec::new();
            while stream.next(&mut data).await {
                data.clear();
            }
        });
    }
}

fn frame(data: Vec<u8>, more: bool, chunked: bool) -> Vec<u8> {
    if !chunked {
        return data;
    }
    let mut out = buffer::take();
    encode::chunk(&mut out, &data);
    if !more {
        encode::last_chunk(&mut out);
    }
    buffer::give(data);
    out
}
