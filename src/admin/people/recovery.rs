//! Forgotten passwords: this gateway sends no mail, so it says who gives a new one.

use serde_json::json;

use super::{RestAnswer, answer};

/// What there is instead of a mail. It is the same for every address, so it tells nothing of users.
const INSTEAD: &str = "This gateway sends no mail, so nobody can reset a password by themselves. An \
                       administrator gives a new one with PUT /auth/email/admin/users/{email}, and \
                       whoever has the machine with `ringway user password EMAIL`";

/// `POST /auth/email/forgot-password`, `GET` and `POST /auth/email/reset-password/{token}`: 503
/// without `Retry-After`, since trying again does not help.
pub fn unavailable() -> RestAnswer {
    answer::with_status(503, &json!({ "detail": INSTEAD }))
}
