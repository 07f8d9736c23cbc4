//! What is written: heads and chunks, appended to a buffer of the caller.

/// Appends the status line.
#[inline]
pub fn begin(out: &mut Vec<u8>, status: u16) {
    match status_line(status) {
        Some(line) => out.extend_from_slice(line),
        None => {
            out.extend_from_slice(b"HTTP/1.1 ");
            decimal(out, u64::from(status));
            out.extend_from_slice(b" \r\n");
        }
    }
}

/// Appends the request line; `method` and `target` come from the program or a parsed URL.
///
/// # Panics
///
/// If one of them has a byte that would end the line or the word.
pub fn begin_request(out: &mut Vec<u8>, method: &str, target: &str) {
    assert!(is_token(method.as_bytes()), "the method is a token");
    assert!(!target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic()));
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Appends a field.
///
/// Bytes of the value that would break the line or the message (all control bytes but the tab)
/// become spaces, as RFC 9110 §5.5 has it.
///
/// # Panics
///
/// If `name` is no token. Names from outside go through [`is_token`] where they enter.
#[inline]
pub fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    assert!(is_token(name.as_bytes()), "a field name is a token");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let start = out.len();
    out.extend_from_slice(value);
    let written = &mut out[start..];
    // Without a way out of the loop it is done 16 bytes at a time.
    if written.iter().fold(false, |found, byte| found | breaks_line(*byte)) {
        for byte in written.iter_mut().filter(|byte| breaks_line(**byte)) {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends whole lines that the program itself has written, each with its CR LF.
#[inline]
pub fn lines(out: &mut Vec<u8>, lines: &'static str) {
    debug_assert!(lines.ends_with("\r\n"));
    out.extend_from_slice(lines.as_bytes());
}

/// Appends `Content-Length`.
#[inline]
pub fn content_length(out: &mut Vec<u8>, size: usize) {
    out.extend_from_slice(b"content-length: ");
    decimal(out, size as u64);
    out.extend_from_slice(b"\r\n");
}

/// Appends `Date`, for `seconds` since the epoch.
pub fn date(out: &mut Vec<u8>, seconds: u64) {
    out.extend_from_slice(b"date: ");
    out.extend_from_slice(&http_date(seconds));
    out.extend_from_slice(b"\r\n");
}

/// Ends the head.
#[inline]
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends a chunk. Empty data appends nothing, since an empty chunk would end the body.
#[inline]
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    chunk_size(out, data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body, without trailers.
#[inline]
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// Appends a number in decimal.
#[inline]
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[inline]
fn chunk_size(out: &mut Vec<u8>, size: usize) {
    let digit_count = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for place in (0..digit_count).rev() {
        out.push(b"0123456789abcdef"[size >> (4 * place) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether `name` may be a field name or a method (RFC 9110 §5.6.2).
#[inline]
pub fn is_token(name: &[u8]) -> bool {
    const TOKEN: [bool; 256] = {
        let mut token = [false; 256];
        let mut byte = 0;
        while byte < 128u8 {
            token[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut index = 0;
        while index < b"!#$%&'*+-.^_`|~".len() {
            token[b"!#$%&'*+-.^_`|~"[index] as usize] = true;
            index += 1;
        }
        token
    };
    !name.is_empty() && name.iter().all(|byte| TOKEN[*byte as usize])
}

#[inline]
fn breaks_line(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// The date and time of HTTP, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7), for `seconds`
/// since the epoch; the last one it can write is in the year 9999.
pub fn http_date(seconds: u64) -> [u8; 29] {
    const DAYS: &[u8] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    const LAST: u64 = 253_402_300_799;
    let seconds = seconds.min(LAST);
    let (days, clock) = ((seconds / 86_400) as usize, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(&DAYS[days % 7 * 3..][..3]);
    two_digits(&mut text[5..], day as u64);
    text[8..11].copy_from_slice(&MONTHS[(month - 1) * 3..][..3]);
    two_digits(&mut text[12..], year as u64 / 100);
    two_digits(&mut text[14..], year as u64 % 100);
    two_digits(&mut text[17..], clock / 3600);
    two_digits(&mut text[20..], clock / 60 % 60);
    two_digits(&mut text[23..], clock % 60);
    text
}

fn two_digits(text: &mut [u8], number: u64) {
    text[0] = b'0' + (number / 10) as u8;
    text[1] = b'0' + (number % 10) as u8;
}

/// Year, month and day of a day since the epoch, counted in eras of 400 years that begin in March,
/// so that the leap day comes last.
fn civil(days: usize) -> (usize, usize, usize) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + usize::from(month <= 2), month, day)
}

/// The reason phrase of a status; empty for one that we do not use.
pub fn reason(status: u16) -> &'static str {
    let line = status_line(status).unwrap_or(b"HTTP/1.1 000 \r\n");
    std::str::from_utf8(&line[13..line.len() - 2]).expect("the table is ASCII")
}

/// The whole line, so that the common case is one copy.
#[inline]
fn status_line(status: u16) -> Option<&'static [u8]> {
    macro_rules! lines {
        ($($status:literal $reason:literal)*) => {
            match status {
                $($status => concat!("HTTP/1.1 ", $status, " ", $reason, "\r\n").as_bytes(),)*
                _ => return None,
            }
        };
    }
    Some(lines! {
        100 "Continue"
        101 "Switching Protocols"
        200 "OK"
        201 "Created"
        202 "Accepted"
        204 "No Content"
        206 "Partial Content"
        301 "Moved Permanently"
        302 "Found"
        303 "See Other"
        304 "Not Modified"
        307 "Temporary Redirect"
        308 "Permanent Redirect"
        400 "Bad Request"
        401 "Unauthorized"
        403 "Forbidden"
        404 "Not Found"
        405 "Method Not Allowed"
        406 "Not Acceptable"
        408 "Request Timeout"
        409 "Conflict"
        410 "Gone"
        411 "Length Required"
        412 "Precondition Failed"
        413 "Content Too Large"
        414 "URI Too Long"
        415 "Unsupported Media Type"
        417 "Expectation Failed"
        421 "Misdirected Request"
        422 "Unprocessable Content"
        425 "Too Early"
        426 "Upgrade Required"
        428 "Precondition Required"
        429 "Too Many Requests"
        431 "Request Header Fields Too Large"
        499 "Client Closed Request"
        500 "Internal Server Error"
        501 "Not Implemented"
        502 "Bad Gateway"
        503 "Service Unavailable"
        504 "Gateway Timeout"
        505 "HTTP Version Not Supported"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_a_whole_response() {
        let text = written(|out| {
            begin(out, 200);
            header(out, "content-type", b"application/json");
            date(out, 784_111_777);
            content_length(out, 2);
            end(out);
            out.extend_from_slice(b"{}");
        });
        let wanted = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                      date: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(text, wanted);
    }

    #[test]
    fn writes_a_request_line() {
        let text = written(|out| begin_request(out, "POST", "/mcp?a=b"));
        assert_eq!(text, "POST /mcp?a=b HTTP/1.1\r\n");
    }

    #[test]
    #[should_panic(expected = "is_ascii_graphic")]
    fn a_target_cannot_end_the_request_line() {
        begin_request(&mut Vec::new(), "GET", "/ HTTP/1.1\r\nx: y");
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let text = written(|out| header(out, "x", b"a\r\nevil: yes\0\x7f\tb\xc3\xa9"));
        assert_eq!(text, "x: a  evil: yes  \tb\u{e9}\r\n");
    }

    #[test]
    #[should_panic(expected = "a field name is a token")]
    fn a_name_cannot_end_its_line() {
        header(&mut Vec::new(), "a: b\r\nc", b"d");
    }

    #[test]
    fn writes_chunk_sizes_in_hexadecimal() {
        for (size, wanted) in [(1, "1"), (15, "f"), (16, "10"), (4096, "1000"), (0xabcde, "abcde")]
        {
            let text = written(|out| chunk(out, &vec![b'x'; size]));
            assert_eq!(text.split("\r\n").next(), Some(wanted));
            assert_eq!(text.len(), wanted.len() + size + 4);
        }
        assert_eq!(written(|out| chunk(out, b"")), "");
        assert_eq!(written(last_chunk), "0\r\n\r\n");
    }

    #[test]
    fn a_status_without_a_phrase_keeps_the_space() {
        assert_eq!(written(|out| begin(out, 299)), "HTTP/1.1 299 \r\n");
        assert_eq!(written(|out| begin(out, 431)).len(), 46);
        assert_eq!((reason(404), reason(299)), ("Not Found", ""));
    }

    #[test]
    fn writes_dates_around_leap_days_and_centuries() {
        for (seconds, wanted) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (68_255_999, "Tue, 29 Feb 1972 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_305_600, "Sun, 22 Nov 2026 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&http_date(seconds)).unwrap(), wanted);
        }
    }
}
