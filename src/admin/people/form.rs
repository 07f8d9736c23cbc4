//! The form of a user who is made or changed.

use storage::record::User;

use super::IdentityRules;
use crate::admin::fields::Fields;
use crate::admin::record_form;
use crate::failure::Failure;

/// What is said of a user who is made or changed.
pub struct UserForm {
    pub email: String,
    pub full_name: Option<Option<String>>,
    pub password: Option<String>,
    pub is_admin: Option<bool>,
    pub is_active: Option<bool>,
    pub change_required: Option<bool>,
}

/// The longest address (RFC 5321 §4.5.3.1).
const EMAIL_LENGTH_MAX: usize = 254;

impl UserForm {
    /// Reads the fields; `by_admin` may say more than people of themselves.
    pub fn read(
        mut fields: Fields,
        stored: Option<&User>,
        rules: &IdentityRules,
        by_admin: bool,
    ) -> Result<UserForm, Failure> {
        let email = fields.text("email").map(|email| email.trim().to_lowercase());
        if let Some(email) = &email {
            check_email(&mut fields, email, stored);
        }
        if email.is_none() && stored.is_none() {
            fields.missing("email");
        }
        let email = stored.map(|user| user.email.clone()).or(email).unwrap_or_default();
        let full_name = record_form::optional(&mut fields, "full_name", 255);
        let password = fields.secret("password");
        match &password {
            None if stored.is_none() => fields.missing("password"),
            None => {}
            Some(password) => {
                if let Err(sentence) = rules.passwords.check(password, &email) {
                    fields.hidden_error("password", sentence);
                }
            }
        }
        let mut flag = |name: &str| if by_admin { fields.flag(name) } else { None };
        let (is_admin, is_active) = (flag("is_admin"), flag("is_active"));
        let change_required = flag("password_change_required");
        fields.finish()?;
        Ok(UserForm { email, full_name, password, is_admin, is_active, change_required })
    }

    /// Writes over `user` what was said; the password is not among it.
    pub fn apply(&self, user: &mut User) {
        if let Some(name) = &self.full_name {
            user.full_name.clone_from(name);
        }
        user.is_admin = self.is_admin.unwrap_or(user.is_admin);
        user.is_active = self.is_active.unwrap_or(user.is_active);
        let required = self.change_required.unwrap_or(user.password_change_required);
        user.password_change_required = required;
    }
}

/// Whether a text can be the address of a user.
pub fn is_email(text: &str) -> bool {
    let is_sound = |part: &str| {
        !part.is_empty() && part.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '@')
    };
    let parts = text.split_once('@');
    parts.is_some_and(|(name, domain)| is_sound(name) && is_sound(domain))
        && text.len() <= EMAIL_LENGTH_MAX
}

fn check_email(fields: &mut Fields, email: &str, stored: Option<&User>) {
    if !is_email(email) {
        fields.error("email", "Input should be an email address");
    }
    if stored.is_some_and(|user| user.email != email) {
        fields.error("email", "The address of a user does not change; make another user");
    }
}
