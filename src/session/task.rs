//! The id of a task as its client knows it (2026-07-28, extension `io.modelcontextprotocol/tasks`):
//! sealed, and all that any shard of any node needs to find the task again, for its client alone.

use serde::{Deserialize, Serialize};
use storage::seal::Sealer;

use super::parking::Ticket;

/// What ids are sealed for.
const PURPOSE: &str = "mcp-task";

/// What an id says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTicket {
    /// The id that the upstream gave it.
    pub task_id: String,
    /// The upstream that works on it.
    pub upstream_id: String,
    /// The tool that was called, by the name that the client knows.
    pub tool: String,
    /// Whose task it is.
    pub email: String,
    /// The virtual server through which it was called; empty for everything.
    pub server_id: String,
    /// Where it is attended, if it is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attended: Option<Ticket>,
}

impl TaskTicket {
    /// Seals it into an id: visible ASCII, as `Mcp-Name` repeats it.
    pub fn seal(&self, sealer: &Sealer) -> String {
        let bytes = serde_json::to_vec(self).expect("texts become JSON");
        sealer.seal_for(PURPOSE, bytes)
    }

    /// Opens an id; `None` if it is none of ours.
    pub fn open(id: &str, sealer: &Sealer) -> Option<TaskTicket> {
        serde_json::from_slice(&sealer.open_for(PURPOSE, id).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_what_was_sealed_into_it_and_nothing_to_others() {
        let text = |text: &str| text.to_owned();
        let ticket = TaskTicket {
            task_id: text("task \"1\""),
            upstream_id: text("u"),
            tool: text("t"),
            email: text("anna@example.com"),
            server_id: String::new(),
            attended: None,
        };
        let sealer = Sealer::new("secret");
        let id = ticket.seal(&sealer);
        assert!(id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) && !id.contains("anna"));
        assert_eq!(TaskTicket::open(&id, &sealer), Some(ticket));
        assert_eq!(TaskTicket::open(&id, &Sealer::new("other")), None);
        assert_eq!(TaskTicket::open("task \"1\"", &sealer), None);
    }
}
