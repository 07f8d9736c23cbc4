//! Bodies of requests to REST services: JSON, forms, and forms with files.

use base64::{Engine, engine::general_purpose::STANDARD};
use net::jsonrpc::{self, Field};
use serde::Deserialize;

use super::request::AsText;
use crate::catalog::rest_tool::{BodyFormat, breaks_line, encode};

/// Writes the arguments into a body; returns its content type and its bytes.
///
/// # Errors
///
/// A sentence that names the argument that cannot be written.
pub(super) fn write(
    format: BodyFormat,
    fields: &mut dyn Iterator<Item = &Field<'_>>,
) -> Result<(String, Vec<u8>), String> {
    match format {
        BodyFormat::Json => Ok(("application/json".to_owned(), json(fields))),
        BodyFormat::Form => Ok(("application/x-www-form-urlencoded".to_owned(), form(fields))),
        BodyFormat::Multipart => multipart(fields),
    }
}

/// Every value as the caller spelt it: a number keeps its digits.
fn json(fields: &mut dyn Iterator<Item = &Field<'_>>) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (index, field) in fields.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        jsonrpc::write_string(&mut out, &field.key);
        out.push(b':');
        out.extend_from_slice(field.value.as_bytes());
    }
    out.push(b'}');
    out
}

fn form(fields: &mut dyn Iterator<Item = &Field<'_>>) -> Vec<u8> {
    let mut out = String::new();
    for field in fields {
        for value in field.texts() {
            out.push_str(if out.is_empty() { "" } else { "&" });
            encode(&mut out, &field.key);
            out.push('=');
            encode(&mut out, &value);
        }
    }
    out.into_bytes()
}

/// A file among the arguments.
#[derive(Deserialize)]
struct File {
    /// Its bytes in base64.
    data: String,
    filename: String,
    mime_type: Option<String>,
}

fn multipart(fields: &mut dyn Iterator<Item = &Field<'_>>) -> Result<(String, Vec<u8>), String> {
    // Random, so that nobody can put the boundary into a value.
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let mut out = Vec::new();
    for field in fields {
        if let Some(file) = read_file(field.value) {
            file.write(&mut out, &boundary, &field.key)?;
            continue;
        }
        let kind = field.value.starts_with('{').then_some("application/json");
        for value in field.texts() {
            begin_part(&mut out, &boundary, &field.key, None, kind);
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((format!("multipart/form-data; boundary={boundary}"), out))
}

/// An object with `data` and `filename` is a file.
fn read_file(raw: &str) -> Option<File> {
    raw.starts_with('{').then(|| serde_json::from_str(raw).ok()).flatten()
}

impl File {
    fn write(&self, out: &mut Vec<u8>, boundary: &str, name: &str) -> Result<(), String> {
        let bytes = STANDARD.decode(&self.data);
        let bytes = bytes.map_err(|_| format!("the data of the file {name:?} is no base64"))?;
        let kind = self.mime_type.as_deref().unwrap_or("application/octet-stream");
        if breaks_line(kind) || !kind.is_ascii() {
            return Err(format!("the mime_type of the file {name:?} is none"));
        }
        begin_part(out, boundary, name, Some(&self.filename), Some(kind));
        out.extend_from_slice(&bytes);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

fn begin_part(
    out: &mut Vec<u8>,
    boundary: &str,
    name: &str,
    filename: Option<&str>,
    kind: Option<&str>,
) {
    let mut head = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"");
    head.push_str(&quotable(name));
    head.push('"');
    if let Some(filename) = filename {
        head.push_str(&format!("; filename=\"{}\"", quotable(filename)));
    }
    head.push_str("\r\n");
    if let Some(kind) = kind {
        head.push_str(&format!("content-type: {kind}\r\n"));
    }
    head.push_str("\r\n");
    out.extend_from_slice(head.as_bytes());
}

/// A name within quotes, as browsers write it (WHATWG HTML, multipart form data).
fn quotable(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A").replace('\0', "%00")
}
