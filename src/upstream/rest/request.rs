//! A request to a REST service, made of a tool and the arguments of a call.

use std::borrow::Cow;

use net::{
    http1::encode as http,
    jsonrpc::{self, Field},
};

use super::body;
use crate::catalog::rest_tool::{RestTool, breaks_line, encode};

/// A request, but for the lines that its connection knows.
pub(super) struct Request {
    /// Path and query.
    pub(super) target: String,
    /// The lines of the head behind those of the connection.
    lines: Vec<u8>,
    body: Option<Vec<u8>>,
}

/// The arguments of a call, each with what was made of it.
struct Arguments<'a> {
    fields: Vec<Field<'a>>,
    is_used: Vec<bool>,
}

impl Request {
    /// Puts every argument in its place: where the URL names it, in the query or the head where the
    /// tool maps it there, and what is left in the body, or in the query for methods without one.
    ///
    /// # Errors
    ///
    /// A sentence that names the argument that is missing or cannot stand in its place.
    pub(super) fn new(tool: &RestTool, arguments: &str) -> Result<Request, String> {
        let mut arguments = Arguments::read(arguments)?;
        let mut target = String::with_capacity(128);
        let value_of = |name: &str| arguments.get(name).and_then(Field::text_in_place);
        let mut has_query = tool.url.write(&mut target, value_of)?;
        for name in tool.url.names() {
            arguments.use_up(name);
        }
        for (name, parameter) in &tool.query_names {
            if let Some(field) = arguments.use_up(name) {
                add_query(&mut target, &mut has_query, parameter, field);
            }
        }
        let mut lines = tool.lines.clone();
        for (name, header) in &tool.header_names {
            let Some(value) = arguments.use_up(name).and_then(Field::text_in_place) else {
                continue;
            };
            if breaks_line(&value) {
                return Err(format!("the argument {name:?} must have no control characters"));
            }
            http::header(&mut lines, header, value.as_bytes());
        }
        if !tool.has_accept {
            http::lines(&mut lines, "accept: */*\r\n");
        }
        let body = match tool.body {
            Some(format) => {
                let (kind, body) = body::write(format, &mut arguments.left())?;
                if !tool.has_content_type {
                    http::header(&mut lines, "content-type", kind.as_bytes());
                }
                Some(body)
            }
            None => {
                // What stands in the URL itself is not for the caller to say otherwise.
                let is_fixed =
                    |field: &&Field<'_>| tool.fixed_names.iter().any(|name| *name == field.key);
                for field in arguments.left().filter(|field| !is_fixed(field)) {
                    add_query(&mut target, &mut has_query, &field.key, field);
                }
                None
            }
        };
        if !tool.query_credentials.is_empty() {
            target.push(if has_query { '&' } else { '?' });
            target.push_str(&tool.query_credentials);
        }
        Ok(Request { target, lines, body })
    }

    /// Appends the request for `target`; `common` are the lines that the connection knows.
    pub(super) fn write(&self, out: &mut Vec<u8>, method: &str, target: &str, common: &[u8]) {
        http::begin_request(out, method, target);
        out.extend_from_slice(common);
        out.extend_from_slice(&self.lines);
        http::lines(out, "accept-encoding: identity\r\n");
        if let Some(body) = &self.body {
            http::content_length(out, body.len());
        }
        http::end(out);
        out.extend_from_slice(self.body.as_deref().unwrap_or_default());
    }
}

impl<'a> Arguments<'a> {
    fn read(raw: &'a str) -> Result<Arguments<'a>, String> {
        let fields: Result<Vec<Field<'a>>, _> = jsonrpc::fields(raw).collect();
        let fields = fields.map_err(|error| format!("the arguments: {error}"))?;
        for (index, field) in fields.iter().enumerate() {
            if fields[..index].iter().any(|other| other.key == field.key) {
                return Err(format!("the argument {:?} is there twice", field.key));
            }
        }
        Ok(Arguments { is_used: vec![false; fields.len()], fields })
    }

    fn get(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.key == name)
    }

    /// Takes an argument that is not left for the body then.
    fn use_up(&mut self, name: &str) -> Option<&Field<'a>> {
        let index = self.fields.iter().position(|field| field.key == name)?;
        self.is_used[index] = true;
        Some(&self.fields[index])
    }

    fn left(&self) -> impl Iterator<Item = &Field<'a>> {
        let with_use = self.fields.iter().zip(&self.is_used);
        with_use.filter(|(_, is_used)| !**is_used).map(|(field, _)| field)
    }
}

/// An argument as text.
pub(super) trait AsText {
    /// The text where there is room for one: the members of a list are joined by commas. `None` for
    /// null.
    fn text_in_place(&self) -> Option<Cow<'_, str>>;

    /// Every text where one may stand several times: a list is one text for each member.
    fn texts(&self) -> Vec<Cow<'_, str>>;
}

impl AsText for Field<'_> {
    fn text_in_place(&self) -> Option<Cow<'_, str>> {
        match self.value.starts_with('[') {
            true => Some(self.texts().join(",").into()),
            false => text(self.value),
        }
    }

    fn texts(&self) -> Vec<Cow<'_, str>> {
        let list = self.value.starts_with('[');
        let members: Option<Vec<&serde_json::value::RawValue>> =
            list.then(|| serde_json::from_str(self.value).ok()).flatten();
        match members {
            Some(members) => members.into_iter().filter_map(|raw| text(raw.get())).collect(),
            None => text(self.value).into_iter().collect(),
        }
    }
}

/// What a raw value says: a string its text, null nothing, anything else its JSON. Half of a
/// surrogate pair is no character and stays as it was spelt.
fn text(raw: &str) -> Option<Cow<'_, str>> {
    match raw {
        "null" => None,
        raw if jsonrpc::is_string(raw) => {
            Some(jsonrpc::unescape(raw).unwrap_or(Cow::Borrowed(raw)))
        }
        raw => Some(Cow::Borrowed(raw)),
    }
}

fn add_query(target: &mut String, has_query: &mut bool, name: &str, field: &Field<'_>) {
    for value in field.texts() {
        target.push(if std::mem::replace(has_query, true) { '&' } else { '?' });
        encode(target, name);
        target.push('=');
        encode(target, &value);
    }
}
