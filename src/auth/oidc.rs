//! Logging in with another provider: OpenID Connect, or OAuth 2.0 where a provider has only that.
//!
//! The code flow with PKCE (RFC 7636). It asks nobody itself: it says what to ask, and reads what was
//! answered.

mod exchange;
mod flow;
mod identity;
mod presets;
mod provider;

pub use exchange::{Granted, TokenRequest, primary_address, word};
pub use flow::Flow;
pub use identity::Identity;

pub use super::external::claims::find as claim;
pub use presets::providers;
pub use provider::{Endpoints, Habits, Protocol, Provider, Seat, seats};
