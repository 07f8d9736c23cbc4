"use strict";
// Nothing is written as HTML: every text of the document becomes a text node.
const find = (id) => document.getElementById(id);
const root = location.pathname.replace(/\/(docs|redoc)\/?$/, "");
let api = null;

function make(name, fields, ...children) {
  const { className, ...rest } = fields || {};
  const element = document.createElement(name);
  if (className) element.className = className;
  for (const [key, value] of Object.entries(rest)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// The token lives in the input of this page and nowhere else.
function headers() {
  const token = find("token").value.trim();
  return token ? { authorization: "Bearer " + token } : {};
}

async function load() {
  const state = find("state");
  state.textContent = "Loading…";
  let answer;
  try {
    answer = await fetch(root + "/openapi.json", { headers: headers() });
  } catch (error) {
    state.textContent = "The gateway does not answer: " + error.message;
    return;
  }
  if (!answer.ok) {
    const why = { 401: "This document needs a token: paste one above and press Load." };
    state.textContent = why[answer.status] || "The document cannot be read: status " + answer.status;
    if (answer.status === 401) find("token").focus();
    return;
  }
  api = await answer.json();
  find("version").textContent = api.info.version;
  state.textContent = api.info.description || "";
  show();
}

function show() {
  const main = find("operations");
  main.replaceChildren();
  const sections = new Map();
  for (const tag of api.tags) {
    const note = make("span", { className: "soft" }, " " + (tag.description || ""));
    const section = make("section", {}, make("h2", {}, tag.name, note));
    sections.set(tag.name, section);
    main.append(section);
  }
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      sections.get(operation.tags[0]).append(row(path, method, operation));
    }
  }
  filter();
}

function row(path, method, operation) {
  const title = make("summary", {}, make("span", { className: "method " + method }, method), " ",
    make("code", {}, path), make("span", { className: "soft" }, " " + (operation.summary || "")));
  const details = make("details", { className: "operation", id: operation.operationId }, title);
  details.dataset.words = [method, path, operation.summary, operation.operationId].join(" ").toLowerCase();
  once(details, () => details.append(inside(path, method, operation)));
  return details;
}

// Fills a fold when it is first opened: schemas may refer to themselves.
function once(details, fill) {
  details.addEventListener("toggle", fill, { once: true });
}

function inside(path, method, operation) {
  const body = operation.requestBody?.content["application/json"]?.schema;
  const part = make("div", {}, operation.description ? make("p", {}, operation.description) : null);
  part.append(trial(path, method, operation, body));
  if (body) part.append(make("h3", {}, "Body"), tree(body));
  part.append(make("h3", {}, "Answers"));
  for (const [status, answer] of Object.entries(operation.responses)) part.append(response(status, answer));
  return part;
}

function response(status, answer) {
  const title = make("summary", {}, make("strong", {}, status), " " + answer.description);
  const kinds = Object.entries(answer.content || {});
  if (!kinds.length) return make("div", {}, ...title.childNodes);
  const details = make("details", {}, title);
  once(details, () => {
    for (const [kind, { schema }] of kinds) details.append(make("div", { className: "soft" }, kind), tree(schema));
  });
  return details;
}

function resolve(schema) {
  const name = typeof schema === "object" && schema.$ref?.split("/").pop();
  return name ? { ...api.components.schemas[name], title: name } : schema;
}

