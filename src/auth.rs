//! Who speaks to us, and from where: tokens, the secrets behind them, origins and hosts.
//!
//! It says who a caller is. What a caller may do is decided elsewhere.

pub mod basic;
mod cache;
mod caller;
mod claims;
pub mod credentials;
mod error;
pub mod origin;
pub mod secret;
pub mod token;
mod verifier;
pub mod vouched;

pub use caller::{Caller, Scopes, Teams};
pub use error::{AuthError, Fault, KeyError};
pub use origin::Gate;
pub use token::{Issuer, Rules};
pub use verifier::{Verifier, shared_rules};
