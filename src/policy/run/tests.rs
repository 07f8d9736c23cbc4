use serde_json::{Value as Json, json};

use super::super::{Attribute, Facts, Fault, Fuel, Program, Sample, Value};
use crate::limits::POLICY_STEP_COUNT_MAX;

fn context() -> Json {
    json!({
        "jwt": {"sub": "a@b.c", "groups": ["ops", "dev"], "level": 3},
        "caller": {"email": "a@b.c", "is_admin": false, "teams": ["t1", "t2"], "ip": "10.0.0.7"},
        "tool": {
            "name": "db-drop", "original_name": "drop", "tags": ["prod", "db"],
            "annotations": {"readOnlyHint": false},
        },
        "arguments": {
            "amount": 1500, "rate": 0.5, "to": "x@b.c", "deep": {"list": [1, 2, 3], "none": null},
        },
        "request": {
            "method": "tools/call", "time": "2026-11-23T03:30:05Z",
            "headers": {"user-agent": "curl/8"},
        },
    })
}

fn run(text: &str) -> Result<bool, String> {
    let program = Program::compile(text).map_err(|error| format!("compile: {error}"))?;
    let sample = Sample::new(context()).unwrap();
    let mut fuel = Fuel::new(POLICY_STEP_COUNT_MAX);
    program.is_true(&sample, &mut fuel).map_err(|fault| fault.to_string())
}

/// What the interpreter of the crate says of the same expression.
fn reference(text: &str) -> Option<bool> {
    let mut names = cel::Context::default();
    for (name, value) in context().as_object().unwrap() {
        names.add_variable_from_value(name.as_str(), reference_value(value));
    }
    match cel::Program::compile(text).unwrap().execute(&names) {
        Ok(cel::Value::Bool(flag)) => Some(flag),
        _ => None,
    }
}

fn reference_value(json: &Json) -> cel::Value {
    match json {
        Json::Number(number) if number.is_i64() => number.as_i64().unwrap().into(),
        Json::Array(items) => items.iter().map(reference_value).collect::<Vec<_>>().into(),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(key, item)| (key.clone(), reference_value(item)));
            fields.collect::<std::collections::HashMap<_, _>>().into()
        }
        scalar => cel::to_value(scalar).unwrap(),
    }
}

/// Everything that both must say alike.
const ALIKE: [&str; 62] = [
    "true",
    "!true",
    "1 < 2",
    "2.5 >= 2.5",
    "1 == 1.0",
    "1u < 2",
    "'a' < 'b'",
    "1 == 'a'",
    "caller.email == 'a@b.c'",
    "caller.is_admin || 'ops' in jwt.groups",
    "jwt.level > 2 && jwt.level <= 3",
    "'t3' in caller.teams",
    "caller.teams == ['t1', 't2']",
    "tool.name.startsWith('db-') && tool.name.endsWith('drop')",
    "tool.name.contains('b-d')",
    "tool.name.matches('^db-(drop|delete)$')",
    "matches(tool.name, '^x')",
    "size(tool.tags) == 2",
    "tool.tags.size() == 3",
    "size('äö') == 2",
    "tool.tags.exists(t, t == 'prod')",
    "tool.tags.all(t, t.size() < 5)",
    "tool.tags.exists_one(t, t.startsWith('p'))",
    "caller.teams.map(t, t + '!') == ['t1!', 't2!']",
    "arguments.deep.list.filter(n, n % 2 == 1) == [1, 3]",
    "arguments.deep.list.map(n, n * n).exists(n, n == 9)",
    "arguments.deep.list.map(n, arguments.deep.list.filter(m, m < n)).size() == 3",
    "arguments.deep.list.map(n, n > 1, n * 10) == [20, 30]",
    "[1, 2].all(x, [3, 4].all(y, x < y))",
    "[].all(x, false)",
    "[].exists(x, true)",
    "{'a': 1, 'b': 2}.all(k, k < 'c')",
    "{'a': 1}['a'] == 1",
    "{'a': 1}.a == 1",
    "{1: 'x'}[1] == 'x'",
    "'a' in {'a': 1}",
    "arguments.amount > 1000 && !arguments.to.endsWith('@b.c')",
    "arguments['amount'] == 1500",
    "arguments.deep.list[1] == 2",
    "arguments.deep.none == null",
    "has(arguments.deep.list) && !has(arguments.deep.other)",
    "has(arguments.other) ? arguments.other > 1 : true",
    "arguments.rate * 2.0 == 1.0",
    "-arguments.amount < 0 && -(2.5) == -2.5",
    "7 / 2 == 3 && 7 % 2 == 1 && -7 / 2 == -3",
    "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9",
    "int('12') == 12 && int(2.9) == 2 && string(12) == '12' && double(1) == 1.0",
    "uint(3) == 3u && string(true) == 'true' && bool('true')",
    "'a' + 'b' == 'ab' && [1] + [2] == [1, 2]",
    "request.method == 'tools/call' ? true : false",
    "arguments.missing == 1",
    "arguments.missing == 1 || true",
    "true || arguments.missing == 1",
    "arguments.missing == 1 && false",
    "false && arguments.missing == 1",
    "arguments.missing == 1 && true",
    "arguments.deep.list[3] == 1",
    "1 / 0 == 1",
    "9223372036854775807 + 1 > 0",
    "arguments.amount.startsWith('x')",
    "'a' < 1",
    "1",
];

