//! What tools, resources and prompts have in common when they are compared.

use std::collections::HashSet;

use storage::Mutation;
use storage::record::{Audit, Gateway, Ownership, Prompt, Resource, Tool, new_id};

use super::Names;
use crate::catalog::inventory::Listed;
use crate::catalog::naming;

/// Something that an upstream lists.
pub trait Offering: Clone + PartialEq {
    /// What it is called in sentences.
    const WORD: &'static str;

    /// The id.
    fn id(&self) -> &str;
    /// What the upstream calls it.
    fn key(&self) -> &str;
    /// What the upstream calls an entry.
    fn key_of(listed: &Listed) -> &str;
    /// The name that clients use, if that must be unique over all upstreams.
    fn name(&self) -> Option<&str>;
    /// The names that others have.
    fn taken<'a>(names: &'a Names<'_>) -> &'a HashSet<&'a str>;
    /// A new one, of this gateway.
    fn fresh(gateway: &Gateway, audit: Audit) -> Self;
    /// Takes over what the upstream says of it.
    fn absorb(&mut self, listed: &Listed, position: i64, is_template: bool);
    /// Takes over the name that the gateway decides.
    fn follow(&mut self, gateway: &Gateway, separator: &str) -> Result<(), String>;
    /// Whose it is.
    fn ownership(&mut self) -> &mut Ownership;
    /// Its audit fields.
    fn audit(&mut self) -> &mut Audit;
    /// The mutation that writes it.
    fn put(self) -> Mutation;
    /// The mutation that deletes it.
    fn delete(id: String) -> Mutation;
}

fn of_gateway(gateway: &Gateway, audit: Audit) -> (String, Option<String>, Ownership, Audit) {
    let audit = Audit { federation_source: Some(gateway.name.clone()), ..audit };
    (new_id(), Some(gateway.id.clone()), gateway.ownership.clone(), audit)
}

impl Offering for Tool {
    const WORD: &'static str = "tool";

    fn id(&self) -> &str {
        &self.id
    }

    fn key(&self) -> &str {
        &self.original_name
    }

    fn key_of(listed: &Listed) -> &str {
        &listed.name
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn taken<'a>(names: &'a Names<'_>) -> &'a HashSet<&'a str> {
        &names.tools
    }

    fn fresh(gateway: &Gateway, audit: Audit) -> Tool {
        let (id, gateway_id, ownership, audit) = of_gateway(gateway, audit);
        Tool { id, gateway_id, ownership, audit, ..Tool::default() }
    }

    fn absorb(&mut self, listed: &Listed, position: i64, _: bool) {
        self.original_name.clone_from(&listed.name);
        self.title.clone_from(&listed.title);
        self.original_description.clone_from(&listed.description);
        self.definition.clone_from(&listed.definition);
        self.position = position;
        self.reachable = true;
        let technical = self.custom_name.as_ref().unwrap_or(&listed.name);
        self.display_name.get_or_insert_with(|| naming::display_name(technical));
    }

    fn follow(&mut self, gateway: &Gateway, separator: &str) -> Result<(), String> {
        let own = self.custom_name.as_ref().unwrap_or(&self.original_name);
        self.custom_name_slug = naming::slug(own, separator);
        self.name = naming::offered_name(&gateway.slug, separator, &self.custom_name_slug)?;
        Ok(())
    }

    fn ownership(&mut self) -> &mut Ownership {
        &mut self.ownership
    }

    fn audit(&mut self) -> &mut Audit {
        &mut self.audit
    }

    fn put(self) -> Mutation {
        Mutation::PutTool(Box::new(self))
    }

    fn delete(id: String) -> Mutation {
        Mutation::DeleteTool(id)
    }
}

impl Offering for Prompt {
    const WORD: &'static str = "prompt";

    fn id(&self) -> &str {
        &self.id
    }

    fn key(&self) -> &str {
        &self.original_name
    }

    fn key_of(listed: &Listed) -> &str {
        &listed.name
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn taken<'a>(names: &'a Names<'_>) -> &'a HashSet<&'a str> {
        &names.prompts
    }

    fn fresh(gateway: &Gateway, audit: Audit) -> Prompt {
        let (id, gateway_id, ownership, audit) = of_gateway(gateway, audit);
        Prompt { id, gateway_id, ownership, audit, ..Prompt::default() }
    }

    fn absorb(&mut self, listed: &Listed, position: i64, _: bool) {
        self.original_name.clone_from(&listed.name);
        self.title.clone_from(&listed.title);
        self.description.clone_from(&listed.description);
        self.definition.clone_from(&listed.definition);
        self.position = position;
        let technical = self.custom_name.as_ref().unwrap_or(&listed.name);
        self.display_name.get_or_insert_with(|| naming::display_name(technical));
    }

    fn follow(&mut self, gateway: &Gateway, separator: &str) -> Result<(), String> {
        let own = self.custom_name.as_ref().unwrap_or(&self.original_name);
        self.custom_name_slug = naming::slug(own, separator);
        self.name = naming::offered_name(&gateway.slug, separator, &self.custom_name_slug)?;
        Ok(())
    }

    fn ownership(&mut self) -> &mut Ownership {
        &mut self.ownership
    }

    fn audit(&mut self) -> &mut Audit {
        &mut self.audit
    }

    fn put(self) -> Mutation {
        Mutation::PutPrompt(Box::new(self))
    }

    fn delete(id: String) -> Mutation {
        Mutation::DeletePrompt(id)
    }
}

impl Offering for Resource {
    const WORD: &'static str = "resource";

    fn id(&self) -> &str {
        &self.id
    }

    fn key(&self) -> &str {
        &self.uri
    }

    fn key_of(listed: &Listed) -> &str {
        listed.uri.as_deref().unwrap_or_default()
    }

    fn name(&self) -> Option<&str> {
        None
    }

    fn taken<'a>(names: &'a Names<'_>) -> &'a HashSet<&'a str> {
        &names.tools
    }

    fn fresh(gateway: &Gateway, audit: Audit) -> Resource {
        let (id, gateway_id, ownership, audit) = of_gateway(gateway, audit);
        Resource { id, gateway_id, ownership, audit, ..Resource::default() }
    }

    fn absorb(&mut self, listed: &Listed, position: i64, is_template: bool) {
        let uri = Self::key_of(listed).to_owned();
        self.uri_template = is_template.then(|| uri.clone());
        self.uri = uri;
        self.name.clone_from(&listed.name);
        self.title.clone_from(&listed.title);
        self.description.clone_from(&listed.description);
        self.mime_type.clone_from(&listed.mime_type);
        self.size = listed.size;
        self.definition.clone_from(&listed.definition);
        self.position = position;
    }

    fn follow(&mut self, _: &Gateway, _: &str) -> Result<(), String> {
        if self.uri.is_empty() {
            return Err("it has no URI".to_owned());
        }
        Ok(())
    }

    fn ownership(&mut self) -> &mut Ownership {
        &mut self.ownership
    }

    fn audit(&mut self) -> &mut Audit {
        &mut self.audit
    }

    fn put(self) -> Mutation {
        Mutation::PutResource(Box::new(self))
    }

    fn delete(id: String) -> Mutation {
        Mutation::DeleteResource(id)
    }
}
