//! The oracle for request and response heads.

use net::error::HeadError;
use net::http1::{Fields, Framing, HeadLimits, Method, RequestHead, ResponseHead, Version};

const LIMITS: HeadLimits = HeadLimits {
    head_size_max: 400,
    field_count_max: 12,
    field_size_max: 120,
    target_size_max: 60,
};

type Outcome = Result<Option<usize>, HeadError>;

/// Heads are the same however they arrive, and have nothing in them that could be read in two ways.
pub fn http_head(bytes: &[u8]) {
    let mut head = RequestHead::default();
    let whole = head.parse(bytes, &LIMITS);
    if let Ok(Some(size)) = whole {
        check_request(&head, bytes, size);
    }
    for cut in super::cuts(bytes) {
        check_cut(bytes, cut, whole, |head: &mut RequestHead, bytes| head.parse(bytes, &LIMITS));
    }
    for method in [Method::Get, Method::Head] {
        let mut head = ResponseHead::default();
        let whole = head.parse(bytes, &LIMITS, method);
        if let Ok(Some(size)) = whole {
            check_response(&head, bytes, size, method);
        }
        for cut in super::cuts(bytes) {
            check_cut(bytes, cut, whole, |head: &mut ResponseHead, bytes| {
                head.parse(bytes, &LIMITS, method)
            });
        }
    }
}

fn check_cut<H: Default>(
    bytes: &[u8],
    cut: usize,
    whole: Outcome,
    parse: impl Fn(&mut H, &[u8]) -> Outcome,
) {
    let mut head = H::default();
    match (parse(&mut head, &bytes[..cut]), whole) {
        // Between two line ends a head is not looked at again, so an error may show later, or a limit
        // before it.
        (Ok(None), Err(_)) => match parse(&mut head, bytes) {
            Ok(None) => assert!(!bytes[cut..].contains(&b'\n'), "an error is lost, cut at {cut}"),
            Ok(Some(size)) => panic!("an error is lost, cut at {cut}: {size}"),
            Err(_) => {}
        },
        (Ok(None), _) => assert_eq!(parse(&mut head, bytes), whole, "cut at {cut}"),
        (Err(_), _) => assert!(whole.is_err(), "a prefix is refused, cut at {cut}: {whole:?}"),
        (early, _) => assert_eq!(early, whole, "cut at {cut}"),
    }
}

fn check_request(head: &RequestHead, bytes: &[u8], size: usize) {
    let lines = lines(bytes, size);
    let words: Vec<&str> = std::str::from_utf8(lines[0]).unwrap().split(' ').collect();
    assert_eq!(words.len(), 3);
    assert_eq!(words[0], head.method_name(bytes));
    assert_eq!(Method::parse(words[0].as_bytes()), head.method());
    assert_eq!(words[1], head.target(bytes));
    assert!(words[1].len() <= LIMITS.target_size_max);
    let mut target = match words[1].starts_with(['/', '*']) || head.method() == Method::Connect {
        true => String::new(),
        false => format!("{}://", words[1].split_once("://").unwrap().0),
    };
    if words[1].contains("://") && !target.is_empty() {
        target.push_str(head.authority(bytes).unwrap());
    }
    if head.method() == Method::Connect {
        assert_eq!(head.authority(bytes), Some(words[1]));
    } else {
        let path_is_empty = !words[1][target.len()..].starts_with(['/', '*']);
        target.push_str(if path_is_empty { "" } else { head.path(bytes) });
        if let Some(query) = head.query(bytes) {
            target.push('?');
            target.push_str(query);
        }
        assert_eq!(target, words[1]);
    }
    let fields = model_fields(&lines[1..]);
    check_fields(head.fields(), bytes, &fields);
    check_peer(bytes, size, &fields);
    let hosts = named(&fields, "host").count();
    let is_http_1_1 = head.version() == Version::Http11;
    assert_eq!(words[2], if is_http_1_1 { "HTTP/1.1" } else { "HTTP/1.0" });
    assert!(hosts == 1 || (hosts == 0 && !is_http_1_1));
    assert_eq!(model_framing(&fields), head.framing());
}

