//! OpenAPI documents: from a description of a REST API to the tools that call it.
//!
//! Pure conversion: bytes in, drafts of tools out, in the shape in which `POST /tools` takes them. It
//! fetches nothing and stores nothing. What cannot become a tool is refused with the reason, one
//! operation at a time; what can be called without some part of it says in a note what was left out.

mod arguments;
mod body;
mod dialect;
mod document;
mod filter;
mod input;
mod naming;
mod operation;
mod output;
mod parameters;
mod security;
mod servers;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use document::Document;
pub use operation::find_schemas;

use crate::limits;

/// What decides how a document becomes tools.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address of the API, in the place of the `servers` of the document.
    pub base_url: Option<String>,
    /// Where the document came from: what relative addresses in it are relative to.
    pub document_url: Option<String>,
    /// What the document is known by when it is imported again; by default the title of the API.
    pub source: Option<String>,
    /// Only operations with one of these tags; empty for all.
    pub tags: Vec<String>,
    /// Only operations whose path begins with one of these, or fits it if it has a `*`; empty for
    /// all.
    pub paths: Vec<String>,
    /// Only operations with one of these methods; empty for all.
    pub methods: Vec<String>,
    /// What the name of every tool begins with.
    pub prefix: String,
    /// The secrets of the document's security schemes, by their names: a token, a key, or user and
    /// password with a colon between them.
    pub credentials: BTreeMap<String, String>,
    /// Fields of `POST /tools` that every tool gets whose operation asks for a proof of identity
    /// that `credentials` does not have (`auth_type` and what goes with it).
    pub auth: Map<String, Value>,
    /// Whether tools get the schema of their answers.
    pub output_schemas: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            base_url: None,
            document_url: None,
            source: None,
            tags: Vec::new(),
            paths: Vec::new(),
            methods: Vec::new(),
            prefix: String::new(),
            credentials: BTreeMap::new(),
            auth: Map::new(),
            output_schemas: true,
        }
    }
}

/// What a document became.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// What it is known by when it is imported again.
    pub source: String,
    /// The tools, in the order of the document.
    pub tools: Vec<Draft>,
    /// The operations that cannot be tools.
    pub refused: Vec<Refused>,
    /// The operations that the filters left out.
    pub filtered: Vec<String>,
}

/// A tool that is not yet one.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The operation that it calls: `GET /pets/{id}`. Unique in the document.
    pub operation: String,
    /// The fields of `POST /tools`. May hold secrets.
    pub fields: Map<String, Value>,
    /// What was left out, and what has to be given before it can be called.
    pub notes: Vec<String>,
}

/// An operation that cannot be a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The operation: `GET /pets/{id}`.
    pub operation: String,
    /// Why.
    pub reason: String,
}

/// Converts a document.
///
/// # Errors
///
/// A sentence about the document as a whole: it has too many operations, or no address is known for
/// its API.
pub fn convert(document: &Document, options: &Options) -> Result<Conversion, String> {
    let operations = operation::list(document);
    if operations.len() > limits::OPERATION_COUNT_MAX {
        let max = limits::OPERATION_COUNT_MAX;
        return Err(format!(
            "the document has {} operations; at most {max} are read",
            operations.len()
        ));
    }
    let filter = filter::Filter::new(options);
    let source = options.source.clone().unwrap_or_else(|| naming::source(document.title()));
    let mut names = naming::Names::new(&options.prefix);
    let mut conversion =
        Conversion { source, tools: Vec::new(), refused: Vec::new(), filtered: Vec::new() };
    for operation in operations {
        if !filter.admits(&operation) {
            conversion.filtered.push(operation.key());
            continue;
        }
        match operation::convert(document, &operation, options, &mut names) {
            Ok(draft) => conversion.tools.push(draft),
            Err(reason) => {
                conversion.refused.push(Refused { operation: operation.key(), reason });
            }
        }
    }
    Ok(conversion)
}

#[cfg(test)]
mod tests;
