//! Who speaks to us, and from where: tokens, the secrets behind them, origins and hosts.
//!
//! It says who a caller is, and in one place ([`access::decide`]) what a caller may do.

pub mod access;
pub mod basic;
mod cache;
mod caller;
mod claims;
pub mod credentials;
mod error;
pub mod external;
pub mod held;
pub mod oidc;
pub mod origin;
pub mod password;
mod restrictions;
pub mod roles;
pub mod secret;
pub mod settle;
pub mod token;
mod verifier;
pub mod vouched;
pub mod why;

pub use caller::{Caller, Foreign, Scopes, Teams};
pub use error::{AuthError, Fault, KeyError};
pub use external::Resource;
pub use origin::Gate;
pub use restrictions::{Outside, Restrictions};
pub use token::{Issuer, Rules};
pub use verifier::{Verifier, shared_rules};
