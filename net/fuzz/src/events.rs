//! The oracle for event streams.

use net::error::SseError;
use net::sse::{self, Decoder, SseLimits};

const LIMITS: SseLimits = SseLimits { line_size_max: 200, event_size_max: 300 };

#[derive(Clone, Debug, Default, PartialEq)]
struct Event {
    name: Vec<u8>,
    id: Option<Vec<u8>>,
    data: Vec<u8>,
    retry_ms: Option<u64>,
}

/// Events are the same however they arrive, those that the standard's own words give, and can be
/// written and read again.
pub fn sse_decoder(bytes: &[u8]) {
    let whole = decode(&[bytes]);
    for cut in super::cuts(bytes) {
        match (decode(&[&bytes[..cut], &bytes[cut..]]), &whole) {
            (Err(_), Err(_)) => {}
            (again, whole) => assert_eq!(&again, whole, "cut at {cut}"),
        }
    }
    let Ok(events) = whole else { return };
    assert_eq!(events, model(bytes));
    for event in events {
        let mut written = Vec::new();
        let name = std::str::from_utf8(&event.name).unwrap_or_default();
        sse::encode(&mut written, Some(name), Some("1"), &event.data);
        let again = decode(&[&written]).unwrap_or_default();
        // Some lines grow by their field's name beyond the limit.
        if let [again] = &again[..] {
            let data = event.data.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte });
            assert_eq!(again.data, data.collect::<Vec<_>>());
            assert_eq!(again.name, name.replace('\0', "").as_bytes());
        }
    }
}

fn decode(parts: &[&[u8]]) -> Result<Vec<Event>, SseError> {
    let mut decoder = Decoder::new(LIMITS);
    let mut events = Vec::new();
    for part in parts {
        let mut input = *part;
        while let Some(event) = decoder.next(&mut input)? {
            events.push(Event {
                name: event.name.to_vec(),
                id: event.id.map(<[u8]>::to_vec),
                data: event.data.to_vec(),
                retry_ms: event.retry_ms,
            });
        }
    }
    Ok(events)
}

/// WHATWG HTML §9.2.6, on bytes; events without data are kept if they have any other field.
fn model(bytes: &[u8]) -> Vec<Event> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut plain = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\r' => plain.push(b'\n'),
            b'\n' if at > 0 && bytes[at - 1] == b'\r' => {}
            byte => plain.push(*byte),
        }
    }
    let mut lines: Vec<&[u8]> = plain.split(|byte| *byte == b'\n').collect();
    lines.pop();
    let (mut events, mut event, mut data) = (Vec::new(), None::<Event>, Vec::<&[u8]>::new());
    for line in lines {
        if line.is_empty() {
            if let Some(mut event) = event.take() {
                event.data = data.join(&b'\n');
                events.push(event);
            }
            data.clear();
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = colon.map_or((line, &b""[..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => data.push(value),
            b"event" => event.get_or_insert_default().name = value.to_vec(),
            b"id" if !value.contains(&0) => {
                event.get_or_insert_default().id = Some(value.to_vec());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let value = std::str::from_utf8(value).unwrap();
                event.get_or_insert_default().retry_ms = value.parse().ok();
            }
            _ => continue,
        }
        event.get_or_insert_default();
    }
    events
}
