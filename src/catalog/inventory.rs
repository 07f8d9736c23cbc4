//! What an upstream says of itself and lists when it is asked.

use storage::record::Era;

/// Everything that one asking of an upstream brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The protocol era that it was found to speak.
    pub era: Era,
    /// The protocol revision agreed on, as `2025-11-25`.
    pub protocol_version: String,
    /// What it can do: JSON text, as it said it.
    pub capabilities: Option<String>,
    /// Its name and version: JSON text, as it said it.
    pub server_info: Option<String>,
    /// Its advice for the model.
    pub instructions: Option<String>,
    /// Its tools, in its own order.
    pub tools: Vec<Listed>,
    /// Its resources, in its own order.
    pub resources: Vec<Listed>,
    /// Its resource templates, in its own order; [`Listed::uri`] holds the template.
    pub templates: Vec<Listed>,
    /// Its prompts, in its own order.
    pub prompts: Vec<Listed>,
    /// Entries that were left out while reading, each with the reason.
    pub skipped: Vec<String>,
}

/// One tool, resource, template or prompt as an upstream listed it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// The whole object: JSON text, byte for byte.
    pub definition: String,
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// The URI of a resource, or a template.
    pub uri: Option<String>,
    /// The media type of a resource.
    pub mime_type: Option<String>,
    /// The size of a resource in bytes.
    pub size: Option<i64>,
}
