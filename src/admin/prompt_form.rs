//! What a request says of a prompt, checked and laid over what is stored.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use storage::record::Prompt;

use super::Rules;
use super::fields::Fields;
use super::record_form::{self, OwnershipForm, set};
use crate::catalog::naming;
use crate::own::prompt::{self, Argument};

/// The most arguments of a prompt.
const ARGUMENT_COUNT_MAX: usize = 64;

/// The longest name of an argument, in characters.
const ARGUMENT_LENGTH_MAX: usize = 128;

/// The fields of a request, those of the wrapper's outside included.
pub struct Form {
    name: Option<String>,
    custom_name: Option<String>,
    display_name: Option<Option<String>>,
    title: Option<Option<String>>,
    description: Option<Option<String>>,
    template: Option<String>,
    arguments: Option<Vec<Argument>>,
    tags: Option<Vec<String>>,
    ownership: OwnershipForm,
}

impl Form {
    /// Reads the fields.
    pub fn read(fields: &mut Fields, outer: Option<&mut Fields>, rules: &Rules) -> Form {
        let inner = OwnershipForm::read(fields);
        Form {
            name: record_form::name(fields, rules),
            custom_name: record_form::name_at(fields, "custom_name", rules),
            display_name: record_form::optional(fields, "display_name", rules.name_length_max),
            title: record_form::optional(fields, "title", rules.name_length_max),
            description: record_form::description(fields, rules),
            template: template(fields, rules),
            arguments: arguments(fields),
            tags: record_form::tags(fields),
            ownership: match outer {
                Some(outer) => OwnershipForm::read(outer).over(inner),
                None => inner,
            },
        }
    }

    /// Lays over what an upstream offers only what people decide of it; its name is made of
    /// `gateway_slug` then.
    pub fn apply_to_foreign(
        self,
        prompt: &mut Prompt,
        gateway_slug: &str,
        fields: &mut Fields,
        rules: &Rules,
    ) {
        set(&mut prompt.custom_name, self.custom_name.or(self.name).map(Some));
        set(&mut prompt.display_name, self.display_name);
        set(&mut prompt.tags, self.tags);
        let own = prompt.custom_name.as_ref().unwrap_or(&prompt.original_name);
        prompt.custom_name_slug = naming::slug(own, rules.separator);
        match naming::offered_name(gateway_slug, rules.separator, &prompt.custom_name_slug) {
            Ok(name) => prompt.name = name,
            Err(problem) => fields.error("custom_name", problem),
        }
        self.ownership.apply(&mut prompt.ownership, fields);
    }

    /// Lays the fields over a prompt of our own, and checks what must be there.
    pub fn apply(self, prompt: &mut Prompt, fields: &mut Fields, rules: &Rules) {
        let is_new = prompt.original_name.is_empty();
        match (self.name, is_new) {
            (Some(name), true) => prompt.original_name = name,
            (Some(name), false) => prompt.custom_name = Some(name),
            (None, true) => fields.missing("name"),
            (None, false) => {}
        }
        set(&mut prompt.custom_name, self.custom_name.map(Some));
        let own = prompt.custom_name.as_ref().unwrap_or(&prompt.original_name);
        prompt.custom_name_slug = naming::slug(own, rules.separator);
        prompt.name.clone_from(&prompt.custom_name_slug);
        set(&mut prompt.display_name, self.display_name);
        if prompt.display_name.is_none() {
            prompt.display_name = Some(naming::display_name(own));
        }
        set(&mut prompt.title, self.title);
        set(&mut prompt.description, self.description);
        set(&mut prompt.tags, self.tags);
        self.ownership.apply(&mut prompt.ownership, fields);
        let has_new_template = self.template.is_some();
        match (self.template, is_new) {
            (Some(template), _) => prompt.template = Some(template),
            (None, true) => fields.missing("template"),
            (None, false) => {}
        }
        let template = prompt.template.as_deref().unwrap_or_default();
        let used = match prompt::variables(template) {
            Ok(used) => used,
            Err(problem) => {
                fields.hidden_error("template", format!("Invalid template: {problem}"));
                Vec::new()
            }
        };
        let stored = self.arguments.is_none().then(|| declared(&prompt.definition)).flatten();
        let arguments = self.arguments.or(stored);
        // Whoever declares none is taken at the template's word, which may have changed.
        let arguments = match arguments {
            Some(arguments) if !arguments.is_empty() || !has_new_template => arguments,
            _ => used.into_iter().map(required).collect(),
        };
        prompt.definition = definition(prompt, &arguments);
    }
}

fn required(name: String) -> Argument {
    Argument { name, description: None, required: true }
}

/// The arguments of a stored definition.
fn declared(definition: &str) -> Option<Vec<Argument>> {
    let mut definition: Value = serde_json::from_str(definition).ok()?;
    serde_json::from_value(definition["arguments"].take()).ok()
}

/// The object that MCP lists.
fn definition(prompt: &Prompt, arguments: &[Argument]) -> String {
    let mut object = Map::new();
    object.insert("name".to_owned(), prompt.name.clone().into());
    for (key, text) in [("title", &prompt.title), ("description", &prompt.description)] {
        if let Some(text) = text {
            object.insert(key.to_owned(), text.clone().into());
        }
    }
    object.insert("arguments".to_owned(), json!(arguments));
    Value::Object(object).to_string()
}

fn template(fields: &mut Fields, rules: &Rules) -> Option<String> {
    let text = fields.secret("template")?;
    let max = rules.prompt_size_max;
    if text.len() > max {
        let size = text.len();
        fields.hidden_error(
            "template",
            format!("Template has {size} bytes; {max} are allowed (CONTENT_MAX_PROMPT_SIZE)"),
        );
    }
    Some(text)
}

fn arguments(fields: &mut Fields) -> Option<Vec<Argument>> {
    let value = fields.given("arguments")?.clone();
    let Ok(arguments) = serde_json::from_value::<Vec<Argument>>(value) else {
        fields.error(
            "arguments",
            "Input should be a list of {\"name\", \"description\", \"required\"}",
        );
        return None;
    };
    let mut seen = HashSet::new();
    let is_name = |name: &str| {
        let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
        let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        begins && name.len() <= ARGUMENT_LENGTH_MAX && name.chars().all(word)
    };
    if arguments.len() > ARGUMENT_COUNT_MAX {
        fields.error("arguments", format!("A prompt has at most {ARGUMENT_COUNT_MAX} arguments"));
    }
    for argument in &arguments {
        if !is_name(&argument.name) {
            let name = &argument.name;
            let message = format!("Argument {name:?} must be a word of letters, digits and _");
            fields.error("arguments", message);
        } else if !seen.insert(&argument.name) {
            fields.error("arguments", format!("Argument {} stands twice", argument.name));
        }
    }
    Some(arguments)
}
