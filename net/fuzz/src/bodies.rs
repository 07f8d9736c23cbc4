//! The oracle for chunked bodies.

use net::error::BodyError;
use net::http1::body::BodyDecoder;
use net::http1::{Framing, encode};

const SIZE_MAX: u64 = 1000;

/// The body, how many bytes it took, and whether it is complete.
type Outcome = Result<(Vec<u8>, usize, bool), BodyError>;

/// Chunks give the same body however they arrive, the one that a plain reading gives, and it can be
/// written and read again.
pub fn chunked_body(bytes: &[u8]) {
    let whole = decode(&[bytes]);
    for cut in super::cuts(bytes) {
        let parts = [&bytes[..cut], &bytes[cut..]];
        let again = decode(&parts);
        match (&whole, &again) {
            // Which limit is passed first may depend on the cut.
            (Err(_), Err(_)) => {}
            _ => assert_eq!(again, whole, "cut at {cut}"),
        }
    }
    if let Ok((body, size, true)) = whole {
        assert_eq!(model(&bytes[..size]), body);
        let mut written = Vec::new();
        for chunk in body.chunks(7) {
            encode::chunk(&mut written, chunk);
        }
        encode::last_chunk(&mut written);
        let size = written.len();
        assert_eq!(decode(&[&written]), Ok((body, size, true)));
    }
}

fn decode(parts: &[&[u8]]) -> Outcome {
    let mut decoder = BodyDecoder::new(Framing::Chunked, SIZE_MAX)?;
    let (mut body, mut size, mut done) = (Vec::new(), 0, false);
    for part in parts {
        if !done {
            let fed = decoder.feed(part, &mut body)?;
            assert!(fed.done || fed.consumed == part.len());
            (size, done) = (size + fed.consumed, fed.done);
        }
    }
    assert!(body.len() as u64 <= SIZE_MAX);
    assert_eq!(decoder.may_end(), done);
    Ok((body, size, done))
}

/// Reads a complete body that was accepted: lines and the data they announce.
fn model(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = line(&mut rest);
        let size = line.split(|byte| *byte == b';').next().unwrap();
        let size = std::str::from_utf8(size).unwrap().trim_end_matches([' ', '\t']);
        assert!(size.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[..size]);
        rest = rest[size..].strip_prefix(b"\r\n").expect("a chunk ends with CR LF");
    }
    while !line(&mut rest).is_empty() {}
    assert!(rest.is_empty());
    body
}

fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let size = rest.windows(2).position(|pair| pair == b"\r\n").expect("a line ends with CR LF");
    let line = &rest[..size];
    assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    *rest = &rest[size + 2..];
    line
}