#[test]
fn says_what_the_interpreter_of_the_crate_says() {
    for text in ALIKE {
        assert_eq!(run(text).ok(), reference(text), "{text}: {:?}", run(text));
    }
}

#[test]
fn knows_what_only_requests_have() {
    for text in [
        "request.headers['user-agent'] == 'curl/8' && request.headers.user_agent != ''",
        "'user-agent' in request.headers && !('origin' in request.headers)",
        "has(request.headers.user_agent) && !has(request.headers.origin)",
        "request.time.getHours() < 6 && request.time.getDayOfWeek() in [1, 2, 3, 4, 5]",
        "request.time > timestamp('2026-01-01T00:00:00Z')",
        "request.time - timestamp('2026-11-23T03:00:00Z') == duration('30m5s')",
        "request.time + duration('1h') > request.time",
        "has(tool.annotations) && !tool.annotations.readOnlyHint",
        "!has(tool.gateway) && !has(server.id)",
        "tool.name.upperAscii() == 'DB-DROP' && 'ÄB'.lowerAscii() == 'Äb'",
        "arguments.amount * arguments.rate == 750.0",
        "duration('90m').getHours() == 1",
        "tool.tags.exists(tool, tool == 'db')",
    ] {
        assert_eq!(run(text), Ok(true), "{text}");
    }
}

#[test]
fn says_what_has_no_value() {
    for (text, said) in [
        ("tool.gateway == 'x'", "the request has no tool.gateway"),
        ("request.headers.origin == ''", "the request has no header origin"),
        ("arguments.missing == 1", "there is no \"missing\""),
        ("arguments.deep.list[9] == 1", "the list has no place 9"),
        ("caller.email.name == 1", "a string has no fields"),
        ("arguments.amount", "an int is neither true nor false"),
        ("'a' < 1", "cannot compare a string and an int"),
        ("caller.email - 1 == 1", "cannot calculate with a string and an int"),
        ("size(1) == 1", "size does not fit this int"),
        ("timestamp('noon') == timestamp('noon')", "timestamp does not fit this string"),
        ("1 / 0 == 1", "a result that no number holds"),
    ] {
        assert_eq!(run(text), Err(said.to_owned()), "{text}");
    }
}

#[test]
fn ends_what_costs_too_much() {
    let nested = "arguments.deep.list.map(a, arguments.deep.list.map(b, \
                  arguments.deep.list.map(c, arguments.deep.list.map(d, \
                  arguments.deep.list.map(e, arguments.deep.list.map(f, \
                  arguments.deep.list.map(g, arguments.deep.list.map(h, \
                  arguments.deep.list.map(i, i))))))))) == []";
    let mut doubling = "['0123456789']".to_owned();
    let mut pairing = "[1]".to_owned();
    for _ in 0..30 {
        doubling.push_str(".map(a, a + a)");
    }
    for _ in 0..12 {
        pairing.push_str(".map(a, [a, a, a, a])");
    }
    let pairing = format!("{pairing} == {pairing}");
    for text in [nested, &format!("{doubling} == []"), &pairing] {
        assert_eq!(run(text), Err("it costs more steps than it may".to_owned()), "{text}");
    }
    // No word of the other side saves it.
    let text = format!("({nested}) || true");
    assert_eq!(run(&text), Err("it costs more steps than it may".to_owned()));
}

/// Facts with one large text.
struct Large(Json);

impl Facts for Large {
    fn attribute(&self, attribute: Attribute) -> Result<Option<Value<'_>>, Fault> {
        Ok((attribute == Attribute::Arguments).then(|| Value::of_json(&self.0)))
    }

    fn header(&self, _: &str) -> Option<Value<'_>> {
        None
    }
}

#[test]
fn large_texts_cost_by_their_size() {
    let program = Program::compile("arguments.text.contains('y')").unwrap();
    let burnt = |size: usize| {
        let facts = Large(json!({"text": "x".repeat(size)}));
        let mut fuel = Fuel::new(POLICY_STEP_COUNT_MAX);
        program.is_true(&facts, &mut fuel).map(|_| fuel.burnt())
    };
    assert!(burnt(10).unwrap() < 20);
    assert!(burnt(100_000).unwrap() > 500);
    assert!(burnt(POLICY_STEP_COUNT_MAX * 128).is_err());
}

#[test]
fn a_typical_policy_costs_a_few_steps() {
    let text = "tool.name.startsWith('db-') && !caller.is_admin && !('dba' in jwt.groups)";
    let sample = Sample::new(context()).unwrap();
    let mut fuel = Fuel::new(100);
    assert_eq!(Program::compile(text).unwrap().is_true(&sample, &mut fuel), Ok(true));
    assert!(fuel.burnt() < 25, "{}", fuel.burnt());
}
