use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use storage::record::Tool;

use super::*;
use crate::limits;

fn tool(input: &Value) -> Arc<Tool> {
    tool_of("tool", &json!({"name": "tool", "inputSchema": input}))
}

fn tool_of(id: &str, definition: &Value) -> Arc<Tool> {
    Arc::new(Tool { id: id.to_owned(), definition: definition.to_string(), ..Tool::default() })
}

/// What is said of `arguments`; empty if nothing is wrong.
fn said(input: &Value, arguments: &Value) -> String {
    let checked = Cache::new(2).check_arguments(&tool(input), Some(&arguments.to_string()));
    checked.err().map(|violations| violations.to_string()).unwrap_or_default()
}

fn typical() -> Value {
    json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 1},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "units": {"enum": ["metric", "imperial"]},
            "detail": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}},
        },
        "required": ["city"],
        "additionalProperties": false,
    })
}

#[test]
fn lists_every_violation_with_its_place_and_its_rule() {
    let arguments = json!({"days": 99, "units": "kelvin", "tags": ["ok", "No"], "x": 1});
    let said = said(&typical(), &arguments);
    for part in [
        r#"/: "city" is a required property (required)"#,
        "/days: 99 is greater than the maximum of 14 (maximum)",
        r#"/units: "kelvin" is not one of "metric" or "imperial" (enum)"#,
        r#"/tags/1: "No" does not match "^[a-z]+$" (pattern)"#,
        "/: Additional properties are not allowed ('x' was unexpected) (additionalProperties)",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn finds_nothing_wrong_with_what_fits() {
    let arguments = json!({"city": "Bern", "days": 3, "units": "metric", "tags": ["a"]});
    assert_eq!(said(&typical(), &arguments), "");
    assert_eq!(said(&json!({"type": "object"}), &json!({"anything": [1, {}]})), "");
}

#[test]
fn takes_missing_arguments_for_an_empty_object() {
    let cache = Cache::new(2);
    for raw in [None, Some("null"), Some("{}")] {
        assert!(
            cache
                .check_arguments(&tool(&json!({"type": "object", "minProperties": 0})), raw)
                .is_ok()
        );
        let violations = cache.check_arguments(&tool(&typical()), raw).unwrap_err();
        assert!(violations.to_string().contains("city"), "{violations}");
    }
}

#[test]
fn names_what_the_nearest_of_several_schemas_misses() {
    let shapes = json!({"properties": {"shape": {"oneOf": [
        {"properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}},
         "required": ["kind", "radius"]},
        {"properties": {"kind": {"const": "square"}, "side": {"type": "object",
         "properties": {"length": {"type": "number"}}}}, "required": ["kind", "side"]},
    ]}}});
    let said = said(&shapes, &json!({"shape": {"kind": "square", "side": {"length": "long"}}}));
    assert!(said.contains("/shape/side/length"), "{said}");
    assert!(said.contains("(oneOf)"), "{said}");
}

#[test]
fn says_no_more_than_is_worth_reading() {
    let input = json!({"additionalProperties": {"type": "integer"}});
    let arguments: Value = (0..50).map(|n| (n.to_string(), json!("x".repeat(10_000)))).collect();
    let said = said(&input, &arguments);
    assert_eq!(said.matches("(type)").count(), 10);
    assert!(said.ends_with("; and more"));
    assert!(said.len() < 1000, "{said}");
}

#[test]
fn honours_the_dialect_that_a_schema_names() {
    let draft_7 = "http://json-schema.org/draft-07/schema#";
    let tuple =
        json!({"properties": {"pair": {"items": [{"type": "string"}, {"type": "number"}]}}});
    let mut old = tuple.clone();
    old["$schema"] = json!(draft_7);
    let wrong = json!({"pair": ["a", "b"]});
    assert!(said(&old, &wrong).contains("/pair/1"), "a list of items is a tuple there");
    let newer = json!({"properties": {"pair": {"prefixItems": [{"type": "string"}]}}});
    assert!(said(&newer, &json!({"pair": [1]})).contains("/pair/0"));
    assert!(check(&tuple.to_string()).is_err(), "and no schema in 2020-12");
    let unknown = json!({"$schema": "https://example.com/mine", "type": "object"});
    assert!(check(&unknown.to_string()).is_err());
}

#[test]
fn follows_references_within_the_schema_only() {
    let inside = json!({"$defs": {"n": {"type": "integer"}, "a/b": {"$anchor": "here", "type": "string"}},
        "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/a~1b"},
                       "c": {"$ref": "#here"}, "d": {"$ref": "#/%24defs/n"}}});
    assert!(check(&inside.to_string()).is_ok());
    assert_eq!(
        said(&inside, &json!({"a": "x", "b": 1, "c": 1, "d": "x"})).matches("(type)").count(),
        4
    );
    for outside in
        ["https://example.com/s.json", "file:///etc/passwd", "other.json", "#/$defs/none", "#none"]
    {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": outside}}});
        let sentence = check(&schema.to_string()).unwrap_err();
        assert!(sentence.contains(outside), "{sentence}");
        assert_eq!(said(&schema, &json!({"a": 1})), "", "it checks nothing, and withholds nothing");
    }
}

