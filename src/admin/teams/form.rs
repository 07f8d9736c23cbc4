//! What a request says of a team, read field by field.

use std::collections::HashSet;

use serde_json::Value;
use storage::record::{Team, TeamRole, TeamVisibility};

use crate::admin::fields::Fields;
use crate::admin::record_form::{self, set};
use crate::admin::{Ask, Backend};
use crate::failure::Failure;

/// The longest description of a team, in characters.
const DESCRIPTION_LENGTH_MAX: usize = 1000;

/// The longest slug, in characters; the shortest has 2.
const SLUG_LENGTH_MAX: usize = 255;

/// The longest address (RFC 5321 §4.5.3.1).
const EMAIL_LENGTH_MAX: usize = 254;

/// Who is named when a team is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    pub email: String,
    pub role: TeamRole,
}

/// The fields of a team.
pub struct Form {
    name: Option<String>,
    /// The name for addresses, if it was chosen.
    pub slug: Option<String>,
    description: Option<Option<String>>,
    visibility: Option<TeamVisibility>,
    max_members: Option<Option<i64>>,
    /// Who is to be in it, each once.
    pub seeds: Vec<Seed>,
}

impl Form {
    /// Reads what a new team needs.
    ///
    /// # Errors
    ///
    /// 422 naming every field at fault.
    pub fn read<B: Backend>(ask: &Ask<'_, B>) -> Result<Form, Failure> {
        let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
        let mut form = Form::common(ask, &mut fields);
        if form.name.is_none() {
            fields.missing("name");
        }
        form.slug = slug(&mut fields);
        form.seeds = seeds(&mut fields, ask.backend.rules().teams.seed_count_max);
        let own = &ask.caller.email;
        form.seeds.retain(|seed| !seed.email.eq_ignore_ascii_case(own));
        fields.finish()?;
        Ok(form)
    }

    /// Reads what is to be changed of a team.
    ///
    /// # Errors
    ///
    /// 422 naming every field at fault.
    pub fn read_change<B: Backend>(ask: &Ask<'_, B>) -> Result<Form, Failure> {
        let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
        let form = Form::common(ask, &mut fields);
        fields.finish()?;
        Ok(form)
    }

    fn common<B: Backend>(ask: &Ask<'_, B>, fields: &mut Fields) -> Form {
        let rules = ask.backend.rules();
        let read = |text: &str| text.parse().ok();
        Form {
            name: record_form::name(fields, rules),
            slug: None,
            description: record_form::optional(fields, "description", DESCRIPTION_LENGTH_MAX),
            visibility: fields.word("visibility", read, "private or public"),
            max_members: max_members(ask, fields),
            seeds: Vec::new(),
        }
    }

    /// Lays the fields over a team.
    pub fn apply(self, team: &mut Team) {
        set(&mut team.name, self.name);
        set(&mut team.description, self.description);
        set(&mut team.visibility, self.visibility);
        set(&mut team.max_members, self.max_members);
    }
}

/// A bound of its own; only administrators give a higher one than the setting.
fn max_members<B: Backend>(ask: &Ask<'_, B>, fields: &mut Fields) -> Option<Option<i64>> {
    if fields.is_null("max_members") {
        return Some(None);
    }
    let count = fields.count("max_members")?;
    let max = ask.backend.rules().teams.member_count_max as u64;
    if count == 0 || (count > max && !ask.caller.rights.unrestricted) {
        fields.error("max_members", format!("Input should be 1 to {max}"));
    }
    Some(i64::try_from(count).ok())
}

fn slug(fields: &mut Fields) -> Option<String> {
    let slug = fields.text("slug")?.to_lowercase();
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_slug = (2..=SLUG_LENGTH_MAX).contains(&slug.len())
        && slug.bytes().all(is_letter)
        && !slug.starts_with('-')
        && !slug.ends_with('-');
    if !is_slug {
        let form = "2 to 255 letters a-z, digits and hyphens, no hyphen at either end";
        fields.error("slug", format!("Input should be {form}"));
    }
    Some(slug)
}

fn seeds(fields: &mut Fields, count_max: usize) -> Vec<Seed> {
    let Some(value) = fields.given("members") else { return Vec::new() };
    let listed = value.as_array().map(|items| items.iter().map(seed).collect());
    let seeds: Option<Option<Vec<Seed>>> = listed;
    let Some(Some(mut seeds)) = seeds else {
        fields.error("members", "Input should be a list of {\"email\", \"role\": owner or member}");
        return Vec::new();
    };
    if seeds.len() > count_max {
        fields.hidden_error("members", format!("Input should have at most {count_max} entries"));
    }
    let mut seen = HashSet::new();
    seeds.retain(|seed| seen.insert(seed.email.clone()));
    seeds
}

fn seed(item: &Value) -> Option<Seed> {
    let email = checked_email(item.get("email")?.as_str()?)?;
    let role = match item.get("role") {
        Some(role) => role.as_str()?.parse().ok()?,
        None => TeamRole::Member,
    };
    Some(Seed { email, role })
}

/// An address, in lower case, of a field that must be there.
pub fn email(fields: &mut Fields, name: &str) -> Option<String> {
    let Some(text) = fields.text(name) else {
        if fields.given(name).is_none() {
            fields.missing(name);
        }
        return None;
    };
    let email = checked_email(&text);
    if email.is_none() {
        fields.error(name, "Input should be an email address");
    }
    email
}

/// The part of a member's role.
pub fn role(fields: &mut Fields) -> Option<TeamRole> {
    fields.word("role", |text| text.parse().ok(), "owner or member")
}

fn checked_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let is_plain = |letter: char| !letter.is_control() && !letter.is_whitespace();
    let (name, domain) = email.rsplit_once('@')?;
    let is_email = email.len() <= EMAIL_LENGTH_MAX
        && !name.is_empty()
        && !domain.is_empty()
        && email.chars().all(is_plain);
    is_email.then_some(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_two_parts_and_no_blanks() {
        assert_eq!(checked_email(" Bob@Example.COM ").as_deref(), Some("bob@example.com"));
        for text in ["bob", "@x", "bob@", "b ob@x", "bob@x\n y", ""] {
            assert_eq!(checked_email(text), None, "{text:?}");
        }
        assert_eq!(checked_email(&format!("{}@x", "a".repeat(260))), None);
    }

    #[test]
    fn people_are_named_once_each_with_a_role_or_as_members() {
        let body = br#"{"members": [{"email": "A@x"}, {"email": "b@x", "role": "owner"},
                        {"email": "a@x", "role": "owner"}]}"#;
        let mut fields = Fields::parse(None, body).unwrap();
        let seeds = seeds(&mut fields, 3);
        let found: Vec<_> = seeds.iter().map(|seed| (seed.email.as_str(), seed.role)).collect();
        assert_eq!(found, [("a@x", TeamRole::Member), ("b@x", TeamRole::Owner)]);
        assert!(fields.finish().is_ok());
        let mut fields = Fields::parse(None, body).unwrap();
        super::seeds(&mut fields, 2);
        assert!(fields.finish().is_err());
        for wrong in [r#"["a@x"]"#, r#"[{"email": "a"}]"#, r#"[{"email": "a@x", "role": "king"}]"#]
        {
            let body = format!(r#"{{"members": {wrong}}}"#);
            let mut fields = Fields::parse(None, body.as_bytes()).unwrap();
            assert!(super::seeds(&mut fields, 9).is_empty());
            assert!(fields.finish().is_err(), "{wrong}");
        }
    }
}
