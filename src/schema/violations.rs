//! What is wrong with a value, in words that a model can act on: the place, the rule, the mend.

use std::fmt;

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::Value;

use crate::limits;

/// Characters of one sentence about a value.
const SENTENCE_LENGTH_MAX: usize = 300;

/// Bytes of a value that is still repeated to whoever sent it.
const VALUE_SIZE_MAX: usize = 80;

/// Everything that is wrong with a value, as far as it is worth listing; at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations {
    sentences: Vec<String>,
    /// There was more.
    cut: bool,
}

impl Violations {
    /// Lists what is wrong with `value`; `None` if nothing is.
    pub fn find(validator: &Validator, value: &Value) -> Option<Violations> {
        let mut errors = validator.iter_errors(value);
        let listed = errors.by_ref().take(limits::VIOLATION_COUNT_MAX);
        let sentences: Vec<String> = listed.map(|error| sentence(&error)).collect();
        let cut = errors.next().is_some();
        (!sentences.is_empty()).then_some(Violations { sentences, cut })
    }

    /// One thing that is wrong with the value as a whole.
    pub fn of_whole(sentence: &str) -> Violations {
        Violations { sentences: vec![sentence.to_owned()], cut: false }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentences.join("; "))?;
        if self.cut {
            out.write_str("; and more")?;
        }
        Ok(())
    }
}

/// `/limit: "ten" is not of type "integer" (type)`.
fn sentence(error: &ValidationError<'_>) -> String {
    let place = match error.instance_path().as_str() {
        "" => "/",
        place => place,
    };
    let mut words = format!("{place}: {}", message(error));
    if let Some(nearest) = nearest(error) {
        let place = nearest.instance_path().as_str();
        words.push_str(&format!("; the nearest fails at {place}: {}", message(nearest)));
    }
    format!("{} ({})", cut(&words), error.kind().keyword())
}

/// The sentence of the library, without a value that is too long to be repeated.
fn message(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Constant { .. }
        | ValidationErrorKind::Not { .. }
        | ValidationErrorKind::PropertyNames { .. } => error.masked().to_string(),
        _ if is_long(error.instance()) => error.masked_with("the value").to_string(),
        _ => error.to_string(),
    }
}

/// Whether a value is long as text. Objects and lists are, for all that they tell.
fn is_long(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() > VALUE_SIZE_MAX,
        Value::Array(_) | Value::Object(_) => true,
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Of several schemas none of which fits, the first complaint of the one that came nearest: that
/// which failed deepest in the value, then that with the fewest complaints.
fn nearest<'e>(error: &'e ValidationError<'_>) -> Option<&'e ValidationError<'static>> {
    let (ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }) =
        error.kind()
    else {
        return None;
    };
    let depth = |error: &ValidationError<'_>| error.instance_path().as_str().matches('/').count();
    let own = depth(error);
    let branches = context.iter().filter_map(|errors| Some((errors.first()?, errors.len())));
    let deeper = branches.filter(|(first, _)| depth(first) > own || is_required(first));
    deeper.max_by_key(|(first, count)| (depth(first), usize::MAX - count)).map(|(first, _)| first)
}

fn is_required(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Required { .. })
}

/// Cuts a text to what a sentence may have.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(SENTENCE_LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
