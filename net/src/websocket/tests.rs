use std::net::SocketAddr;

use super::*;
use crate::http1::{HeadLimits, RequestHead};

/// A frame of a client: masked, the last of its message if `is_last`.
fn frame(opcode: u8, is_last: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![opcode | if is_last { 0x80 } else { 0 }];
    match payload.len() {
        size @ 0..126 => out.push(0x80 | size as u8),
        size @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        size => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// What a codec that takes messages of `size_max` bytes reads in pieces: what came, and how it ended.
fn read(pieces: &[&[u8]], size_max: usize) -> (Vec<Incoming>, Option<Closing>) {
    let mut codec = Codec::new(size_max);
    let mut all = Vec::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        codec.feed(piece.to_vec());
        loop {
            match codec.take() {
                Ok(Some(incoming)) => all.push(incoming),
                Ok(None) => break,
                Err(closing) => return (all, Some(closing)),
            }
        }
    }
    (all, None)
}

fn message(text: &str) -> Incoming {
    Incoming::Message(text.as_bytes().to_vec())
}

#[test]
fn reads_the_same_messages_however_the_bytes_are_cut() {
    let bytes = [
        frame(TEXT, true, "é".as_bytes()),
        frame(TEXT, false, b"tw"),
        frame(PING, true, b"?"),
        frame(0, true, b"o"),
        frame(TEXT, true, "x".repeat(300).as_bytes()),
    ]
    .concat();
    let expected = [message("é"), Incoming::Sign, message("two"), message(&"x".repeat(300))];
    for cut in 0..=bytes.len() {
        let (read, closing) = read(&[&bytes[..cut], &bytes[cut..]], 1000);
        assert_eq!((read.as_slice(), closing), (expected.as_slice(), None), "cut at byte {cut}");
    }
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&pieces, 1000).0, expected);
}

#[test]
fn what_is_no_good_message_ends_the_connection_with_its_own_code() {
    let mut unmasked = vec![0x81, 2];
    unmasked.extend_from_slice(b"hi");
    let wrong = [
        (frame(TEXT, true, b"\xff\xfe"), Closing::UTF8),
        (frame(TEXT, true, &[b'x'; 131]), Closing::TOO_LARGE),
        (
            [frame(TEXT, false, &[b'x'; 70]), frame(0, true, &[b'x'; 70])].concat(),
            Closing::TOO_LARGE,
        ),
        ([&[0x81, 0xff, 0x7f][..], &[0xff; 7], &[0; 4]].concat(), Closing::TOO_LARGE),
        (frame(BINARY, true, b"x"), Closing::BINARY),
        (unmasked, Closing::PROTOCOL),
        (frame(0, true, b"x"), Closing::PROTOCOL),
        (frame(3, true, b"x"), Closing::PROTOCOL),
        (frame(PING, false, b"x"), Closing::PROTOCOL),
        (frame(PING, true, &[0; 126]), Closing::PROTOCOL),
        (frame(0x40 | TEXT, true, b"x"), Closing::PROTOCOL),
    ];
    for (bytes, expected) in wrong {
        assert_eq!(read(&[&bytes], 130), (vec![], Some(expected)), "{bytes:?}");
    }
    assert_eq!(read(&[&frame(TEXT, true, &[b'x'; 130])], 130).1, None);
}

#[test]
fn answers_pings_and_agrees_to_the_end() {
    let mut codec = Codec::new(100);
    codec.feed(frame(PING, true, b"abc"));
    assert_eq!(codec.take(), Ok(Some(Incoming::Sign)));
    assert_eq!(codec.answers().unwrap(), b"\x8a\x03abc");
    assert_eq!(codec.answers(), None);
    codec.feed(frame(CLOSE, true, b"\x03\xe8"));
    assert_eq!(codec.take(), Ok(Some(Incoming::Close(Some(1000)))));
    assert_eq!(codec.answers().unwrap(), b"\x88\x02\x03\xe8");
}

