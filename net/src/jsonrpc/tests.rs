//! Envelopes: what they are, what is refused and how, and that serde_json agrees.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::error::{EnvelopeError, Fault, JsonError};

fn message(text: &str) -> Result<Message<'_>, EnvelopeError> {
    Message::parse(text.as_bytes(), &EnvelopeLimits::default())
}

/// One line of text: kind, id, method and parameters, or code, sentence and id.
fn describe(text: &str) -> String {
    match message(text) {
        Ok(message) => format!(
            "{:?} {} {} {}",
            message.kind(),
            message.id().unwrap_or("-"),
            message.method(),
            message.params().unwrap_or("-"),
        ),
        Err(error) => refusal(text, error),
    }
}

fn describe_answer(text: &str) -> String {
    match Answer::parse(text.as_bytes(), &EnvelopeLimits::default()) {
        Ok(answer) => format!(
            "{:?} {} {}{}{}{}",
            answer.kind(),
            answer.id().unwrap_or("-"),
            answer.method(),
            answer.params().unwrap_or_default(),
            answer.result().unwrap_or_default(),
            answer.error().unwrap_or_default(),
        ),
        Err(error) => refusal(text, error),
    }
}

fn refusal(text: &str, error: EnvelopeError) -> String {
    let id = error.id.map_or("null", |id| id.of_text(text));
    format!("{} {error} {id}", error.code())
}

