use serde_json::json;

use super::*;

fn document(value: Value) -> Document {
    Document::of(value).expect("an OpenAPI document")
}

/// A 3.0 document of one operation `POST /things/{id}` and these components.
fn one(operation: Value, components: Value) -> Document {
    document(json!({
        "openapi": "3.0.3", "info": {"title": "Things"},
        "servers": [{"url": "https://api.example.com/v1/"}],
        "paths": {"/things/{id}": {"post": operation}},
        "components": components,
    }))
}

fn converted(document: &Document) -> Conversion {
    convert(document, &Options::default()).expect("a conversion")
}

fn only(document: &Document) -> Draft {
    let mut conversion = converted(document);
    assert_eq!(conversion.refused, []);
    assert_eq!(conversion.tools.len(), 1);
    conversion.tools.remove(0)
}

fn refusal(document: &Document) -> String {
    let conversion = converted(document);
    assert_eq!(conversion.tools.len(), 0);
    conversion.refused[0].reason.clone()
}

fn json_body(schema: Value) -> Value {
    json!({"required": true, "content": {"application/json": {"schema": schema}}})
}

#[test]
fn an_operation_becomes_the_fields_that_make_a_tool() {
    let operation = json!({
        "operationId": "updateThing", "summary": "Changes a thing.", "description": "All of it.",
        "tags": ["Things & More"], "deprecated": true,
        "parameters": [
            {"name": "id", "in": "path", "required": true, "schema": {"type": "string"}},
            {"name": "dry run", "in": "query", "description": "Only look.", "schema": {"type": "boolean"}},
            {"name": "X-Trace-ID", "in": "header", "schema": {"type": "string"}},
            {"name": "Accept", "in": "header", "schema": {"type": "string"}},
        ],
        "requestBody": json_body(json!({"type": "object", "required": ["color"],
            "properties": {"color": {"type": "string"}}, "additionalProperties": false})),
        "responses": {"204": {"description": "nothing"}, "200": {"description": "it",
            "content": {"application/json": {"schema": {"properties": {"ok": {"type": "boolean"}}}}}}},
    });
    let draft = only(&one(operation, json!({})));
    assert_eq!(draft.operation, "POST /things/{id}");
    assert_eq!(draft.notes, Vec::<String>::new());
    let expected = json!({
        "name": "updateThing",
        "title": "Changes a thing.",
        "description": "Changes a thing.\n\nAll of it.",
        "integration_type": "REST",
        "tags": ["things-more"],
        "deprecated": true,
        "annotations": {"destructiveHint": false},
        "url": "https://api.example.com/v1/things/{id}",
        "base_url": "https://api.example.com/v1",
        "path_template": "/things/{id}",
        "request_type": "POST",
        "query_mapping": {"dry_run": "dry run"},
        "header_mapping": {"X-Trace-ID": "X-Trace-ID"},
        "body_format": "json",
        "inputSchema": {
            "type": "object",
            "properties": {
                "color": {"type": "string"},
                "id": {"type": "string"},
                "dry_run": {"type": "boolean", "description": "Only look."},
                "X-Trace-ID": {"type": "string"},
            },
            "required": ["color", "id"],
            "additionalProperties": false,
        },
        "outputSchema": {"properties": {"ok": {"type": "boolean"}}, "type": "object"},
    });
    assert_eq!(Value::Object(draft.fields), expected);
}

#[test]
fn arguments_of_one_name_are_told_apart_by_where_they_go() {
    let text = json!({"type": "string"});
    let operation = json!({
        "parameters": [
            {"name": "id", "in": "header", "schema": text},
            {"name": "id", "in": "query", "schema": text},
            {"name": "id", "in": "path", "required": true, "schema": text},
        ],
        "requestBody": json_body(json!({"properties": {"id": {"type": "integer"}}})),
    });
    let fields = only(&one(operation, json!({}))).fields;
    assert_eq!(fields["path_template"], "/things/{id_path}");
    assert_eq!(fields["query_mapping"], json!({"id_query": "id"}));
    assert_eq!(fields["header_mapping"], json!({"id_header": "id"}));
    assert_eq!(fields["inputSchema"]["properties"]["id"], json!({"type": "integer"}));
}