#[test]
fn ends_with_a_code_and_knows_when_the_peer_agrees() {
    let mut codec = Codec::new(100);
    let closing = Closing { code: 1001, reason: "away" };
    assert_eq!(codec.close(closing), b"\x88\x06\x03\xe9away");
    assert!(!codec.agrees(frame(TEXT, true, b"late")));
    assert!(codec.agrees(frame(CLOSE, true, b"\x03\xe9")));
    // Who sent what cannot be read is told why, and nothing more of it is read.
    let mut codec = Codec::new(10);
    codec.feed(frame(TEXT, true, &[b'x'; 11]));
    assert_eq!(codec.take(), Err(Closing::TOO_LARGE));
    assert!(codec.close(Closing::TOO_LARGE).starts_with(b"\x88\x1a\x03\xf1"));
    assert!(!codec.agrees(frame(CLOSE, true, b"")));
}

#[test]
fn a_client_masks_what_a_server_reads() {
    let (client, mut server) = (Codec::client(100), Codec::new(100));
    for text in ["", "one", "two"] {
        let mut out = Vec::new();
        let frame = Frame::message(text.to_owned(), OpCode::Data(Data::Text), true);
        client.write(frame, &mut out).unwrap();
        assert_eq!(out[1] & 0x80, 0x80, "{out:?}");
        server.feed(out);
        assert_eq!(server.take(), Ok(Some(message(text))));
    }
    // A server masks nothing, and a client takes nothing that is masked.
    let mut client = Codec::client(100);
    client.feed(b"\x81\x02hi".to_vec());
    assert_eq!(client.take(), Ok(Some(message("hi"))));
    client.feed(frame(TEXT, true, b"hi"));
    assert_eq!(client.take(), Err(Closing::PROTOCOL));
}

#[test]
fn the_memory_of_a_large_message_is_not_kept() {
    let mut codec = Codec::new(1 << 20);
    let large = vec![b'x'; 1 << 20];
    codec.feed(frame(TEXT, true, &large));
    assert_eq!(codec.take(), Ok(Some(Incoming::Message(large))));
    assert!(codec.held.is_some());
    assert_eq!(codec.take(), Ok(None));
    assert!(codec.held.is_none() && codec.wire.incoming.capacity() == 0);
}

/// What a request with these header lines is answered.
fn ask(lines: &str) -> Result<String, NoSocket> {
    let bytes = format!("GET /ws HTTP/1.1\r\nhost: h\r\n{lines}\r\n");
    let mut head = RequestHead::default();
    head.parse(bytes.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    let request = Request { head: &head, bytes: bytes.as_bytes(), peer, tls: false };
    assert_eq!(offers(&request, "mcp"), lines.contains("mcp"));
    accept(&request)
}

#[test]
fn opens_a_socket_for_who_asks_as_the_standard_says() {
    let asking = "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    // The example of RFC 6455 §1.3.
    let accepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
    assert_eq!(ask(&format!("{asking}{version}{key}")), Ok(accepted.clone()));
    let offered = "Sec-WebSocket-Protocol: other, mcp\r\n";
    assert_eq!(ask(&format!("{asking}{version}{key}{offered}")), Ok(accepted));
    assert_eq!(ask(&format!("{version}{key}")), Err(NoSocket::NotAsked));
    assert_eq!(
        ask(&format!("Upgrade: h2c\r\nConnection: upgrade\r\n{key}")),
        Err(NoSocket::NotAsked)
    );
    let old = "Sec-WebSocket-Version: 8\r\n";
    assert_eq!(ask(&format!("{asking}{old}{key}")), Err(NoSocket::Version));
    assert_eq!(ask(&format!("{asking}{key}")), Err(NoSocket::Version));
    for wrong in ["", "Sec-WebSocket-Key: short\r\n", &key.repeat(2)] {
        assert_eq!(ask(&format!("{asking}{version}{wrong}")), Err(NoSocket::Malformed), "{wrong}");
    }
}
