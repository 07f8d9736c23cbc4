//! What one shard writes to the inbox of another about its sessions, bytes to value and back.

use std::net::IpAddr;

use super::Word;

/// What is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Letter<'a> {
    /// A client answered a question that was asked there.
    Answer {
        /// The number of the question.
        number: u64,
        /// What only who was asked knows.
        secret: &'a str,
        /// The key of the session.
        key: &'a str,
        /// The answer.
        word: Word,
    },
    /// A client sent a message, whose stream is there.
    Message {
        /// The key of the session.
        key: &'a str,
        /// Where it came from.
        ip: IpAddr,
        /// The message.
        message: &'a [u8],
    },
}

impl Letter<'_> {
    /// Writes it: a line of words, and what it is about.
    pub(super) fn write(&self) -> Vec<u8> {
        match self {
            Letter::Answer { number, secret, key, word } => {
                let (kind, raw) = match word {
                    Word::Result(raw) => ("result", raw),
                    Word::Error(raw) => ("error", raw),
                };
                format!("{kind} {number} {secret} {key}\n{raw}").into_bytes()
            }
            Letter::Message { key, ip, message } => {
                let mut letter = format!("message {key} {ip}\n").into_bytes();
                letter.extend_from_slice(message);
                letter
            }
        }
    }

    /// Reads one; `None` if it is not understood.
    pub(super) fn read(letter: &[u8]) -> Option<Letter<'_>> {
        let end = memchr::memchr(b'\n', letter)?;
        let (head, rest) = (std::str::from_utf8(&letter[..end]).ok()?, &letter[end + 1..]);
        let words: Vec<&str> = head.split(' ').collect();
        match words[..] {
            [kind @ ("result" | "error"), number, secret, key] => {
                let raw = std::str::from_utf8(rest).ok()?.to_owned();
                let word = if kind == "result" { Word::Result(raw) } else { Word::Error(raw) };
                Some(Letter::Answer { number: number.parse().ok()?, secret, key, word })
            }
            ["message", key, ip] => {
                Some(Letter::Message { key, ip: ip.parse().ok()?, message: rest })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_read_as_it_was_written() {
        let word = Word::Result("{\"a\":\"b\n c\"}".to_owned());
        let answer = Letter::Answer { number: 7, secret: "s", key: "k", word };
        let ip = "2001:db8::1".parse().unwrap();
        let message = Letter::Message { key: "k", ip, message: b"{\n}\xff" };
        for letter in [answer, message] {
            assert_eq!(Letter::read(&letter.write()), Some(letter));
        }
        for wrong in ["", "\n", "result 1 s\n", "result x s k\n{}", "message k x\n{}", "other\n"] {
            assert_eq!(Letter::read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