#[test]
fn what_3_0_writes_otherwise_is_written_anew() {
    let schema = |schema: Value| {
        let body = json_body(json!({"properties": {"a": schema}}));
        let fields =
            only(&one(json!({"requestBody": body}), json!({"schemas": {"S": {"type": "string"}}})))
                .fields;
        fields["inputSchema"]["properties"]["a"].clone()
    };
    for (before, after) in [
        (json!({"type": "string", "nullable": true}), json!({"type": ["string", "null"]})),
        (
            json!({"type": "string", "enum": ["x"], "nullable": true}),
            json!({"type": ["string", "null"], "enum": ["x", null]}),
        ),
        (
            json!({"nullable": true, "description": "d", "allOf": [{"$ref": "#/components/schemas/S"}]}),
            json!({"description": "d", "anyOf": [{"allOf": [{"type": "string"}]}, {"type": "null"}]}),
        ),
        (
            json!({"type": "number", "minimum": 1, "exclusiveMinimum": true, "maximum": 3, "exclusiveMaximum": false}),
            json!({"type": "number", "exclusiveMinimum": 1, "maximum": 3}),
        ),
        (
            json!({"type": "number", "exclusiveMinimum": 1}),
            json!({"type": "number", "exclusiveMinimum": 1}),
        ),
        (json!({"type": "string", "example": "e"}), json!({"type": "string", "examples": ["e"]})),
        (
            json!({"type": "object", "properties": {"example": {"type": "string", "example": 1}},
                   "x-vendor": 1, "xml": {"name": "n"}, "discriminator": {"propertyName": "t"}}),
            json!({"type": "object", "properties": {"example": {"type": "string", "examples": [1]}}}),
        ),
        (json!({"type": "file", "required": true, "enum": [], "minLength": "1"}), json!({})),
        (
            json!({"type": "array", "items": [{"type": "string"}]}),
            json!({"type": "array", "prefixItems": [{"type": "string"}]}),
        ),
        (
            json!({"type": "object", "required": ["r", "w", "w"], "properties": {
                "r": {"type": "string", "readOnly": true}, "w": {"type": "string"}}}),
            json!({"type": "object", "required": ["w"], "properties": {"w": {"type": "string"}}}),
        ),
        (json!({"type": "string", "pattern": "(["}), json!({"type": "string"})),
    ] {
        assert_eq!(schema(before.clone()), after, "{before}");
    }
}

#[test]
fn a_schema_used_once_is_written_in_place_and_a_circle_stays_a_reference() {
    let components = json!({"schemas": {
        "Tree": {"type": "object", "properties": {
            "name": {"$ref": "#/components/schemas/Name"},
            "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
            "enum": {"$ref": "#/components/schemas/Odd~1Name"},
            "default": {"$ref": "#/components/schemas/Odd~1Name"},
        }},
        "Name": {"type": "string"},
        "Odd/Name": {"type": "integer"},
    }});
    let body = json_body(json!({"properties": {"tree": {"$ref": "#/components/schemas/Tree"}}}));
    let schema = only(&one(json!({"requestBody": body}), components)).fields["inputSchema"].clone();
    let expected = json!({
        "Tree": {"type": "object", "properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
            "enum": {"$ref": "#/$defs/Odd_1Name"},
            "default": {"$ref": "#/$defs/Odd_1Name"},
        }},
        "Odd_1Name": {"type": "integer"},
    });
    assert_eq!(schema["properties"]["tree"], json!({"$ref": "#/$defs/Tree"}));
    assert_eq!(schema["$defs"], expected);
}

