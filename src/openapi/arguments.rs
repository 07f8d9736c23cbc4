//! The arguments of a tool, and under which names they travel.

use std::collections::HashSet;

use serde_json::Value;

/// Where an argument goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Into the body, under its own name.
    Body,
    /// Into the path.
    Path,
    /// Into the query.
    Query,
    /// Into a header.
    Header,
}

/// An argument.
#[derive(Debug)]
pub struct Argument {
    /// The name by which the model gives it.
    pub name: String,
    /// The name by which it travels.
    pub wire_name: String,
    /// Where it goes.
    pub place: Place,
    /// What it may be: translated.
    pub schema: Value,
    /// Whether it must be given.
    pub is_required: bool,
}

/// Arguments, each with a name of its own.
///
/// Two of one name are told apart by where they go: what comes later gets `_path`, `_query` or
/// `_header` behind its name. The body comes first, since only its names cannot be changed on the
/// way; then path, query and header in this order.
#[derive(Default)]
pub struct Arguments {
    /// In the order in which they were put.
    pub list: Vec<Argument>,
    names: HashSet<String>,
}

impl Arguments {
    /// Adds an argument that travels as `wire_name`; returns the name that it got. `wish` is the
    /// name it gets if it is free.
    pub fn put(
        &mut self,
        wish: &str,
        wire_name: &str,
        place: Place,
        schema: Value,
        is_required: bool,
    ) -> String {
        let suffix = match place {
            Place::Body => "_body",
            Place::Path => "_path",
            Place::Query => "_query",
            Place::Header => "_header",
        };
        let mut name = wish.to_owned();
        while !self.names.insert(name.clone()) {
            name.push_str(suffix);
        }
        let wire_name = wire_name.to_owned();
        self.list.push(Argument { name: name.clone(), wire_name, place, schema, is_required });
        name
    }
}
