//! JSON-RPC envelopes: where method, id and parameters lie in a message, and nothing unpacked.
//!
//! Everything that passes is checked JSON, so any span can be relayed or spliced as it is. Keys that
//! decide are never there twice, since the next reader might take the other one.

mod answer;
mod envelope;
mod fields;
mod message;
mod params;
mod scan;
mod text;
mod write;

pub use answer::{Answer, AnswerKind};
pub use envelope::EnvelopeLimits;
pub use fields::{Field, FieldIter, fields, items, pick};
pub use message::{Message, MessageKind};
pub use params::{MetaKey, Param, Params};
pub use scan::DEPTH_CAP;
pub use text::{is_string, unescape};
pub use write::{ErrorParts, error, result, write_string};

#[cfg(test)]
mod tests;