#[test]
fn a_body_put_together_of_schemas_has_the_members_of_all() {
    let components = json!({"schemas": {
        "Base": {"type": "object", "required": ["id2"], "properties": {"id2": {"type": "string"}}},
        "Cat": {"type": "object", "required": ["kind", "claws"],
                "properties": {"kind": {"enum": ["cat"]}, "claws": {"type": "integer"}}},
        "Dog": {"type": "object", "required": ["kind"],
                "properties": {"kind": {"enum": ["dog"]}, "tricks": {"type": "array", "items": {"type": "string"}}}},
    }});
    let body = json_body(json!({"allOf": [{"$ref": "#/components/schemas/Base"}],
        "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}]}));
    let schema = only(&one(json!({"requestBody": body}), components)).fields["inputSchema"].clone();
    assert_eq!(schema["required"], json!(["id2", "kind", "id"]));
    assert_eq!(
        schema["properties"]["kind"],
        json!({"anyOf": [{"enum": ["cat"]}, {"enum": ["dog"]}]})
    );
    assert_eq!(schema["properties"]["claws"], json!({"type": "integer"}));
    assert_eq!(schema.get("additionalProperties"), None, "another kind may have more members");
    assert_eq!(schema.get("oneOf"), None, "models' APIs take no alternatives at the top");
}

#[test]
fn an_optional_body_requires_nothing() {
    let mut body = json_body(json!({"required": ["a"], "properties": {"a": {"type": "string"}}}));
    body["required"] = json!(false);
    let schema = only(&one(json!({"requestBody": body}), json!({}))).fields["inputSchema"].clone();
    assert_eq!(schema["required"], json!(["id"]));
}

#[test]
fn the_type_of_the_body_decides_its_format() {
    let of = |content: Value| {
        let fields =
            only(&one(json!({"requestBody": {"required": true, "content": content}}), json!({})))
                .fields;
        (
            fields["body_format"].clone(),
            fields.get("headers").cloned(),
            fields["inputSchema"]["properties"]["f"].clone(),
        )
    };
    let media = json!({"schema": {"type": "object", "properties": {"f": {"type": "string", "format": "binary"}}}});
    let binary = json!({"type": "string", "format": "binary"});
    let form = "application/x-www-form-urlencoded";
    assert_eq!(
        of(json!({form: media, "application/json": media})),
        (json!("json"), None, binary.clone())
    );
    assert_eq!(of(json!({form: media})), (json!("form"), None, binary.clone()));
    let patch = "application/merge-patch+json";
    assert_eq!(
        of(json!({patch: media})),
        (json!("json"), Some(json!({"Content-Type": patch})), binary)
    );
    let (format, _, file) = of(json!({"multipart/form-data": media}));
    assert_eq!((format, file["required"].clone()), (json!("multipart"), json!(["data"])));
}

#[test]
fn parameters_that_are_lists_or_objects_travel_as_the_document_writes_them() {
    let list = json!({"type": "array", "items": {"type": "integer"}});
    let object = json!({"type": "object", "properties": {"min": {"type": "integer"}}});
    let operation = json!({"parameters": [
        {"name": "ids", "in": "query", "schema": list},
        {"name": "csv", "in": "query", "explode": false, "description": "Some.", "schema": list},
        {"name": "filter", "in": "query", "style": "deepObject", "schema": object},
        {"name": "range", "in": "query", "schema": object},
        {"name": "where", "in": "query", "content": {"application/json": {"schema": object}}},
        {"name": "free", "in": "query", "schema": {"type": "object"}},
        {"name": "sid", "in": "cookie", "schema": {"type": "string"}},
    ]});
    let draft = only(&one(operation, json!({})));
    let mapping = json!({"ids": "ids", "csv": "csv", "filter_min": "filter[min]", "min": "min", "where": "where"});
    assert_eq!(draft.fields["query_mapping"], mapping);
    let properties = &draft.fields["inputSchema"]["properties"];
    assert_eq!(properties["ids"], list);
    let csv = json!({"type": "string", "description": "Some.\nValues with \",\" between them"});
    assert_eq!(properties["csv"], csv);
    assert_eq!(draft.notes.len(), 2, "{:?}", draft.notes);
    assert!(draft.notes[0].contains("free") && draft.notes[1].contains("sid"), "{:?}", draft.notes);
}

#[test]
fn says_why_an_operation_cannot_be_a_tool() {
    let text = json!({"type": "string"});
    for (operation, part) in [
        (json!({"requestBody": json_body(json!({"type": "array", "items": text}))}), "array"),
        (json!({"requestBody": {"required": true, "content": {"text/xml": {}}}}), "text/xml"),
        (
            json!({"requestBody": json_body(json!({"$ref": "other.yaml#/A"}))}),
            "out of the document",
        ),
        (json!({"requestBody": json_body(json!({"$ref": "#/components/none"}))}), "nowhere"),
        (
            json!({"requestBody": json_body(json!({"properties": {"a": {"$ref": "https://x/y"}}}))}),
            "out of the document",
        ),
        (json!({"requestBody": {"$ref": "#/components/requestBodies/Loop"}}), "circle"),
        (json!({"parameters": [{"name": "c", "in": "cookie", "required": true}]}), "cookie"),
        (
            json!({"parameters": [{"name": "o", "in": "query", "required": true, "schema": {"type": "object"}}]}),
            "not named",
        ),
        (
            json!({"parameters": [{"name": "id", "in": "path", "style": "matrix", "schema": text}]}),
            "matrix",
        ),
        (json!({"parameters": [{"name": "x"}]}), "no name or no place"),
        (
            json!({"parameters": [{"name": "Host", "in": "header", "required": true, "schema": text}]}),
            "the header Host",
        ),
    ] {
        let components =
            json!({"requestBodies": {"Loop": {"$ref": "#/components/requestBodies/Loop"}}});
        let reason = refusal(&one(operation, components));
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

#[test]
fn a_schema_that_is_too_large_is_refused_before_it_is_written() {
    let components: Map<String, Value> = (0..2000)
        .map(|n| {
            let next = json!({"$ref": format!("#/components/schemas/S{}", (n + 1) % 2000)});
            let text = json!({"description": "x".repeat(200), "properties": {"next": next, "again": next}});
            (format!("S{n}"), text)
        })
        .collect();
    let body = json_body(json!({"properties": {"a": {"$ref": "#/components/schemas/S0"}}}));
    let reason = refusal(&one(json!({"requestBody": body}), json!({"schemas": components})));
    assert!(reason.contains("larger than"), "{reason}");
}

#[test]
fn secrets_travel_as_the_security_schemes_say() {
    let schemes = json!({"securitySchemes": {
        "token": {"type": "http", "scheme": "bearer"}, "user": {"type": "http", "scheme": "basic"},
        "key": {"type": "apiKey", "in": "header", "name": "X-Key"}, "query": {"type": "apiKey", "in": "query", "name": "k"},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "sid"}, "oauth": {"type": "oauth2", "flows": {}},
        "tls": {"type": "mutualTLS"},
    }});
    let header = |key: &str, value: &str| json!({"auth_type": "authheaders", "auth_headers": [{"key": key, "value": value}]});
    for (security, expected) in [
        (json!([{"token": []}]), header("Authorization", "Bearer s:t")),
        (json!([{"oauth": ["read"]}]), header("Authorization", "Bearer s:t")),
        (json!([{"user": []}]), header("Authorization", "Basic czp0")),
        (json!([{"key": []}]), header("X-Key", "s:t")),
        (json!([{"cookie": []}]), header("Cookie", "sid=s:t")),
        (json!([{"unknown": []}, {"key": []}]), header("X-Key", "s:t")),
        (
            json!([{"query": []}]),
            json!({"auth_type": "query_param", "auth_query_param_key": "k", "auth_query_param_value": "s:t"}),
        ),
        (json!([]), json!({})),
    ] {
        let mut components = schemes.clone();
        components["securitySchemes"]["unknown"] = json!({"type": "http", "scheme": "bearer"});
        let names = ["token", "user", "key", "query", "cookie", "oauth", "tls"];
        let credentials = names.map(|name| (name.to_owned(), "s:t".to_owned())).into();
        let options = Options { credentials, ..Options::default() };
        let conversion =
            convert(&one(json!({"security": security}), components), &options).unwrap();
        let fields = &conversion.tools[0].fields;
        let auth: Map<String, Value> =
            fields.clone().into_iter().filter(|(key, _)| key.starts_with("auth_")).collect();
        assert_eq!(Value::Object(auth), expected, "{security}");
    }
    let without = only(&one(json!({"security": [{"key": []}, {"token": []}]}), schemes));
    let note = "without credentials: it asks for key (the header X-Key), or token (a bearer token)";
    assert_eq!(without.notes, [note]);
}

#[test]
fn a_parameter_that_is_the_proof_is_no_argument() {
    let schemes =
        json!({"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}});
    let operation = json!({"security": [{"key": []}], "parameters": [
        {"name": "x-key", "in": "header", "required": true, "schema": {"type": "string"}}]});
    let fields = only(&one(operation, schemes)).fields;
    assert_eq!(fields.get("header_mapping"), None);
    assert_eq!(fields["inputSchema"]["required"], json!(["id"]));
}

#[test]
fn the_path_is_one_that_can_be_filled() {
    let of = |path: &str, parameters: Value| {
        let document = document(json!({"openapi": "3.0.0", "servers": [{"url": "http://h"}],
            "paths": {path: {"get": {"parameters": parameters}}}}));
        let conversion = converted(&document);
        let given = conversion.tools.first().map(|tool| tool.fields["path_template"].clone());
        given.unwrap_or_else(|| json!(conversion.refused[0].reason))
    };
    let pet = json!([{"name": "pet id", "in": "path", "required": true}]);
    assert_eq!(of("/my pets/{pet id}", pet), "/my%20pets/{pet_id}");
    assert_eq!(of("/pets/{id}:feed", json!([])), "/pets/{id}:feed");
    assert!(of("/pets/{+name}", json!([])).as_str().unwrap().contains("{+name}"));
    assert!(of("/pets#all", json!([])).as_str().unwrap().contains("fragment"));
}

#[test]
fn a_secret_is_in_no_note_and_no_reason() {
    let schemes = json!({"securitySchemes": {"user": {"type": "http", "scheme": "basic"},
        "tls": {"type": "mutualTLS"}, "q": {"type": "apiKey", "in": "query", "name": "k"},
        "h": {"type": "apiKey", "in": "header", "name": "h"}}});
    for security in [json!([{"user": []}]), json!([{"tls": []}]), json!([{"q": [], "h": []}])] {
        let credentials =
            ["user", "tls", "q", "h"].map(|name| (name.to_owned(), "hush".to_owned())).into();
        let options = Options { credentials, ..Options::default() };
        let conversion =
            convert(&one(json!({"security": security}), schemes.clone()), &options).unwrap();
        assert_eq!(conversion.refused.len(), 1);
        assert!(!conversion.refused[0].reason.contains("hush"));
    }
}

#[test]
fn the_server_is_the_first_with_its_variables_at_their_defaults() {
    let base = |servers: Value, options: &Options| {
        let document =
            document(json!({"openapi": "3.1.0", "servers": servers, "paths": {"/p": {"get": {}}}}));
        let conversion = convert(&document, options).unwrap();
        let given = conversion
            .tools
            .first()
            .map(|tool| tool.fields["base_url"].as_str().unwrap().to_owned());
        given.unwrap_or_else(|| conversion.refused[0].reason.clone())
    };
    let none = Options::default();
    let region = json!([{"url": "https://{r}.example.com/{v}", "variables": {"r": {"default": "eu"}, "v": {"default": "v2"}}}]);
    assert_eq!(base(region, &none), "https://eu.example.com/v2");
    assert!(base(json!([{"url": "https://{r}.example.com"}]), &none).contains("without default"));
    assert!(base(json!([{"url": "/api"}]), &none).contains("give base_url"));
    assert!(base(json!([{"url": "ftp://example.com"}]), &none).contains("ftp"));
    let secret = base(json!([{"url": "https://u:hush@example.com"}]), &none);
    assert!(secret.contains("password") && !secret.contains("hush"), "{secret}");
    let from = Options {
        document_url: Some("http://h:81/docs/openapi.json".to_owned()),
        ..Options::default()
    };
    assert_eq!(base(json!([{"url": "/api"}]), &from), "http://h:81/api");
    assert_eq!(base(json!([]), &from), "http://h:81");
    let given = Options { base_url: Some("http://mine/".to_owned()), ..Options::default() };
    assert_eq!(base(json!([{"url": "/api"}]), &given), "http://mine");
}

#[test]
fn names_come_from_the_operation_or_from_method_and_path_and_are_unique() {
    let document = document(
        json!({"openapi": "3.0.0", "servers": [{"url": "http://h"}], "paths": {
            "/a": {"get": {"operationId": "list a"}, "post": {"operationId": "List-A"}, "summary": "no operation"},
            "/a/{b}": {"get": {}, "delete": {"operationId": "list_a"}, "head": {}},
        }}),
    );
    let options = Options { prefix: "shop-".to_owned(), ..Options::default() };
    let conversion = convert(&document, &options).unwrap();
    let names: Vec<&Value> = conversion.tools.iter().map(|tool| &tool.fields["name"]).collect();
    assert_eq!(names, ["shop-list_a", "shop-List-A_2", "shop-get_a_b", "shop-list_a_3"]);
    assert_eq!(conversion.refused[0].operation, "HEAD /a/{b}");
}

#[test]
fn filters_leave_out_what_is_not_wanted() {
    let document =
        document(json!({"openapi": "3.0.0", "servers": [{"url": "http://h"}], "paths": {
            "/pets": {"get": {"tags": ["Pets"]}, "post": {"tags": ["Pets", "Write"]}},
            "/shops": {"get": {}},
        }}));
    let tools = |options: Options| {
        let conversion = convert(&document, &options).unwrap();
        assert_eq!(conversion.tools.len() + conversion.filtered.len(), 3);
        conversion.tools.into_iter().map(|tool| tool.operation).collect::<Vec<_>>().join(", ")
    };
    let list = |word: &str| vec![word.to_owned()];
    assert_eq!(tools(Options { tags: list("write"), ..Options::default() }), "POST /pets");
    assert_eq!(
        tools(Options { methods: list("get"), ..Options::default() }),
        "GET /pets, GET /shops"
    );
    assert_eq!(tools(Options { paths: list("/sh*"), ..Options::default() }), "GET /shops");
}

#[test]
fn reads_json_and_yaml_of_version_3_and_nothing_else() {
    let yaml = "openapi: 3.1.0\ninfo: {title: Things}\npaths:\n  /a:\n    get:\n      responses:\n        200: {description: ok}\n";
    assert_eq!(list_of(yaml), "GET /a");
    assert_eq!(
        list_of("\u{feff}{\"openapi\": \"3.0.1\", \"paths\": {\"/b\": {\"put\": {}}}}"),
        "PUT /b"
    );
    assert_eq!(list_of("openapi: 3.0\npaths: {}\n"), "");
    for (text, part) in [
        (r#"{"swagger": "2.0"}"#, "Swagger 2.0"),
        (r#"{"openapi": "4.0.0"}"#, "4.0.0"),
        ("{}", "openapi: 3.x"),
        ("[1]", "no object"),
        ("a: [", "no YAML"),
        ("{", "no JSON"),
    ] {
        let error = Document::read(text.as_bytes()).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }
    let large = vec![b' '; crate::limits::OPENAPI_SIZE_MAX + 1];
    assert!(Document::read(&large).unwrap_err().contains("larger"));
}

fn list_of(text: &str) -> String {
    let document = Document::read(text.as_bytes()).expect("a document");
    let keys = operation::list(&document).iter().map(operation::Operation::key).collect::<Vec<_>>();
    keys.join(", ")
}

#[test]
fn finds_the_schemas_of_one_operation_by_the_path_of_a_url() {
    let document = one(
        json!({"requestBody": json_body(json!({"properties": {"a": {"type": "integer"}}}))}),
        json!({}),
    );
    for path in ["/things/{id}", "/things/7", "/v1/things/{id}"] {
        let (input, output) = find_schemas(&document, "post", path).expect(path).expect("schemas");
        assert_eq!(input["properties"]["a"], json!({"type": "integer"}));
        assert_eq!(output, None);
    }
    for (method, path) in [("get", "/things/7"), ("post", "/things"), ("post", "/things/7/8")] {
        assert!(find_schemas(&document, method, path).is_none(), "{method} {path}");
    }
}

/// A document that has something of everything.
fn rich() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Rich"},
        "servers": [{"url": "https://{r}.example.com", "variables": {"r": {"default": "eu"}}}],
        "security": [{"key": []}],
        "paths": {
            "/a/{id}": {
                "parameters": [{"$ref": "#/components/parameters/Id"}],
                "post": {
                    "operationId": "post a", "summary": "s", "tags": ["t"],
                    "parameters": [
                        {"name": "q", "in": "query", "style": "deepObject", "schema": {"type": "object",
                         "properties": {"x": {"type": "integer", "example": 1}}, "required": ["x"]}},
                        {"name": "l", "in": "query", "explode": false, "schema": {"type": "array",
                         "items": {"$ref": "#/components/schemas/Node"}}},
                    ],
                    "requestBody": {"required": true, "content": {"multipart/form-data": {"schema": {
                        "allOf": [{"$ref": "#/components/schemas/Node"},
                                  {"oneOf": [{"properties": {"f": {"format": "binary"}}}, {"required": ["v"]}]}]}}}},
                    "responses": {"2XX": {"content": {"application/json": {"schema":
                        {"$ref": "#/components/schemas/Node"}}}}},
                },
            },
        },
        "components": {
            "parameters": {"Id": {"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}},
            "schemas": {"Node": {"type": "object", "required": ["v"], "additionalProperties": {"type": "string"},
                "properties": {"v": {"type": ["string", "null"], "minLength": 1, "enum": ["a", null]},
                    "next": {"$ref": "#/components/schemas/Node", "description": "d"},
                    "n": {"type": "number", "nullable": true, "minimum": 0, "exclusiveMinimum": true,
                          "pattern": "^a", "default": {"$ref": "x"}}}}},
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
        },
    })
}

/// The places of all values within a value.
fn places(value: &Value, at: String, out: &mut Vec<String>) {
    out.push(at.clone());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| places(item, format!("{at}/{n}"), out));
        }
        Value::Object(map) => map.iter().for_each(|(key, item)| {
            places(item, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
        }),
        _ => {}
    }
}

/// Whatever stands anywhere in a document, it becomes tools with schemas that can be used, or reasons.
#[test]
fn anything_in_the_place_of_anything_is_converted_or_refused() {
    let mut all = Vec::new();
    places(&rich(), String::new(), &mut all);
    let circle = json!({"$ref": "#/components/schemas/Node"});
    let strange = [
        json!(null),
        json!([]),
        json!({}),
        json!("x"),
        json!(-1.5),
        json!(true),
        json!([[1]]),
        json!({"$ref": "#/paths"}),
        json!({"allOf": [circle]}),
        json!({"$ref": 1}),
        circle,
    ];
    let options = Options { base_url: Some("http://h".to_owned()), ..Options::default() };
    for place in &all {
        for value in &strange {
            let mut changed = rich();
            *changed.pointer_mut(place).expect("the place is there") = value.clone();
            let Ok(document) = Document::of(changed) else { continue };
            for tool in convert(&document, &options).map(|done| done.tools).unwrap_or_default() {
                for schema in
                    ["inputSchema", "outputSchema"].iter().filter_map(|key| tool.fields.get(*key))
                {
                    let checked = crate::schema::check(&schema.to_string());
                    assert_eq!(checked, Ok(()), "{place} = {value}");
                }
            }
        }
    }
}
