//! The oracle for JSON-RPC envelopes: serde_json.

use net::error::{EnvelopeError, Fault, JsonError};
use net::jsonrpc::{
    Answer, EnvelopeLimits, Message, Param, fields, is_string, pick, unescape, write_string,
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

const LIMITS: EnvelopeLimits = EnvelopeLimits { depth_max: 20, id_size_max: 32 };

/// What is accepted is JSON to serde_json too and has the same members in the same places; what is
/// refused as no JSON is none to serde_json either.
pub fn jsonrpc_envelope(bytes: &[u8]) {
    match Message::parse(bytes, &LIMITS) {
        Ok(message) => check_message(&message),
        Err(error) => check_refusal(error, bytes),
    }
    match Answer::parse(bytes, &LIMITS) {
        Ok(answer) => {
            let members = members(answer.text());
            check_id(answer.id());
            let (result, error) = (unique(&members, "result"), unique(&members, "error"));
            let is_error = not_null(error).is_some();
            assert_eq!(if is_error { not_null(result) } else { result }, answer.result());
            assert_eq!(not_null(error), answer.error());
            assert_eq!(not_null(unique(&members, "params")), answer.params());
            let id = unique(&members, "id");
            assert_eq!(if answer.error().is_some() { not_null(id) } else { id }, answer.id());
        }
        Err(error) => check_refusal(error, bytes),
    }
    check_strings(bytes);
}

fn check_message(message: &Message<'_>) {
    let members = members(message.text());
    check_id(message.id());
    assert_eq!(unique(&members, "id"), message.id());
    assert_eq!(unique(&members, "result"), message.result());
    assert_eq!(unique(&members, "error"), message.error());
    assert_eq!(not_null(unique(&members, "params")), message.params());
    let method: Option<String> =
        unique(&members, "method").map(|raw| serde_json::from_str(raw).unwrap());
    assert_eq!(method.unwrap_or_default(), message.method());
    let version = unique(&members, "jsonrpc").unwrap();
    assert_eq!(serde_json::from_str::<String>(version).unwrap(), "2.0");
    let Some(params) = message.params() else { return };
    let members = self::members(params);
    for (param, key) in [
        (Param::Name, "name"),
        (Param::Uri, "uri"),
        (Param::Cursor, "cursor"),
        (Param::Arguments, "arguments"),
        (Param::Meta, "_meta"),
        (Param::ProtocolVersion, "protocolVersion"),
    ] {
        assert_eq!(unique(&members, key), message.param(param), "{key}");
    }
    let place = message.params_place().unwrap();
    assert_eq!(place.of_text(message.text()), params);
}

fn check_id(id: Option<&str>) {
    let Some(id) = id else { return };
    assert!(id.len() <= LIMITS.id_size_max);
    let is_integer = id.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    assert!(is_integer || serde_json::from_str::<String>(id).is_ok(), "{id}");
}

fn check_refusal(error: EnvelopeError, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes);
    if let Some(id) = error.id {
        check_id(Some(id.of_text(text.unwrap())));
    }
    let is_json = text.is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    match error.fault {
        Fault::NotUtf8 => assert!(text.is_err()),
        Fault::Json(JsonError::Syntax { at }) => {
            assert!(!is_json, "valid JSON is refused at {at}");
            assert!(at <= bytes.len());
        }
        // The scan ended before it saw all.
        Fault::Json(_) => {}
        _ => assert!(is_json, "{error:?} for what is no JSON"),
    }
}

/// Strings, members and what is written agree with serde_json on any text.
fn check_strings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut written = Vec::new();
    write_string(&mut written, text);
    assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
    let written = std::str::from_utf8(&written).unwrap();
    assert_eq!(unescape(written).unwrap(), text);
    let is_plain = text.bytes().all(|byte| byte >= b' ');
    if is_plain && is_string(text) && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        let text = text.trim_end_matches(' ');
        assert_eq!(unescape(text).ok().map(String::from), serde_json::from_str(text).ok());
    }
    let got: Result<Vec<_>, _> = fields(text).collect();
    let wanted = serde_json::from_str::<Members<'_>>(text);
    assert!(picks_alike(text, got.is_ok()));
    match (got, wanted) {
        (Ok(got), Ok(wanted)) => {
            assert_eq!(got.len(), wanted.0.len());
            for (got, (key, value)) in got.iter().zip(&wanted.0) {
                assert_eq!((&*got.key, got.value), (&**key, value.get()));
                assert_eq!(got.place.of_text(text), got.value);
            }
        }
        (Err(JsonError::TooDeep { .. }), _) => {}
        (got, wanted) => assert!(got.is_err() && wanted.is_err(), "{got:?} {wanted:?}"),
    }
}

fn picks_alike(text: &str, is_object: bool) -> bool {
    match pick(text, ["id", "a"]) {
        Ok(_) => is_object,
        Err(JsonError::Duplicate { .. }) => true,
        Err(_) => !is_object,
    }
}

/// All members of an object in order, as serde_json finds them.
#[derive(Debug)]
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

fn members(text: &str) -> Vec<(String, &str)> {
    let members: Members<'_> = serde_json::from_str(text).expect("what is accepted is JSON");
    members.0.into_iter().map(|(key, value)| (key, value.get())).collect()
}

/// The only member of this name.
fn unique<'a>(members: &[(String, &'a str)], key: &str) -> Option<&'a str> {
    let mut found = members.iter().filter(|member| member.0 == key).map(|member| member.1);
    let first = found.next();
    assert!(found.next().is_none(), "{key} is there twice");
    first
}

fn not_null(raw: Option<&str>) -> Option<&str> {
    raw.filter(|raw| *raw != "null")
}
