//! Our own ids, as a child gives them back.

/// Reads an id or token of ours; some servers give it back as a string.
pub(super) fn number(raw: &str) -> Option<u64> {
    raw.trim_matches('"').parse().ok()
}

/// Bytes at either end of a message in which its id is looked for.
const EDGE_SIZE: usize = 128;

/// Finds the number of an answer of which only the beginning and the end can be read: writers put
/// the id right behind the version, or last.
pub(super) fn outer_id(head: &[u8], tail: &[u8]) -> Option<u64> {
    let head = String::from_utf8_lossy(&head[..head.len().min(EDGE_SIZE)]);
    let tail = String::from_utf8_lossy(&tail[tail.len().saturating_sub(EDGE_SIZE)..]);
    let first = || {
        let (_, rest) = head.split_once("\"2.0\"").filter(|(before, _)| before.len() < 24)?;
        let rest = rest.trim_start().strip_prefix(',')?;
        number_of_id(rest.trim_start()).filter(|(_, rest)| rest.starts_with(','))
    };
    let last = || number_of_id(&tail[tail.rfind("\"id\"")?..]).filter(|(_, rest)| *rest == "}");
    first().or_else(last).map(|(id, _)| id)
}

/// Reads `"id":number` and returns what stands behind it.
fn number_of_id(text: &str) -> Option<(u64, &str)> {
    let value = text.strip_prefix("\"id\"")?.trim_start().strip_prefix(':')?.trim_start();
    let end = value.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(value.len());
    Some((value[..end].parse().ok()?, value[end..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_id_of_an_answer_that_cannot_be_read() {
        let head = br#"{"jsonrpc":"2.0","id":17,"result":{"content":[{"id":3,"#;
        assert_eq!(outer_id(head, b"xx}]}}"), Some(17));
        let head = br#"{"result":{"content":[{"id":3,"text":"xx"#;
        assert_eq!(outer_id(head, br#"xx"}]},"jsonrpc":"2.0","id": 18}"#), Some(18));
        assert_eq!(outer_id(head, br#"xx"},"id":18}]}}"#), None);
        assert_eq!(outer_id(b"xxxx", b"yyyy"), None);
    }
}
