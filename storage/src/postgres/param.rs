//! Parameters of statements, as PostgreSQL takes them.

use std::borrow::Cow;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::table::Value;

/// A parameter.
pub(super) enum Param<'a> {
    Value(&'a Value<'a>),
    Text(&'a str),
    Number(i64),
    Texts(Vec<&'a str>),
    /// Texts of which some may be missing.
    Cells(Vec<Option<&'a str>>),
    Numbers(Vec<i64>),
}

impl Param<'_> {
    /// The type that the server is told, where it cannot be asked first.
    pub fn type_of(&self) -> Type {
        match self {
            Param::Value(Value::Null) => Type::UNKNOWN,
            Param::Value(Value::Integer(_)) | Param::Number(_) => Type::INT8,
            Param::Value(Value::Boolean(_)) => Type::BOOL,
            Param::Value(Value::Text(_)) | Param::Text(_) => Type::TEXT,
            Param::Texts(_) | Param::Cells(_) => Type::TEXT_ARRAY,
            Param::Numbers(_) => Type::INT8_ARRAY,
        }
    }
}

/// Says the kind only: the driver logs parameters, and a log is no place for what is stored.
impl std::fmt::Debug for Param<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.type_of())
    }
}

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Param::Value(Value::Null) => Ok(IsNull::Yes),
            Param::Value(Value::Integer(number)) => number.to_sql(kind, out),
            Param::Value(Value::Boolean(flag)) => flag.to_sql(kind, out),
            Param::Value(Value::Text(text)) => storable(text).to_sql(kind, out),
            Param::Text(text) => storable(text).to_sql(kind, out),
            Param::Number(number) => number.to_sql(kind, out),
            Param::Texts(texts) => texts.to_sql(kind, out),
            Param::Cells(cells) => {
                let cells: Vec<_> = cells.iter().map(|cell| cell.map(storable)).collect();
                cells.to_sql(kind, out)
            }
            Param::Numbers(numbers) => numbers.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::BOOL, Type::TEXT, Type::TEXT_ARRAY, Type::INT8_ARRAY, Type::UNKNOWN]
            .contains(kind)
    }

    to_sql_checked!();
}

/// PostgreSQL's text cannot hold the character U+0000, which an upstream may send in a description;
/// refusing all that it offers for that would be worse than showing a replacement.
fn storable(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}").into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_a_zero_character_is_stored_with_a_replacement() {
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
        assert_eq!(storable("ab"), "ab");
    }

    #[test]
    fn a_parameter_that_is_logged_shows_its_kind_only() {
        assert_eq!(format!("{:?}", Param::Text("hunter2")), "text");
    }
}
