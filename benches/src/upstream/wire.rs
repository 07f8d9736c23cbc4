//! HTTP requests as the fake upstream reads them.

/// Fields that a request may have; a gateway sends about ten.
const FIELD_COUNT_MAX: usize = 48;

/// The parts of an HTTP request that the upstream looks at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The HTTP method.
    pub verb: &'a str,
    /// The path, with what follows it.
    pub path: &'a str,
    /// The value of MCP-Protocol-Version.
    pub revision: Option<&'a [u8]>,
    /// The value of Mcp-Session-Id.
    pub session: Option<&'a [u8]>,
    /// The body.
    pub body: &'a [u8],
    /// All bytes of the request.
    pub size: usize,
}

/// Bytes that are no request this server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads the request at the front of `bytes`; `None` while it is incomplete.
///
/// # Errors
///
/// [`Malformed`] when the connection has to be closed.
pub fn parse(bytes: &[u8]) -> Result<Option<Request<'_>>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELD_COUNT_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let head_size = match head.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Malformed),
    };
    let (verb, path) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    let mut request = Request { verb, path, ..Request::default() };
    let mut body_size = 0;
    for field in head.headers.iter() {
        match field.name.len() {
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                body_size = parse_number(field.value)?;
            }
            14 if field.name.eq_ignore_ascii_case("mcp-session-id") => {
                request.session = Some(field.value);
            }
            20 if field.name.eq_ignore_ascii_case("mcp-protocol-version") => {
                request.revision = Some(field.value);
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => return Err(Malformed),
            _ => {}
        }
    }
    request.size = head_size + body_size;
    let Some(body) = bytes.get(head_size..request.size) else { return Ok(None) };
    request.body = body;
    Ok(Some(request))
}

fn parse_number(digits: &[u8]) -> Result<usize, Malformed> {
    std::str::from_utf8(digits).ok().and_then(|text| text.trim().parse().ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &[u8] = b"POST /mcp HTTP/1.1\r\nhost: a\r\nMCP-Protocol-Version: 2026-07-28\r\n\
        mcp-session-id: s\r\ncontent-length: 2\r\n\r\n{}GET";

    #[test]
    fn reads_a_request_and_leaves_what_follows() {
        let request = parse(POST).expect("is a request").expect("is whole");
        assert_eq!((request.verb, request.path), ("POST", "/mcp"));
        assert_eq!(request.revision, Some(&b"2026-07-28"[..]));
        assert_eq!(request.session, Some(&b"s"[..]));
        assert_eq!(request.body, b"{}");
        assert_eq!(request.size, POST.len() - 3);
    }

    #[test]
    fn waits_for_more_at_every_cut() {
        for cut in 0..POST.len() - 3 {
            assert_eq!(parse(&POST[..cut]), Ok(None), "cut at byte {cut}");
        }
    }

    #[test]
    fn refuses_a_body_in_chunks() {
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(parse(chunked), Err(Malformed));
    }
}
