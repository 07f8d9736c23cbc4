//! The members of any raw object: `_meta`, results, errors.

use std::borrow::Cow;

use crate::Span;
use crate::error::JsonError;
use crate::jsonrpc::scan::{DEPTH_CAP, Scanner, Stop};

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The key's text.
    pub key: Cow<'a, str>,
    /// The raw value.
    pub value: &'a str,
    /// Where the value lies in the object that was given.
    pub place: Span,
}

/// The members of an object, in order.
#[derive(Debug)]
pub struct FieldIter<'a> {
    text: &'a str,
    scanner: Scanner<'a>,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    First,
    Next,
    Done,
}

/// Returns the members of a raw object, one after the other, as strictly checked as an envelope.
///
/// Keys that come twice are given twice: see [`pick`] for those that must not.
///
/// # Errors
///
/// An item is an error where the text is no object, or the member is malformed; it is the last.
pub fn fields(raw_object: &str) -> FieldIter<'_> {
    FieldIter { text: raw_object, scanner: Scanner::new(raw_object), step: Step::First }
}

impl<'a> FieldIter<'a> {
    fn advance(&mut self) -> Result<Option<Field<'a>>, Stop> {
        let is_more = match self.step {
            Step::First => {
                self.scanner.space();
                self.scanner.open()?
            }
            Step::Next => self.scanner.next_member()?,
            Step::Done => return Ok(None),
        };
        if !is_more {
            self.step = Step::Done;
            self.scanner.finish()?;
            return Ok(None);
        }
        self.step = Step::Next;
        let key = self.scanner.key()?;
        let key = if key.is_escaped {
            Cow::Owned(self.scanner.named(key, str::to_owned)?)
        } else {
            Cow::Borrowed(key.raw)
        };
        let place = self.scanner.value(DEPTH_CAP)?;
        Ok(Some(Field { key, value: place.of_text(self.text), place }))
    }
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = Result<Field<'a>, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.advance();
        if field.is_err() {
            self.step = Step::Done;
        }
        field.map_err(|Stop| self.scanner.error()).transpose()
    }
}

/// Returns the places of the values of these keys in a raw object, in one pass.
///
/// # Errors
///
/// [`JsonError::Duplicate`] if one of them is there twice; else as [`fields`].
pub fn pick<const N: usize>(
    raw_object: &str,
    keys: [&'static str; N],
) -> Result<[Option<Span>; N], JsonError> {
    let mut found = [None; N];
    let mut scanner = Scanner::new(raw_object);
    scanner.space();
    let read = scanner.members(|scanner, key| {
        let index = scanner.named(key, |name| keys.iter().position(|key| *key == name))?;
        let place = scanner.value(DEPTH_CAP)?;
        match index.and_then(|index| found[index].replace(place).and(Some(keys[index]))) {
            None => Ok(()),
            Some(key) => Err(scanner.refuse(JsonError::Duplicate { key })),
        }
    });
    match read.and_then(|()| scanner.finish()) {
        Ok(()) => Ok(found),
        Err(Stop) => Err(scanner.error()),
    }
}

/// Returns the places of the items of a raw array, as strictly checked as an envelope.
///
/// # Errors
///
/// [`JsonError::Syntax`] where the text is no array, or an item is malformed.
pub fn items(raw_array: &str) -> Result<Vec<Span>, JsonError> {
    let mut places = Vec::new();
    let mut scanner = Scanner::new(raw_array);
    scanner.space();
    let read = scanner.items(|scanner| {
        places.push(scanner.value(DEPTH_CAP)?);
        Ok(())
    });
    match read.and_then(|()| scanner.finish()) {
        Ok(()) => Ok(places),
        Err(Stop) => Err(scanner.error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_members_in_order_with_their_places() {
        let text = " { \"a\" : [1, {\"b\": 2}] ,\"\\u0062\":\"x\" , \"\" : null } ";
        let got: Vec<_> = fields(text).map(|field| field.unwrap()).collect();
        let pairs: Vec<_> = got.iter().map(|field| (&*field.key, field.value)).collect();
        assert_eq!(pairs, [("a", "[1, {\"b\": 2}]"), ("b", "\"x\""), ("", "null")]);
        assert!(got.iter().all(|field| field.place.of_text(text) == field.value));
        assert_eq!(fields("{}").count(), 0);
    }

    #[test]
    fn an_error_is_the_last_item() {
        for text in
            ["", "[]", "{", "{\"a\":1", "{\"a\":1,}", "{\"a\":1}x", "{\"a\":1 \"b\":2}", "{a:1}"]
        {
            let items: Vec<_> = fields(text).collect();
            assert!(items.last().unwrap().is_err(), "{text}");
            assert!(items[..items.len() - 1].iter().all(Result::is_ok), "{text}");
        }
    }

    #[test]
    fn picks_keys_and_refuses_them_twice() {
        let text = "{\"x\":0,\"code\":-32601,\"message\":\"no\"}";
        let found = pick(text, ["code", "message", "data"]).unwrap();
        let found = found.map(|place| place.map(|place| place.of_text(text)));
        assert_eq!(found, [Some("-32601"), Some("\"no\""), None]);
        let twice = "{\"code\":1,\"c\\u006fde\":2}";
        assert_eq!(pick(twice, ["code"]), Err(JsonError::Duplicate { key: "code" }));
        assert!(pick(twice, ["x"]).is_ok());
        assert!(pick("{\"a\":1}]", ["a"]).is_err());
    }

    #[test]
    fn gives_the_items_of_an_array() {
        let text = " [ 1 , {\"a\":[2]} ,\"x,]\",[ ] ] ";
        let got: Vec<_> = items(text).unwrap().iter().map(|place| place.of_text(text)).collect();
        assert_eq!(got, ["1", "{\"a\":[2]}", "\"x,]\"", "[ ]"]);
        assert_eq!(items("[ ]").unwrap(), []);
        for text in ["", "{}", "[", "[1", "[1,]", "[1]x", "[1 2]", "[,1]", "[a]"] {
            assert!(items(text).is_err(), "{text}");
        }
    }
}
