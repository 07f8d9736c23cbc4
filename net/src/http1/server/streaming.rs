//! Bodies that are made while they are sent.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use shards::{buffer, task};

use super::BodyStream;
use crate::{connection::Connection, http1::encode};

/// Waits for the stream's next data; `None` if the peer left before it came.
pub(super) async fn next_or_gone(
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
pub(super) fn run_out(mut stream: Box<dyn BodyStream>, cancel: bool) {
    if !cancel {
        task::spawn(async move {
            let mut data = Vec::new();
            while stream.next(&mut data).await {
                data.clear();
            }
        });
    }
}

pub(super) fn frame(data: Vec<u8>, more: bool, chunked: bool) -> Vec<u8> {
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