fn check_response(head: &ResponseHead, bytes: &[u8], size: usize, method: Method) {
    let lines = lines(bytes, size);
    assert_eq!(&lines[0][9..12], head.status().to_string().as_bytes());
    let fields = model_fields(&lines[1..]);
    check_fields(head.fields(), bytes, &fields);
    let has_body = method != Method::Head && !matches!(head.status(), 100..=199 | 204 | 304);
    let wanted = match model_framing(&fields) {
        _ if !has_body => Framing::None,
        Framing::None => Framing::UntilClose,
        framing => framing,
    };
    assert_eq!(head.framing(), wanted);
    assert!(head.framing() != Framing::UntilClose || !head.keep_alive());
}

/// The lines of a head without their ends, checked to hold no other line end and no NUL.
fn lines(bytes: &[u8], size: usize) -> Vec<&[u8]> {
    assert!(size <= LIMITS.head_size_max);
    let mut head = bytes[..size].strip_suffix(b"\r\n\r\n").expect("a head ends with a blank line");
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    let (mut lines, mut start) = (Vec::new(), 0);
    for at in 0..head.len() {
        if head[at..].starts_with(b"\r\n") {
            lines.push(&head[start..at]);
            start = at + 2;
        }
    }
    lines.push(&head[start..]);
    for line in &lines {
        assert!(!line.is_empty());
        assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    lines
}

fn model_fields<'a>(lines: &[&'a [u8]]) -> Vec<(&'a str, &'a [u8])> {
    let field = |line: &&'a [u8]| {
        let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
        let name = std::str::from_utf8(&line[..colon]).expect("a name is ASCII");
        assert!(net::http1::encode::is_token(name.as_bytes()));
        assert!(line.len() < LIMITS.field_size_max + 100);
        (name, trim(&line[colon + 1..]))
    };
    lines.iter().map(field).collect()
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn named<'a>(fields: &[(&str, &'a [u8])], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1)
}

fn check_fields(got: &Fields, bytes: &[u8], wanted: &[(&str, &[u8])]) {
    assert!(wanted.len() <= LIMITS.field_count_max);
    assert_eq!(got.len(), wanted.len());
    for ((name, value), wanted) in got.iter(bytes).zip(wanted) {
        assert_eq!((name, value), (wanted.0.as_bytes(), wanted.1));
        assert!(name.len() + value.len() <= LIMITS.field_size_max);
    }
    for (name, _) in wanted {
        assert_eq!(got.count(bytes, name), named(wanted, name).count());
        assert_eq!(got.get(bytes, name), named(wanted, name).next());
    }
}

/// What is accepted means the same to httparse, as a reader of the same bytes.
fn check_peer(bytes: &[u8], size: usize, fields: &[(&str, &[u8])]) {
    let mut headers = [httparse::EMPTY_HEADER; LIMITS.field_count_max];
    let mut request = httparse::Request::new(&mut headers);
    assert_eq!(request.parse(bytes), Ok(httparse::Status::Complete(size)));
    let peers = request.headers.iter().map(|header| (header.name, header.value));
    assert!(peers.eq(fields.iter().copied()));
}

/// What an accepted head can say about its body: one length or one coding, plainly written.
fn model_framing(fields: &[(&str, &[u8])]) -> Framing {
    let lengths: Vec<&[u8]> = named(fields, "content-length").collect();
    let codings: Vec<&[u8]> = named(fields, "transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => Framing::None,
        ([length], []) => {
            assert!(length.iter().all(u8::is_ascii_digit));
            Framing::Length(std::str::from_utf8(length).unwrap().parse().unwrap())
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            Framing::Chunked
        }
        _ => panic!("the body's length is ambiguous"),
    }
}