#[test]
fn names_the_place_where_a_schema_is_none() {
    for (schema, place) in [
        (json!({"properties": {"a": {"type": "text"}}}), "/properties/a/type"),
        (json!({"properties": {"a": {"minLength": "3"}}}), "/properties/a/minLength"),
        (json!({"required": "a"}), "/required"),
        (json!({"properties": {"a": {"pattern": "(["}}}), "/properties/a/pattern"),
    ] {
        let sentence = check(&schema.to_string()).unwrap_err();
        assert!(sentence.contains(place), "{sentence}");
    }
    for raw in ["", "[]", "3", "{", "\"x\""] {
        assert!(check(raw).is_err(), "{raw}");
    }
    let large = json!({"description": "x".repeat(limits::SCHEMA_SIZE_MAX)});
    assert!(check(&large.to_string()).is_err());
    assert!(check(&format!("{}{}", r#"{"not":"#.repeat(100_000), "1")).is_err());
}

#[test]
fn leaves_out_a_pattern_that_takes_more_than_linear_time_and_keeps_the_rest() {
    let schema = json!({
        "properties": {"a": {"pattern": "^(?!x).*$", "maxLength": 3}, "b": {"pattern": "^y"}},
        "patternProperties": {"^(?=z)": {"type": "integer"}},
        "additionalProperties": false,
    });
    assert!(check(&schema.to_string()).is_ok());
    let said = said(&schema, &json!({"a": "xxxx", "b": "n", "zzz": 1}));
    assert!(
        said.contains("/a: ") && said.contains("(maxLength)") && said.contains("/b: "),
        "{said}"
    );
    assert!(!said.contains("/zzz") && !said.contains("additionalProperties"), "{said}");
}

#[test]
fn a_pattern_cannot_take_more_than_linear_time() {
    let schema = json!({"properties": {"a": {"pattern": "^(a+)+$"}}});
    let started = std::time::Instant::now();
    assert!(said(&schema, &json!({"a": format!("{}b", "a".repeat(50_000))})).contains("(pattern)"));
    assert!(started.elapsed() < Duration::from_secs(10), "exponential time would be for ever");
}

/// Each definition applies the next one twice, in the way that `twice` writes.
fn doubling(count: usize, twice: impl Fn(&Value) -> Value) -> Value {
    let mut defs = serde_json::Map::new();
    for index in 0..count {
        let next = json!({"$ref": format!("#/$defs/d{}", index + 1)});
        defs.insert(format!("d{index}"), twice(&next));
    }
    defs.insert(format!("d{count}"), json!({"type": "string"}));
    json!({"$defs": defs, "$ref": "#/$defs/d0"})
}

#[test]
fn refuses_a_schema_that_doubles_its_work_in_one_place() {
    let schema = doubling(30, |next| json!({"allOf": [next, next]}));
    assert!(check(&schema.to_string()).unwrap_err().contains("one place"));
    assert_eq!(said(&schema, &json!({})), "", "and does not try");
    for endless in [
        json!({"$ref": "#"}),
        json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]},
        "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}),
    ] {
        assert!(check(&endless.to_string()).unwrap_err().contains("itself"), "{endless}");
    }
}

#[test]
fn does_not_check_a_value_whose_depth_would_double_the_work() {
    let branch = |next: &Value| json!({"properties": {"x": next}});
    let endless = json!({"allOf": [branch(&json!({"$ref": "#"})), branch(&json!({"$ref": "#"}))]});
    let finite = doubling(30, |next| json!({"allOf": [branch(next), branch(next)]}));
    for schema in [endless, finite] {
        assert!(check(&schema.to_string()).is_ok());
        let mut deep = json!(1);
        for _ in 0..30 {
            deep = json!({"x": deep});
        }
        assert_eq!(said(&schema, &deep), "", "this would not end today");
    }
    let shallow = doubling(4, |next| json!({"allOf": [branch(next), branch(next)]}));
    assert!(said(&shallow, &json!({"x": {"x": {"x": {"x": 1}}}})).contains("/x/x/x/x: 1"));
}

#[test]
fn checks_a_schema_that_recurs_as_real_ones_do() {
    let tree = json!({"type": "object", "properties": {
        "name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}}});
    let mut value = json!({"name": 3});
    for _ in 0..14 {
        value = json!({"name": "n", "children": [value]});
    }
    assert!(said(&tree, &value).contains("/name: 3 is not of type"));
    // A filter language: a union that holds itself.
    let filter = json!({"$defs": {"f": {"anyOf": [
        {"type": "object", "properties": {"and": {"type": "array", "items": {"$ref": "#/$defs/f"}}},
         "required": ["and"]},
        {"type": "object", "properties": {"or": {"type": "array", "items": {"$ref": "#/$defs/f"}}},
         "required": ["or"]},
        {"type": "object", "properties": {"eq": {"type": "string"}}, "required": ["eq"]},
    ]}}, "properties": {"filter": {"$ref": "#/$defs/f"}}});
    let value = json!({"filter": {"and": [{"or": [{"and": [{"eq": 1}]}]}]}});
    assert!(said(&filter, &value).contains("/filter"));
}

#[test]
fn checks_structured_content_by_the_output_schema() {
    let definition = json!({"name": "t", "inputSchema": {},
        "outputSchema": {"properties": {"count": {"type": "integer"}}, "required": ["count"]}});
    let (cache, tool) = (Cache::new(2), tool_of("t", &definition));
    assert!(cache.check_result(&tool, r#"{"count": 3}"#).is_ok());
    let violations = cache.check_result(&tool, r#"{"count": "3"}"#).unwrap_err();
    assert!(violations.to_string().starts_with("/count: "), "{violations}");
    let without = tool_of("u", &json!({"name": "u"}));
    assert!(cache.check_result(&without, "[1]").is_ok());
    assert!(cache.check_arguments(&without, Some("{}")).is_ok());
}

#[test]
fn what_cannot_be_read_is_wrong() {
    let violations = Cache::new(2)
        .check_arguments(&tool(&typical()), Some(r#"{"city": "\ud800"}"#))
        .unwrap_err();
    assert!(violations.to_string().contains("cannot be read"), "{violations}");
}

#[test]
fn a_tool_that_changes_is_checked_by_what_it_says_now() {
    let cache = Cache::new(4);
    let before = tool(&json!({"properties": {"a": {"type": "integer"}}}));
    assert!(cache.check_arguments(&before, Some(r#"{"a": "x"}"#)).is_err());
    let same = Arc::new((*before).clone());
    assert!(cache.check_arguments(&same, Some(r#"{"a": "x"}"#)).is_err());
    let after = tool(&json!({"properties": {"a": {"type": "string"}}}));
    assert!(cache.check_arguments(&after, Some(r#"{"a": "x"}"#)).is_ok());
    assert_eq!(cache.count(), 1);
}

#[test]
fn keeps_no_more_than_it_may_and_what_is_used() {
    let cache = Cache::new(8);
    let used = tool_of("used", &json!({"inputSchema": typical()}));
    for index in 0..100 {
        let other = tool_of(&index.to_string(), &json!({"inputSchema": typical()}));
        assert!(cache.check_arguments(&other, Some("{}")).is_err());
        assert!(cache.check_arguments(&used, Some("{}")).is_err());
        assert!(cache.count() <= 8);
    }
    assert!(cache.holds("used"));
}

/// A shard has 2 MiB of stack, most of it free; a build without optimisation takes several times
/// what the released one does.
#[test]
fn the_deepest_schema_fits_the_stack_of_a_shard() {
    let nested = |wrap: &dyn Fn(Value) -> Value| {
        let mut schema = json!({"type": "string"});
        loop {
            let deeper = wrap(schema.clone());
            if check(&deeper.to_string()).is_err_and(|error| error.contains("deeper")) {
                return schema;
            }
            schema = deeper;
        }
    };
    let work = move || {
        for schema in [
            nested(&|inner| json!({"not": inner})),
            nested(&|inner| json!({"allOf": [inner]})),
            nested(&|inner| json!({"properties": {"a": inner}, "additionalProperties": false})),
            nested(&|inner| json!({"unevaluatedProperties": inner})),
        ] {
            let mut value = json!(1);
            for _ in 0..100 {
                value = json!({"a": value});
            }
            said(&schema, &value);
        }
        let chain = doubling(2000, |next| json!({"properties": {"a": next}}));
        said(&chain, &json!({"a": {"a": 1}}));
    };
    let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(work).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_schema_within_a_schema_hides_no_effort() {
    let inner = doubling(30, |next| json!({"allOf": [next, next]}));
    let mut named = inner.clone();
    named["$id"] = json!("https://example.com/inner.json");
    // Seen from the root, every definition is harmless.
    let mut defs: serde_json::Map<String, Value> =
        (0..=30).map(|n| (format!("d{n}"), json!({"type": "string"}))).collect();
    defs.insert("inner".to_owned(), named);
    for reference in ["#/$defs/inner", "https://example.com/inner.json", "inner.json"] {
        let schema = json!({"$id": "https://example.com/outer.json", "$defs": defs,
            "properties": {"a": {"$ref": reference}}});
        assert!(
            check(&schema.to_string()).is_err_and(|error| error.contains("one place")),
            "{reference}"
        );
    }
}

#[test]
fn follows_the_names_that_schemas_give_themselves() {
    let schema = json!({"$id": "https://example.com/outer.json", "$defs": {
        "n": {"$id": "number.json", "$defs": {"small": {"type": "integer", "maximum": 9}},
              "$ref": "#/$defs/small"}},
        "properties": {"a": {"$ref": "number.json"}, "b": {"$ref": "https://example.com/number.json"},
                       "c": {"$ref": "number.json#/$defs/small"}}});
    assert_eq!(check(&schema.to_string()), Ok(()));
    assert_eq!(said(&schema, &json!({"a": 10, "b": 10, "c": 10})).matches("(maximum)").count(), 3);
}
