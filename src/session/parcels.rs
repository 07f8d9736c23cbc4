//! Messages between shards that may be larger than what the bus carries at once: they go in parts, which
//! come in their order or not at all, and are put together where they arrive.

use std::{borrow::Cow, collections::VecDeque};

use storage::{
    record::new_id,
    shared::{Reach, StateError, VALUE_SIZE_MAX},
};

use crate::limits;

/// Bytes of a part besides what it carries, at most.
const HEAD_SIZE_MAX: usize = 64;

/// Bytes that a part carries, at most.
const PART_SIZE_MAX: usize = VALUE_SIZE_MAX - HEAD_SIZE_MAX;

/// What a message begins with that is whole.
const WHOLE: u8 = b'=';

/// Sends `message` by `send`, in as many parts as it takes.
///
/// # Errors
///
/// What `send` says of a part; the others are of no use then.
pub async fn send(
    message: &[u8],
    send: impl AsyncFn(&[u8]) -> Result<Reach, StateError>,
) -> Result<Reach, StateError> {
    if message.len() < PART_SIZE_MAX {
        return send(&[&[WHOLE], message].concat()).await;
    }
    let (id, count) = (new_id(), message.len().div_ceil(PART_SIZE_MAX));
    for (index, part) in message.chunks(PART_SIZE_MAX).enumerate() {
        let head = format!("{id} {index} {count}\n");
        if send(&[head.as_bytes(), part].concat()).await? == Reach::Nobody {
            return Ok(Reach::Nobody);
        }
    }
    Ok(Reach::Somebody)
}

/// Puts together what arrives.
#[derive(Default)]
pub struct Parcels {
    /// Those of which parts are missing, the oldest first.
    open: VecDeque<Open>,
}

struct Open {
    id: String,
    /// Which part comes next.
    next: usize,
    bytes: Vec<u8>,
}

impl Parcels {
    /// Takes what came; returns the message that it is, or completes.
    pub fn take<'a>(&mut self, arrived: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if let Some((&WHOLE, message)) = arrived.split_first() {
            return Some(Cow::Borrowed(message));
        }
        let end = memchr::memchr(b'\n', arrived)?;
        let (head, part) = (std::str::from_utf8(&arrived[..end]).ok()?, &arrived[end + 1..]);
        let mut words = head.split(' ');
        let id = words.next()?;
        let [index, count] = [(); 2].map(|()| words.next().and_then(|word| word.parse().ok()));
        let (index, count): (usize, usize) = (index?, count?);
        let mut parcel = match self.open.iter().position(|open| open.id == id) {
            Some(at) => self.open.remove(at)?,
            None => Open { id: id.to_owned(), next: 0, bytes: Vec::new() },
        };
        // One that lost a part is of no use any more.
        if index != parcel.next {
            return None;
        }
        parcel.next += 1;
        parcel.bytes.extend_from_slice(part);
        if parcel.next == count {
            return Some(Cow::Owned(parcel.bytes));
        }
        self.open.push_back(parcel);
        while self.open.iter().map(|open| open.bytes.len()).sum::<usize>()
            > limits::PARCELS_SIZE_MAX
        {
            self.open.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::FutureExt;

    use super::*;

    /// What is sent of a message.
    fn sent(message: &[u8]) -> Vec<Vec<u8>> {
        let parts = RefCell::new(Vec::new());
        let keep = async |part: &[u8]| {
            assert!(part.len() <= VALUE_SIZE_MAX);
            parts.borrow_mut().push(part.to_vec());
            Ok(Reach::Somebody)
        };
        send(message, keep).now_or_never().expect("it waits for nothing").expect("it is sent");
        parts.into_inner()
    }

    #[test]
    fn a_message_of_any_size_arrives_as_it_was_sent_among_others() {
        let sizes = [0, 1, PART_SIZE_MAX - 1, PART_SIZE_MAX, PART_SIZE_MAX + 1, 3 * PART_SIZE_MAX];
        let messages: Vec<Vec<u8>> = { sizes.iter().enumerate() }
            .map(|(number, size)| (0..*size).map(|at| (at % 251) as u8 ^ number as u8).collect())
            .collect();
        let mut parts: Vec<_> = messages.iter().map(|message| sent(message).into_iter()).collect();
        let (mut parcels, mut arrived) = (Parcels::default(), Vec::new());
        // Of each message a part in turn.
        while parts.iter().any(|left| left.len() > 0) {
            for part in parts.iter_mut().filter_map(Iterator::next) {
                arrived.extend(parcels.take(&part).map(Cow::into_owned));
            }
        }
        arrived.sort_by_key(Vec::len);
        assert!(arrived == messages);
        assert!(parcels.open.is_empty());
    }

    #[test]
    fn what_lost_a_part_never_arrives_and_is_not_kept() {
        let mut parcels = Parcels::default();
        let parts = sent(&vec![7; 3 * PART_SIZE_MAX]);
        for part in [&parts[0], &parts[2], &parts[1]] {
            assert_eq!(parcels.take(part), None);
        }
        assert!(parcels.open.is_empty());
        for wrong in [&b""[..], b"a", b"a 0\n", b"a 1 2\n", b"a x 2\n"] {
            assert_eq!(parcels.take(wrong), None);
        }
    }

    #[test]
    fn only_so_much_is_kept_of_what_never_becomes_whole() {
        let mut parcels = Parcels::default();
        for _ in 0..2 * limits::PARCELS_SIZE_MAX / PART_SIZE_MAX {
            assert_eq!(parcels.take(&sent(&vec![7; 2 * PART_SIZE_MAX])[0]), None);
        }
        let kept: usize = parcels.open.iter().map(|open| open.bytes.len()).sum();
        assert!(kept > 0 && kept <= limits::PARCELS_SIZE_MAX);
    }
}
