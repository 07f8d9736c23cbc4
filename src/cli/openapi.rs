//! `ringway openapi`: the document of the REST API, without a gateway that runs.

use std::io::Write;

use crate::admin;

/// Writes the document, as `GET /openapi.json` gives it.
///
/// # Errors
///
/// What `out` answers.
pub fn run(out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{}", admin::openapi_document())
}
