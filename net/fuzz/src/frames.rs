//! The oracle for WebSockets.

use net::websocket::{Closing, Codec, Incoming};

const SIZE_MAX: usize = 300;

/// What came, how it ended, and what was answered.
type Read = (Vec<Incoming>, Option<Closing>, Vec<u8>);

/// Messages are the same however their frames arrive, and those that the standard's own words give.
pub fn websocket_frames(bytes: &[u8]) {
    let whole = decode(&[bytes]);
    for cut in super::cuts(bytes) {
        assert_eq!(decode(&[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
    }
    let (incoming, closing, _) = whole;
    let (expected, is_good) = model(bytes);
    assert_eq!(incoming, expected);
    assert_eq!(closing.is_none(), is_good, "{closing:?}");
}

fn decode(parts: &[&[u8]]) -> Read {
    let mut codec = Codec::new(SIZE_MAX);
    let (mut incoming, mut answered) = (Vec::new(), Vec::new());
    for part in parts.iter().filter(|part| !part.is_empty()) {
        codec.feed(part.to_vec());
        loop {
            match codec.take() {
                Ok(None) => break,
                Err(closing) => return (incoming, Some(closing), answered),
                Ok(Some(one)) => {
                    answered.extend(codec.answers().unwrap_or_default());
                    incoming.push(one);
                    if matches!(incoming.last(), Some(Incoming::Close(_))) {
                        return (incoming, None, answered);
                    }
                }
            }
        }
    }
    (incoming, None, answered)
}

/// A frame: its first byte and its unmasked payload, and what is behind it.
type Frame<'a> = (u8, Vec<u8>, &'a [u8]);

/// Reads a frame, if it is there. Some are refused before all of them has come.
fn frame(bytes: &[u8]) -> Option<Result<Frame<'_>, ()>> {
    let (&[first, second], mut rest) = bytes.split_first_chunk::<2>()?;
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let (size, behind) = rest.split_at_checked(extended)?;
    let size = match extended {
        0 => u64::from(second & 0x7f),
        _ => size.iter().fold(0, |size, byte| size << 8 | u64::from(*byte)),
    };
    rest = behind;
    let mask = match second & 0x80 {
        0 => None,
        _ => {
            let (mask, behind) = rest.split_first_chunk::<4>()?;
            rest = behind;
            Some(mask)
        }
    };
    let is_reserved = matches!(first & 15, 3..=7 | 11..=15);
    if is_reserved || size > SIZE_MAX as u64 {
        return Some(Err(()));
    }
    let (payload, rest) = rest.split_at_checked(size as usize)?;
    let Some(mask) = mask else { return Some(Err(())) };
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    Some(Ok((first, payload.collect(), rest)))
}

/// RFC 6455 §5 on whole input: what came, and whether all of it was good.
fn model(mut bytes: &[u8]) -> (Vec<Incoming>, bool) {
    let mut incoming = Vec::new();
    // Whether it is text, and what there is of it.
    let mut begun: Option<(bool, Vec<u8>)> = None;
    while let Some(frame) = frame(bytes) {
        let Ok((first, payload, rest)) = frame else { return (incoming, false) };
        bytes = rest;
        let is_last = first & 0x80 != 0;
        let is_control = first & 8 != 0;
        if first & 0x70 != 0 || (is_control && (!is_last || payload.len() > 125)) {
            return (incoming, false);
        }
        let (is_text, message) = match (first & 15, begun.take()) {
            (0, Some((is_text, former))) => (is_text, [former, payload].concat()),
            (kind @ (1 | 2), None) => (kind == 1, payload),
            (8, _) if is_close(&payload) => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                incoming.push(Incoming::Close(code.map(close_code)));
                return (incoming, true);
            }
            (9 | 10, former) => {
                begun = former;
                incoming.push(Incoming::Sign);
                continue;
            }
            _ => return (incoming, false),
        };
        if message.len() > SIZE_MAX || is_text && !may_be_text(&message) {
            return (incoming, false);
        }
        if !is_last {
            begun = Some((is_text, message));
        } else if is_text && std::str::from_utf8(&message).is_ok() {
            incoming.push(Incoming::Message(message));
        } else {
            return (incoming, false);
        }
    }
    (incoming, true)
}

/// Whether bytes are the beginning of a text.
fn may_be_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// A code that a peer may close with, or the one by which we say that it may not (§7.4).
fn close_code(code: u16) -> u16 {
    match code {
        1000..=1003 | 1007..=1013 | 3000..=4999 => code,
        _ => 1002,
    }
}

/// The payload of a frame that ends the connection: nothing, or a code and a text.
fn is_close(payload: &[u8]) -> bool {
    payload.is_empty() || payload.len() >= 2 && std::str::from_utf8(&payload[2..]).is_ok()
}
