//! What tools are called: by `operationId`, else by method and path, each name once.

use std::collections::HashSet;

use super::operation::Operation;

/// The longest name of a tool, in characters, as MCP advises.
const NAME_LENGTH_MAX: usize = 128;

/// The names that were given.
pub struct Names {
    prefix: String,
    given: HashSet<String>,
}

impl Names {
    /// No name yet; each will begin with `prefix`.
    pub fn new(prefix: &str) -> Names {
        Names { prefix: prefix.to_owned(), given: HashSet::new() }
    }

    /// Gives a name. One that another operation has already gets a number, in the order of the
    /// document.
    pub fn give(&mut self, operation: &Operation<'_>) -> String {
        let own = match operation.id() {
            Some(id) => word(id),
            None => word(&format!("{} {}", operation.method.to_lowercase(), operation.path)),
        };
        let base = format!("{}{own}", self.prefix);
        let mut name: String = base.chars().take(NAME_LENGTH_MAX).collect();
        let mut number = 1;
        while !self.given.insert(canonical(&name)) {
            number += 1;
            let suffix = format!("_{number}");
            let kept = base.chars().take(NAME_LENGTH_MAX - suffix.len());
            name = kept.chain(suffix.chars()).collect();
        }
        name
    }
}

/// A text with the letters that names may have: what is between others becomes one `_`.
pub fn word(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => out.push(letter),
            _ if !out.is_empty() && !out.ends_with('_') => out.push('_'),
            _ => {}
        }
    }
    let word = out.trim_end_matches(['_', '.', '-']).trim_start_matches(['.', '-']);
    match word {
        "" => "operation".to_owned(),
        word => word.to_owned(),
    }
}

/// What a document is known by, from the title of its API.
pub fn source(title: &str) -> String {
    canonical(&word(title))
}

/// The form in which names must differ, since the names that clients see are slugs.
fn canonical(name: &str) -> String {
    let parts = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_only_what_names_may_have() {
        for (text, expected) in [
            ("listPets", "listPets"),
            ("actions/list-artifacts", "actions_list-artifacts"),
            ("get /pets/{petId}", "get_pets_petId"),
            ("Größe ändern", "Gr_e_ndern"),
            ("v1.users.get", "v1.users.get"),
            ("{}", "operation"),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