function typeOf(schema) {
  if (schema === true || !schema) return "anything";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((word) => JSON.stringify(word)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const either = schema.anyOf || schema.oneOf;
  if (either) return either.map(typeOf).join(" | ");
  if (schema.type === "array") return "list of " + typeOf(schema.items);
  const bounds = ["format", "minLength", "maxLength", "minimum", "maximum", "maxItems"]
    .filter((name) => name in schema).map((name) => (name === "format" ? "" : name + " ") + schema[name]);
  const type = [].concat(schema.type || "anything").join(" | ");
  return bounds.length ? type + " (" + bounds.join(", ") + ")" : type;
}

// The parts of a schema that can be folded out: itself, what it lists, or each of its forms.
function parts(schema) {
  const whole = resolve(schema);
  if (!whole || whole === true) return [];
  if (whole.properties) return [whole];
  if (whole.type === "array") return parts(whole.items);
  return (whole.anyOf || whole.oneOf || []).flatMap(parts);
}

function tree(schema) {
  const inner = parts(schema);
  const box = make("div", {}, make("code", {}, typeOf(schema)));
  for (const part of inner) {
    if (inner.length > 1) box.append(make("div", { className: "soft" }, part.title || "or"));
    const items = Object.entries(part.properties).map(([name, field]) => property(name, field, part.required || []));
    box.append(make("ul", {}, ...items));
  }
  return box;
}

function property(name, field, required) {
  const note = resolve(field).description;
  const title = [make("code", {}, name), make("span", { className: "soft" },
    " " + typeOf(field) + (required.includes(name) ? ", required" : "")), note ? " " + note : null];
  if (!parts(field).length) return make("li", {}, ...title);
  const details = make("details", {}, make("summary", {}, ...title));
  once(details, () => details.append(tree(field)));
  return make("li", {}, details);
}

// A form with an input for each parameter, which sends the request and shows the answer.
function trial(path, method, operation, body) {
  const form = make("form", { className: "try" });
  const inputs = operation.parameters.map((parameter) => {
    const id = operation.operationId + "-" + parameter.name;
    const input = entry(parameter.schema);
    input.id = id;
    if (parameter.required) input.required = true;
    const mark = parameter.required ? " (required)" : "";
    form.append(make("label", { for: id, title: parameter.description || "" }, parameter.name + mark), input);
    return [parameter, input];
  });
  const text = body ? make("textarea", { id: operation.operationId + "-body", spellcheck: "false", className: "wide" }) : null;
  if (text) {
    text.value = JSON.stringify(example(body), null, 2);
    form.append(make("label", { for: text.id, className: "wide" }, "Body"), text);
  }
  const result = make("div", { className: "wide", role: "status" });
  form.append(make("button", {}, "Send"), result);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(path, method, inputs, text, result);
  });
  return form;
}

function entry(schema) {
  const words = schema.type === "boolean" ? ["true", "false"] : schema.enum;
  if (!words) return make("input", { type: schema.type === "integer" ? "number" : "text", autocomplete: "off" });
  const options = words.map((word) => make("option", {}, word));
  return make("select", {}, make("option", { value: "" }, "—"), ...options);
}

// The required fields of a body, to begin with.
function example(schema) {
  const [part] = parts(schema);
  if (!part) return {};
  const names = part.required || [];
  return Object.fromEntries(names.map((name) => [name, part.properties[name]?.enum?.[0] ?? part.properties[name]?.const ?? ""]));
}

async function send(path, method, inputs, text, result) {
  const query = new URLSearchParams();
  const sent = headers();
  let target = path;
  for (const [parameter, { value }] of inputs) {
    if (value === "") continue;
    if (parameter.in === "path") target = target.replace("{" + parameter.name + "}", encodeURIComponent(value));
    else if (parameter.in === "query") query.set(parameter.name, value);
    else sent[parameter.name] = value;
  }
  if (text) sent["content-type"] = "application/json";
  const url = root + target + (query.size ? "?" + query : "");
  try {
    const answer = await fetch(url, { method: method.toUpperCase(), headers: sent, body: text?.value });
    let body = await answer.text();
    try { body = JSON.stringify(JSON.parse(body), null, 2); } catch { /* It is shown as it came. */ }
    const line = make("p", {}, make("strong", {}, answer.status + " "), method.toUpperCase() + " " + url);
    result.replaceChildren(line, make("pre", { tabindex: "0" }, body));
  } catch (error) {
    result.replaceChildren("No answer: " + error.message);
  }
}

function filter() {
  const words = find("filter").value.toLowerCase().split(/\s+/);
  for (const row of document.querySelectorAll("details.operation")) {
    row.hidden = !words.every((word) => row.dataset.words.includes(word));
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector("details.operation:not([hidden])");
  }
}

find("authorize").addEventListener("submit", (event) => { event.preventDefault(); load(); });
find("search").addEventListener("submit", (event) => event.preventDefault());
find("filter").addEventListener("input", filter);
load();
