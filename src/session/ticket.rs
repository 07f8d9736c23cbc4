//! The id of a session: sealed, and all that any shard of any node needs to know of it.

use storage::{record::new_id, seal::Sealer};

use crate::mcp::{Capabilities, LEGACY};

/// What ids are sealed for.
const PURPOSE: &str = "mcp-session";

/// The form of what is sealed.
const FORM: u8 = 1;

/// What an id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// What tells the session from every other: 32 hexadecimal digits.
    pub key: String,
    /// The revision that was agreed on.
    pub revision: &'static str,
    /// What the client can do.
    pub capabilities: Capabilities,
    /// Whose session it is.
    pub email: String,
    /// The virtual server that it is with; empty for everything.
    pub server_id: String,
    /// When it was opened, in seconds since the epoch.
    pub issued_at: u64,
}

impl Ticket {
    /// A ticket of a new session.
    pub fn new(
        revision: &'static str,
        capabilities: Capabilities,
        email: &str,
        server_id: &str,
        issued_at: u64,
    ) -> Ticket {
        let (email, server_id) = (email.to_owned(), server_id.to_owned());
        Ticket { key: new_id(), revision, capabilities, email, server_id, issued_at }
    }

    /// Seals it into an id: visible ASCII, as the specification wants it (2025-11-25, Transports,
    /// Session Management).
    pub fn seal(&self, sealer: &Sealer) -> String {
        let place = LEGACY.iter().position(|known| *known == self.revision).unwrap_or_default();
        let mut bytes = vec![FORM, place as u8];
        bytes.extend_from_slice(&self.capabilities.bits().to_be_bytes());
        bytes.extend_from_slice(&self.issued_at.to_be_bytes());
        for text in [&self.key, &self.server_id, &self.email] {
            bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        sealer.seal_for(PURPOSE, bytes)
    }

    /// Opens an id; `None` if it is none of ours.
    pub fn open(text: &str, sealer: &Sealer) -> Option<Ticket> {
        let bytes = sealer.open_for(PURPOSE, text).ok()?;
        let mut rest = bytes.as_slice();
        let [form, place] = take(&mut rest)?;
        let capabilities = Capabilities::from_bits(u16::from_be_bytes(take(&mut rest)?));
        let issued_at = u64::from_be_bytes(take(&mut rest)?);
        let mut text = || {
            let size = usize::from(u16::from_be_bytes(take(&mut rest)?));
            let (text, left) = rest.split_at_checked(size)?;
            rest = left;
            String::from_utf8(text.to_vec()).ok()
        };
        let (key, server_id, email) = (text()?, text()?, text()?);
        let revision = LEGACY.get(usize::from(place)).filter(|_| form == FORM)?;
        Some(Ticket { key, revision, capabilities, email, server_id, issued_at })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        let capabilities = Capabilities::ROOTS | Capabilities::FORMS;
        Ticket::new("2025-06-18", capabilities, "anna@example.com", "abc", 1_800_000_000)
    }

    #[test]
    fn an_id_says_what_was_sealed_into_it_and_nothing_to_others() {
        let (sealer, ticket) = (Sealer::new("secret"), ticket());
        let id = ticket.seal(&sealer);
        assert_eq!(Ticket::open(&id, &sealer), Some(ticket.clone()));
        assert!(id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{id}");
        assert!(!id.contains("anna") && id.len() < 256, "{id}");
        assert_ne!(ticket.seal(&sealer), id);
        assert_eq!(Ticket::open(&id, &Sealer::new("other")), None);
        assert_eq!(Ticket::open("", &sealer), None);
        assert_eq!(Ticket::open(&id[..id.len() - 2], &sealer), None);
    }

    #[test]
    fn what_was_sealed_in_another_form_is_no_id() {
        let sealer = Sealer::new("secret");
        for bytes in [vec![], vec![2, 0], vec![FORM, 0, 0, 0], vec![FORM, 200, 0, 0, 0, 0, 0]] {
            assert_eq!(Ticket::open(&sealer.seal_for(PURPOSE, bytes), &sealer), None);
        }
    }
}