#[test]
fn a_message_is_a_request_a_notification_or_a_response() {
    for (text, wanted) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":""}}"#,
            r#"Request 1 tools/list {"cursor":""}"#,
        ),
        (r#"{"method":"ping","id":"a\"b","jsonrpc":"2.0"}"#, r#"Request "a\"b" ping -"#),
        (r#"{"jsonrpc":"2.0","method":"x","id":-7}"#, "Request -7 x -"),
        (r#"{"jsonrpc":"2.0","method":"x","id":0,"params":null}"#, "Request 0 x -"),
        (r#"{"jsonrpc":"2.0","method":""}"#, "Notification -  -"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "Response 1  -"),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, "Response 1  -"),
        (" \r\n\t{ \"jsonrpc\" : \"2.0\" , \"method\" : \"x\" } \n", "Notification - x -"),
        (r#"{"jsonrpc":"2.0","method":"x","more":[{"id":2}]}"#, "Notification - x -"),
    ] {
        assert_eq!(describe(text), wanted, "{text}");
    }
}

#[test]
fn every_way_to_be_no_request_has_its_code_and_keeps_the_id() {
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"x"}}"#, "i".repeat(255));
    for (text, wanted) in [
        ("[]", "-32600 Batches of messages are not taken here. null"),
        (r#"[{"jsonrpc":"2.0"}]"#, "-32600 Batches of messages are not taken here. null"),
        ("7", "-32600 A message must be an object. null"),
        ("\"x\"", "-32600 A message must be an object. null"),
        ("{}", "-32600 \"jsonrpc\" must be \"2.0\". null"),
        (r#"{"id":5,"method":"x"}"#, "-32600 \"jsonrpc\" must be \"2.0\". 5"),
        (r#"{"id":5,"jsonrpc":"1.0"}"#, "-32600 \"jsonrpc\" must be \"2.0\". 5"),
        (r#"{"id":5,"jsonrpc":2.0}"#, "-32600 \"jsonrpc\" must be \"2.0\". 5"),
        (r#"{"jsonrpc":"2.0","id":5}"#, "-32600 \"method\" must be a string. 5"),
        (r#"{"jsonrpc":"2.0","id":5,"method":7}"#, "-32600 \"method\" must be a string. 5"),
        (r#"{"jsonrpc":"2.0","id":5,"method":null}"#, "-32600 \"method\" must be a string. 5"),
        (r#"{"jsonrpc":"2.0","id":5,"method":"\ud800"}"#, "-32600 \"method\" must be a string. 5"),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#,
            "-32600 \"id\" must be a string or an integer. null",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.0,"method":"x"}"#,
            "-32600 \"id\" must be a string or an integer. null",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1e3,"method":"x"}"#,
            "-32600 \"id\" must be a string or an integer. null",
        ),
        (
            r#"{"jsonrpc":"2.0","id":true,"method":"x"}"#,
            "-32600 \"id\" must be a string or an integer. null",
        ),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#,
            "-32600 \"id\" must be a string or an integer. null",
        ),
        (
            r#"{"jsonrpc":"2.0","id":"\udead","method":"x"}"#,
            "-32600 \"id\" must be a string or an integer. null",
        ),
        (r#"{"jsonrpc":"2.0","result":{}}"#, "-32600 \"id\" must be a string or an integer. null"),
        (&long, "-32600 \"id\" is longer than 256 bytes. null"),
        (
            r#"{"jsonrpc":"2.0","id":5,"method":"x","params":[]}"#,
            "-32602 \"params\" must be an object. 5",
        ),
        (
            r#"{"jsonrpc":"2.0","id":5,"method":"x","params":0}"#,
            "-32602 \"params\" must be an object. 5",
        ),
        (
            r#"{"jsonrpc":"2.0","id":5,"method":"x","result":{}}"#,
            "-32600 A message is either a request or a response. 5",
        ),
        (
            r#"{"jsonrpc":"2.0","id":5,"result":{},"error":{}}"#,
            "-32600 A message is either a request or a response. 5",
        ),
        (r#"{"jsonrpc":"2.0","method":"x"}]"#, "-32700 The message is not JSON (byte 30). null"),
        ("", "-32700 The message is not JSON (byte 0). null"),
        ("[1", "-32700 The message is not JSON (byte 2). null"),
        ("nul", "-32700 The message is not JSON (byte 0). null"),
    ] {
        assert_eq!(describe(text), wanted, "{text}");
    }
    let bytes = b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}";
    let error = Message::parse(bytes, &EnvelopeLimits::default()).unwrap_err();
    assert_eq!((error.fault, error.code()), (Fault::NotUtf8, -32700));
}

#[test]
fn keys_that_decide_are_refused_twice_however_they_are_written() {
    for (text, key) in [
        (r#"{"jsonrpc":"2.0","jsonrpc":"2.0","method":"x"}"#, "jsonrpc"),
        (r#"{"jsonrpc":"2.0","method":"x","id":1,"id":1}"#, "id"),
        (r#"{"jsonrpc":"2.0","method":"x","\u006dethod":"y"}"#, "method"),
        (r#"{"jsonrpc":"2.0","method":"x","params":{},"params":null}"#, "params"),
        (r#"{"jsonrpc":"2.0","method":"x","params":{"name":1,"name":1}}"#, "name"),
        (r#"{"jsonrpc":"2.0","method":"x","params":{"_meta":{},"\u005fmeta":{}}}"#, "_meta"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#, "result"),
    ] {
        let error = message(text).unwrap_err();
        assert_eq!(error.fault, Fault::Json(JsonError::Duplicate { key }), "{text}");
        assert_eq!(error.code(), -32600);
    }
    assert!(
        message(r#"{"jsonrpc":"2.0","method":"x","y":1,"y":2,"params":{"z":1,"z":2}}"#).is_ok()
    );
}

#[test]
fn an_escaped_key_is_the_key_that_it_spells() {
    let text =
        r#"{"json\u0072pc":"2.\u0030","\u006dethod":"tools\/call","params":{"n\u0061me":"e"}}"#;
    let message = message(text).unwrap();
    assert_eq!(message.method(), "tools/call");
    assert_eq!(message.param(Param::Name), Some("\"e\""));
    let lone = r#"{"jsonrpc":"2.0","method":"x","\ud800":1}"#;
    assert_eq!(describe(lone), "-32700 A string has half of a surrogate pair. null");
}

#[test]
fn places_lead_back_into_the_message() {
    let text = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"a":1}}}"#;
    let message = message(text).unwrap();
    let name = message.param_place(Param::Name).unwrap();
    let (before, after) = (&text[..name.start as usize], &text[name.end as usize..]);
    let renamed = format!("{before}\"other\"{after}");
    assert!(renamed.contains(r#"{"name":"other","arguments":{"a":1}}"#));
    assert_eq!(message.id_place().unwrap().of_text(text), "7");
    assert_eq!(message.method_place().unwrap().of_text(text), "\"tools/call\"");
    assert_eq!(message.params_place().unwrap().of_text(text), message.params().unwrap());
    assert_eq!(message.named().get(Param::Arguments).unwrap().of_text(text), "{\"a\":1}");
    assert_eq!(message.param(Param::Uri), None);
}

#[test]
fn an_answer_is_a_result_an_error_a_request_or_a_notification() {
    for (text, wanted) in [
        (r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#, r#"Result 1 {"tools":[]}"#),
        (r#"{"result":null,"id":"x","jsonrpc":"2.0"}"#, r#"Result "x" null"#),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, r#"Error 1 {"code":1}"#),
        (r#"{"error":{"code":-32000},"id":null,"jsonrpc":"2.0"}"#, r#"Error - {"code":-32000}"#),
        (r#"{"error":{"code":-32000},"jsonrpc":"2.0"}"#, r#"Error - {"code":-32000}"#),
        (
            r#"{"jsonrpc":"2.0","id":0,"method":"roots/list","params":{"name":1}}"#,
            r#"Request 0 roots/list{"name":1}"#,
        ),
        (r#"{"jsonrpc":"2.0","method":"notifications/x"}"#, "Notification - notifications/x"),
        (r#"{"jsonrpc":"2.0","result":{}}"#, "-32600 \"id\" must be a string or an integer. null"),
        (
            r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
            "-32600 \"id\" must be a string or an integer. null",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            "-32600 A message is either a request or a response. 1",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{}}"#,
            "-32600 A message is either a request or a response. 1",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":null}"#, "Result 1 {}"),
        (r#"{"jsonrpc":"2.0","id":1,"result":null,"error":{}}"#, "Error 1 {}"),
        (r#"{"jsonrpc":"2.0","id":1,"result":null,"error":null}"#, "Result 1 null"),
        (r#"{"jsonrpc":"2.0","id":1,"error":null}"#, "-32600 \"error\" must be an object. 1"),
        (r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#, "-32600 \"error\" must be an object. 1"),
        (r#"{"jsonrpc":"2.0","id":1}"#, "-32600 \"method\" must be a string. 1"),
        (r#"[{"jsonrpc":"2.0"}]"#, "-32600 Batches of messages are not taken here. null"),
        ("<html>", "-32700 The message is not JSON (byte 0). null"),
    ] {
        assert_eq!(describe_answer(text), wanted, "{text}");
    }
}

/// Whether serde_json takes a value, numbers out of range and lone surrogates included.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn as_extra(value: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"x","extra":{value}}}"#)
}

#[test]
fn values_are_checked_wherever_they_stand() {
    for value in [
        "0",
        "-0",
        "-1.5e-10",
        "1E+5",
        "123456789012345678901234567890",
        "1e999",
        "\"\"",
        "\"a\"",
        "\"\\ud800\"",
        "\"\\u00e9\\n\\/\"",
        "\"\u{e9}\u{1f600}\"",
        "true",
        "null",
        "[]",
        "{}",
        "[[],{}]",
        "[1,2,[3,{\"a\":[4]}]]",
        "{\"a\":{\"b\":[]},\"c\":1}",
        "[ 1 , { \"a\" : 2 } ]",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "--1",
        "1_0",
        "Infinity",
        "NaN",
        "tru",
        "truex",
        "True",
        "nulll",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"\t\"",
        "\"\0\"",
        "\"\u{1f}\"",
        "'a'",
        "[",
        "]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1:2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\" 1}",
        "{\"a\":1]",
        "[1}",
        "[[1]",
        "{\"a\":[}",
        "{\"a\n\":1}",
        "{\"a\\q\":1}",
        "/**/1",
        "1//",
        "\u{feff}1",
        "\u{a0}1",
        "[\u{c}1]",
    ] {
        for value in [value.to_owned(), format!("[{value}]"), format!("{{\"k\":{value}}}")] {
            let text = as_extra(&value);
            assert_eq!(message(&text).is_ok(), is_json(&text), "{text}");
        }
    }
}

/// Strings are searched in words of 8 bytes and in vectors behind 32: every alignment of a special
/// byte is tried.
#[test]
fn strings_of_every_length_end_where_they_end() {
    for size in 0..140 {
        let plain = "x".repeat(size);
        for tail in
            ["\"", "\\\"\"", "\\\\\"", "\\n\"", "\u{e9}\"", "\n\"", "\u{1}\"", "\\\"", "", "\\"]
        {
            for rest in ["", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\""] {
                let text = as_extra(&format!("\"{plain}{tail}{rest}"));
                assert_eq!(message(&text).is_ok(), is_json(&text), "{text}");
            }
        }
    }
}

#[test]
fn every_truncation_of_a_message_is_refused() {
    let text = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"caf\u00e9","a":[1,-2.5e3,true,null,{}]}}"#;
    for size in 0..text.len() {
        let error = message(&text[..size]).unwrap_err();
        assert_eq!(error.code(), -32700, "{size} bytes");
    }
    assert!(message(text).is_ok());
}

#[test]
fn nesting_has_a_bound_and_needs_no_stack() {
    for open in ["[", "{\"a\":", "[{\"a\":["] {
        let text = as_extra(&open.repeat(100_000));
        let error = message(&text).unwrap_err();
        assert!(matches!(error.fault, Fault::Json(JsonError::TooDeep { .. })), "{error:?}");
        assert_eq!(error.code(), -32600);
        assert!(Answer::parse(text.as_bytes(), &EnvelopeLimits::default()).is_err());
        assert!(message(&open.repeat(100_000)).is_err());
        assert!(fields(&text).last().unwrap().is_err());
    }
}

#[test]
fn the_bound_counts_the_envelope_and_the_parameters() {
    let limits = EnvelopeLimits { depth_max: 5, ..EnvelopeLimits::default() };
    let is_ok = |text: &str| Message::parse(text.as_bytes(), &limits).is_ok();
    let (fits, too_deep) = ("[[[[]]]]", "[[[[[]]]]]");
    assert!(is_ok(&as_extra(fits)));
    assert!(!is_ok(&as_extra(too_deep)));
    let in_params = |value: &str| {
        format!(r#"{{"jsonrpc":"2.0","method":"x","params":{{"arguments":{value}}}}}"#)
    };
    assert!(is_ok(&in_params("[[[]]]")));
    assert!(!is_ok(&in_params(fits)));
    let limits = EnvelopeLimits { depth_max: 1_000, ..limits };
    let deepest = format!("{}{}", "[".repeat(126), "]".repeat(126));
    assert!(Message::parse(as_extra(&deepest).as_bytes(), &limits).is_ok());
    assert!(serde_json::from_str::<Value>(&as_extra(&deepest)).is_ok());
    let deeper = format!("[{deepest}]");
    assert!(Message::parse(as_extra(&deeper).as_bytes(), &limits).is_err());
}

#[test]
fn brackets_in_strings_and_siblings_are_no_depth() {
    let text = as_extra(&format!("[\"{}\",{}1]", "[{".repeat(1000), "[[]],{},".repeat(1000)));
    assert!(message(&text).is_ok());
}

/// Any JSON value, not too deep.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        "[a-z]{0,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}|name|uri|_meta", inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn raw_values_are_those_that_serde_json_sees(
        params in json(),
        id in any::<i64>(),
        method in ".{0,40}",
        is_pretty in any::<bool>(),
    ) {
        let whole = serde_json::json!({
            "method": method, "params": params, "id": id, "jsonrpc": "2.0",
        });
        let text = if is_pretty { format!("{whole:#}") } else { whole.to_string() };
        // serde_json rounds floats, so both sides read the same text.
        let params = serde_json::from_str::<Value>(&text).unwrap()["params"].clone();
        let read = message(&text);
        if !params.is_object() && !params.is_null() {
            prop_assert_eq!(read.unwrap_err().fault, Fault::Params);
            return Ok(());
        }
        let read = read.unwrap();
        prop_assert_eq!(read.method(), &method);
        prop_assert_eq!(read.id().unwrap(), id.to_string());
        let raw = |raw: Option<&str>| raw.map(|raw| serde_json::from_str::<Value>(raw).unwrap());
        prop_assert_eq!(raw(read.params()), Some(params.clone()).filter(|params| !params.is_null()));
        for (param, key) in [(Param::Name, "name"), (Param::Uri, "uri"), (Param::Meta, "_meta")] {
            prop_assert_eq!(raw(read.param(param)), params.get(key).cloned());
        }
        if let Some(object) = params.as_object() {
            let members: Vec<_> = fields(read.params().unwrap()).map(Result::unwrap).collect();
            prop_assert_eq!(members.len(), object.len());
            for member in members {
                prop_assert_eq!(raw(Some(member.value)), object.get(&*member.key).cloned());
            }
        }
    }

    #[test]
    fn any_text_is_json_to_both_or_to_neither(text in "[\\[\\]{}:,\"\\\\eE+.\\-0-2a-fnrtu ]{0,24}") {
        let text = as_extra(&text);
        if let Err(EnvelopeError { fault: Fault::Json(JsonError::Syntax { .. }), .. }) = message(&text) {
            prop_assert!(!is_json(&text));
        } else if message(&text).is_ok() {
            prop_assert!(is_json(&text));
        }
    }
}
