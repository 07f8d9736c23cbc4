//! Passwords: how they are hashed, compared and chosen. Hashing takes a tenth of a second and much
//! memory on purpose, so it is never done on a shard.

use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::settings::Auth;

/// The longest password, in bytes: beyond it, only the work grows.
pub const PASSWORD_SIZE_MAX: usize = 1024;

/// What a password must be, and what hashing costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordRules {
    /// The fewest characters.
    pub length_min: usize,
    /// An upper-case letter is needed.
    pub upper: bool,
    /// A lower-case letter is needed.
    pub lower: bool,
    /// A digit is needed.
    pub digit: bool,
    /// A character that is neither letter nor digit is needed.
    pub special: bool,
    /// How often the memory is filled (Argon2's `t`).
    pub time_cost: u32,
    /// How much memory, in KiB (`m`).
    pub memory_kib: u32,
    /// How many lanes (`p`).
    pub lanes: u32,
}

/// A setting, whose bound is far below that of the type.
fn whole(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl PasswordRules {
    /// As the settings have it.
    pub fn new(auth: &Auth) -> PasswordRules {
        PasswordRules {
            length_min: auth.password_length_min,
            upper: auth.password_upper,
            lower: auth.password_lower,
            digit: auth.password_digit,
            special: auth.password_special,
            time_cost: whole(auth.argon2_time),
            memory_kib: whole(auth.argon2_memory),
            lanes: whole(auth.argon2_lanes),
        }
    }

    /// Whether `password` may be chosen by the user with this address.
    ///
    /// # Errors
    ///
    /// A sentence that says what is lacking.
    pub fn check(&self, password: &str, email: &str) -> Result<(), String> {
        let has = |is: fn(char) -> bool| password.chars().any(is);
        if password.chars().count() < self.length_min {
            return Err(format!("Password must have at least {} characters", self.length_min));
        }
        if password.len() > PASSWORD_SIZE_MAX {
            return Err(format!("Password must have at most {PASSWORD_SIZE_MAX} bytes"));
        }
        let lacks = [
            (self.upper && !has(char::is_uppercase), "an upper-case letter"),
            (self.lower && !has(char::is_lowercase), "a lower-case letter"),
            (self.digit && !has(|letter| letter.is_ascii_digit()), "a digit"),
            (
                self.special && !has(|letter| !letter.is_alphanumeric()),
                "a character that is neither letter nor digit",
            ),
        ];
        let lacks: Vec<_> =
            lacks.iter().filter(|(lacks, _)| *lacks).map(|(_, what)| *what).collect();
        if !lacks.is_empty() {
            return Err(format!("Password must contain {}", lacks.join(", ")));
        }
        let name = email.split('@').next().unwrap_or_default();
        match name.len() > 3 && password.to_lowercase().contains(&name.to_lowercase()) {
            true => Err("Password must not contain the name of its user".to_owned()),
            false => Ok(()),
        }
    }

    fn hasher(&self) -> Argon2<'static> {
        #[cfg(test)]
        tests::note_work();
        let params = Params::new(self.memory_kib, self.time_cost, self.lanes, None);
        let params = params.expect("the bounds of the settings are within Argon2's");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }

    /// Hashes a password: the PHC string format, with a salt of its own. Blocks.
    pub fn hash(&self, password: &str) -> String {
        let salt = SaltString::generate(&mut argon2::password_hash::rand_core::OsRng);
        let hash = self.hasher().hash_password(password.as_bytes(), &salt);
        hash.expect("any password can be hashed").to_string()
    }

    /// Whether `password` is the one that was hashed; without a hash as much work is done, and the
    /// answer is no. Blocks.
    pub fn verify(&self, password: &str, hash: Option<&str>) -> bool {
        let stored = hash.and_then(|hash| PasswordHash::new(hash).ok());
        match stored {
            // The parameters stand in the hash.
            Some(stored) => self.hasher().verify_password(password.as_bytes(), &stored).is_ok(),
            None => {
                self.hash(password);
                false
            }
        }
    }
}

/// How many passwords are hashed at once, in this process.
static HASHING: AtomicUsize = AtomicUsize::new(0);

/// A place among those whose password is hashed now.
pub struct Place(());

impl Place {
    /// Takes a place, if one of `count_max` is free.
    pub fn take(count_max: usize) -> Option<Place> {
        let taken = HASHING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < count_max).then_some(count + 1)
        });
        taken.is_ok().then(|| Place(()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        HASHING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes a password that nobody guesses: 24 letters and digits, 142 bits.
pub fn generate() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
    let mut text = String::new();
    while text.len() < 24 {
        let mut bytes = [0; 64];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
        // Bytes beyond the last whole round are left out, so that all letters are as likely.
        let whole = 256 - 256 % LETTERS.len();
        let fair = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < whole);
        text.extend(
            fair.map(|byte| char::from(LETTERS[byte % LETTERS.len()])).take(24 - text.len()),
        );
    }
    format!("{text}-1")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static WORK_COUNT: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn note_work() {
        WORK_COUNT.set(WORK_COUNT.get() + 1);
    }

    /// How many passwords this thread has hashed, to compare them or to keep them.
    pub(crate) fn work_count() -> usize {
        WORK_COUNT.get()
    }

    /// Rules whose hashes cost next to nothing.
    pub(crate) fn cheap() -> PasswordRules {
        PasswordRules {
            length_min: 8,
            upper: false,
            lower: false,
            digit: false,
            special: false,
            time_cost: 1,
            memory_kib: 8,
            lanes: 1,
        }
    }

    #[test]
    fn a_password_verifies_against_its_own_hash_alone_whatever_the_rules_are_now() {
        let hash = cheap().hash("correct horse");
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        let dearer = PasswordRules { memory_kib: 16, ..cheap() };
        assert!(dearer.verify("correct horse", Some(&hash)));
        assert!(!cheap().verify("correct horsf", Some(&hash)));
        assert!(!cheap().verify("correct horse", None));
        assert!(!cheap().verify("correct horse", Some("rubbish")));
        assert_ne!(hash, cheap().hash("correct horse"), "each has a salt of its own");
    }

    #[test]
    fn says_all_that_a_password_lacks() {
        let strict =
            PasswordRules { upper: true, lower: true, digit: true, special: true, ..cheap() };
        let check = |password: &str| strict.check(password, "anna@example.com");
        assert_eq!(check("short"), Err("Password must have at least 8 characters".to_owned()));
        let error = check("lowercase").unwrap_err();
        assert!(error.contains("upper-case") && error.contains("a digit"), "{error}");
        assert!(check("Has-Anna-1x").unwrap_err().contains("name of its user"));
        assert_eq!(check("Good-Enough-1"), Ok(()));
        assert!(check(&"Aa1-".repeat(300)).is_err());
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let first = Place::take(1_000_000);
        assert!(first.is_some());
        assert!(Place::take(0).is_none());
        drop(first);
        assert!(Place::take(1_000_000).is_some());
    }

    #[test]
    fn a_generated_password_is_long_and_never_the_same() {
        let made = generate();
        assert_eq!(made.len(), 26);
        assert_ne!(made, generate());
    }
}
