//! How identification ends badly: for a caller, and for an operator whose keys cannot be used.

use std::fmt;
use std::path::PathBuf;

use super::external::keyring::Slot;
use super::restrictions::Outside;
use crate::failure::Failure;

/// Why a request is from nobody we know: answer 401 with [`AuthError::challenge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// No token was sent.
    Missing,
    /// A token was sent that is none, or none of ours, or no longer.
    Invalid(Fault),
    /// The keys of the token's issuer must be read first.
    Keys(Slot),
    /// The token is good, but not from there or not now: answer 403.
    Outside(Outside),
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not a JWT, or its claims have other types than they should.
    Malformed,
    /// It is signed with another algorithm than the one that is set, or with none.
    Algorithm,
    /// Its signature is not by our key.
    Signature,
    /// It was issued by someone else, or does not say by whom.
    Issuer,
    /// It is for someone else, or does not say for whom.
    Audience,
    /// It names a key that its issuer does not have.
    UnknownKey,
    /// The keys of its issuer cannot be read now.
    KeysAway,
    /// Its issuer does not know whether the address in it is its user's.
    Unverified,
    /// It has ended.
    Expired,
    /// It has not begun.
    NotYet,
    /// It has no end, and `REQUIRE_TOKEN_EXPIRATION` wants one.
    Endless,
    /// It names nobody.
    Nobody,
    /// It was revoked, or its user ended all tokens of before.
    Revoked,
    /// Its user is switched off.
    Disabled,
    /// Its user is not in the database, and `REQUIRE_USER_IN_DB` wants that.
    Stranger,
    /// It is bound to addresses or times in words that this gateway does not understand.
    Restricted,
}

impl AuthError {
    /// The contract's text for the field `detail`.
    pub fn detail(self) -> &'static str {
        match self {
            AuthError::Missing => "Authorization token required",
            AuthError::Invalid(_) | AuthError::Keys(_) => "Invalid authentication credentials",
            AuthError::Outside(outside) => outside.sentence(),
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750 §3): no error code unless a token was sent.
    pub fn challenge(self) -> &'static str {
        match self {
            AuthError::Missing | AuthError::Outside(_) => "Bearer",
            AuthError::Invalid(fault) => fault.challenge(),
            AuthError::Keys(_) => Fault::KeysAway.challenge(),
        }
    }
}

/// Gives each fault its challenge and its sentence, which must agree: the text stands once.
macro_rules! faults {
    ($($fault:ident => $sentence:literal,)+) => {
        impl Fault {
            fn challenge(self) -> &'static str {
                match self {
                    $(Fault::$fault => concat!(
                        "Bearer error=\"invalid_token\", error_description=\"", $sentence, "\""
                    ),)+
                }
            }

            /// What is wrong, in words.
            pub fn sentence(self) -> &'static str {
                match self { $(Fault::$fault => $sentence,)+ }
            }
        }
    };
}

faults! {
    Malformed => "The token cannot be read",
    Algorithm => "The token is signed with another algorithm",
    Signature => "The signature of the token is wrong",
    Issuer => "The token is from another issuer",
    Audience => "The token is for another audience",
    UnknownKey => "The token names a key that its issuer does not have",
    KeysAway => "The keys of the token's issuer cannot be read now",
    Unverified => "The address in the token is not verified",
    Expired => "The token has expired",
    NotYet => "The token is not valid yet",
    Endless => "The token has no expiration",
    Nobody => "The token names nobody",
    Revoked => "The token was revoked",
    Disabled => "The user of the token is switched off",
    Stranger => "The user of the token is not known here",
    Restricted => "The token is bound by what is not understood here",
}

impl fmt::Display for AuthError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            AuthError::Missing => "No token was sent",
            AuthError::Invalid(fault) => fault.sentence(),
            AuthError::Keys(_) => Fault::KeysAway.sentence(),
            AuthError::Outside(outside) => outside.sentence(),
        })
    }
}

impl std::error::Error for AuthError {}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Failure {
        match error {
            AuthError::Outside(outside) => Failure::Forbidden(outside.sentence().to_owned()),
            _ => Failure::Unauthorized { detail: error.detail(), challenge: error.challenge() },
        }
    }
}

/// Why a key cannot be used: the start, or the command, ends here.
#[derive(Debug)]
pub enum KeyError {
    /// The data folder cannot be made.
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file cannot be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file holds no usable secret.
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no key for the algorithm.
    NoKey {
        /// The file.
        path: PathBuf,
        /// The algorithm.
        algorithm: jsonwebtoken::Algorithm,
    },
    /// A setting that names the file of a key is not set.
    Unset {
        /// The setting.
        name: &'static str,
        /// The algorithm that needs it.
        algorithm: jsonwebtoken::Algorithm,
    },
    /// The claims cannot be signed.
    Sign {
        /// What the library said.
        reason: String,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Folder { path, error } => {
                write!(out, "The folder {} cannot be made: {error}. ", path.display())?;
                out.write_str("Make it, or set RINGWAY_DATA_DIR to one that can be written")
            }
            KeyError::File { path, error } => {
                write!(out, "The file {} cannot be used: {error}", path.display())
            }
            KeyError::Damaged { path } => {
                write!(out, "The file {} holds no secret of at least 32 bytes. ", path.display())?;
                out.write_str("Restore it; or delete it, and what it protected must be made anew")
            }
            KeyError::NoKey { path, algorithm } => {
                write!(out, "The file {} holds no key in PEM for {algorithm:?}", path.display())
            }
            KeyError::Unset { name, algorithm } => {
                write!(out, "{name} is not set, and the algorithm {algorithm:?} needs it")
            }
            KeyError::Sign { reason } => write!(out, "The token cannot be signed: {reason}"),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            KeyError::Folder { error, .. } | KeyError::File { error, .. } => Some(error),
            _ => None,
        }
    }
}
