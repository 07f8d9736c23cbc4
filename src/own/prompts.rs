//! The compiled templates of a shard.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use minijinja::Environment;
use net::jsonrpc;
use serde::Deserialize;
use storage::record::Prompt;

use super::prompt::{self, Argument, Message, RenderError};
use super::sandbox;

/// The templates that were compiled lately; the oldest goes when there are too many.
pub struct Prompts {
    environment: RefCell<Environment<'static>>,
    names: RefCell<VecDeque<String>>,
    count_max: usize,
}

/// What of a definition says how a prompt is asked for.
#[derive(Deserialize)]
struct Definition {
    #[serde(default)]
    arguments: Option<Vec<Argument>>,
}

impl Prompts {
    /// Keeps up to `count_max` templates, at least one.
    pub fn new(count_max: usize) -> Prompts {
        Prompts {
            environment: RefCell::new(sandbox::environment()),
            names: RefCell::default(),
            count_max: count_max.max(1),
        }
    }

    /// Renders a prompt of our own; gives the raw result of `prompts/get`.
    ///
    /// # Errors
    ///
    /// [`RenderError`].
    pub fn get(
        &self,
        prompt: &Prompt,
        given: BTreeMap<String, String>,
    ) -> Result<Vec<u8>, RenderError> {
        let name = self.compile(prompt)?;
        let definition = serde_json::from_str::<Definition>(&prompt.definition);
        let declared = definition.ok().and_then(|read| read.arguments).unwrap_or_default();
        let messages = prompt::render(&self.environment.borrow(), &name, &declared, given)?;
        Ok(result(prompt.description.as_deref(), &messages))
    }

    /// Compiles the template unless it is; gives the name it has in the environment, which another
    /// version of the record does not share.
    fn compile(&self, prompt: &Prompt) -> Result<String, RenderError> {
        let name = format!("{}@{}", prompt.id, prompt.audit.version);
        let mut environment = self.environment.borrow_mut();
        if environment.get_template(&name).is_ok() {
            return Ok(name);
        }
        let template = prompt.template.as_deref().unwrap_or_default();
        sandbox::check(template).map_err(RenderError::Failed)?;
        let added = environment.add_template_owned(name.clone(), prompt::marked(template));
        added.map_err(|error| RenderError::Failed(error.to_string()))?;
        let mut names = self.names.borrow_mut();
        names.push_back(name.clone());
        if names.len() > self.count_max
            && let Some(oldest) = names.pop_front()
        {
            environment.remove_template(&oldest);
        }
        Ok(name)
    }
}

fn result(description: Option<&str>, messages: &[Message]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    if let Some(description) = description {
        out.extend_from_slice(b"\"description\":");
        jsonrpc::write_string(&mut out, description);
        out.push(b',');
    }
    out.extend_from_slice(b"\"messages\":[");
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"role\":\"");
        out.extend_from_slice(message.role.as_bytes());
        out.extend_from_slice(b"\",\"content\":{\"type\":\"text\",\"text\":");
        jsonrpc::write_string(&mut out, &message.text);
        out.extend_from_slice(b"}}");
    }
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use storage::record::Audit;

    use super::*;

    fn prompt(id: &str, version: i64, template: &str) -> Prompt {
        Prompt {
            id: id.to_owned(),
            description: Some("says \"it\"".to_owned()),
            definition: r#"{"name":"p","arguments":[{"name":"a","required":true}]}"#.to_owned(),
            template: Some(template.to_owned()),
            audit: Audit { version, ..Audit::default() },
            ..Prompt::default()
        }
    }

    fn got(prompts: &Prompts, prompt: &Prompt) -> Value {
        let given = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        serde_json::from_slice(&prompts.get(prompt, given).unwrap()).unwrap()
    }

    #[test]
    fn a_prompt_renders_to_what_mcp_calls_its_messages() {
        let prompts = Prompts::new(10);
        let expected = json!({"description": "says \"it\"", "messages": [
            {"role": "user", "content": {"type": "text", "text": "x 1"}}]});
        assert_eq!(got(&prompts, &prompt("p", 1, "x {{ a }}")), expected);
        let missing = prompts.get(&prompt("p", 1, "x {{ a }}"), BTreeMap::new());
        assert_eq!(missing, Err(RenderError::Missing(vec!["a".to_owned()])));
    }

    #[test]
    fn a_changed_template_is_compiled_anew_and_the_oldest_forgotten() {
        let prompts = Prompts::new(2);
        for version in 1..=5 {
            let text = format!("{version}");
            let shown = got(&prompts, &prompt("p", version, &text));
            assert_eq!(shown["messages"][0]["content"]["text"], text);
            assert!(prompts.names.borrow().len() <= 2);
        }
        assert_eq!(prompts.environment.borrow().templates().count(), 2);
    }
}
