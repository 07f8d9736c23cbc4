"""The reference upstream of the conformance runs: every name that the suite asks for, in both eras.

It serves streamable HTTP on localhost, so that the same suite can run against it directly and
through the gateway; what differs between the two runs is the gateway's doing.

Usage: conformance.py PORT
"""

import asyncio
import base64
import json
import re
import struct
import sys
import zlib
from itertools import count

import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.types import (
    ClientCapabilities,
    EmptyResult,
    SamplingMessage,
    SetLevelRequestParams,
)

INVALID_PARAMS = -32602
MISSING_CAPABILITY = -32021
BUS = InMemorySubscriptionBus()


# ---- pictures and sounds --------------------------------------------------------------------


def png() -> str:
    """One red pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = zlib.compress(b"\x00\xff\x00\x00")
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return base64.b64encode(whole).decode()


def wav() -> str:
    """Two samples of silence, 8 kHz, 16 bit."""
    body = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    body += struct.pack("<4sI", b"data", 4) + bytes(4)
    return base64.b64encode(struct.pack("<4sI4s", b"RIFF", len(body) + 4, b"WAVE") + body).decode()


PNG, WAV = png(), wav()


def text(value: str) -> dict:
    return {"type": "text", "text": value}


def image() -> dict:
    return {"type": "image", "data": PNG, "mimeType": "image/png"}


def embedded(uri: str, mime: str, value: str) -> dict:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": value}}


# ---- questions to the client, as the modern revision puts them into results -------------------


def shape(**properties: str) -> dict:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }


def ask(message: str, **properties: str) -> dict:
    params = {"mode": "form", "message": message, "requestedSchema": shape(**properties)}
    return {"method": "elicitation/create", "params": params}


def sample(prompt: str, tokens: int) -> dict:
    params = {"messages": [{"role": "user", "content": text(prompt)}], "maxTokens": tokens}
    return {"method": "sampling/createMessage", "params": params}


def roots() -> dict:
    return {"method": "roots/list", "params": {}}


def wanted(requests: dict | None = None, state: str | None = None) -> dict:
    result = {"resultType": "input_required"}
    if requests:
        result["inputRequests"] = requests
    if state is not None:
        result["requestState"] = state
    return result


def answers(params) -> dict:
    """The client's answers as plain JSON, keyed as they were asked."""
    given = params.input_responses or {}
    return {
        key: value if isinstance(value, dict) else value.model_dump(by_alias=True, mode="json")
        for key, value in given.items()
    }


def content(answer: dict) -> dict:
    return answer.get("content") or {}


# ---- tools ------------------------------------------------------------------------------------

TOOLS: dict[str, tuple[dict, object]] = {}
PLAIN = {"type": "object", "properties": {}}


def tool(schema: dict = PLAIN):
    def register(function):
        definition = {"name": function.__name__, "description": function.__doc__, "inputSchema": schema}
        TOOLS[function.__name__] = (definition, function)
        return function

    return register


@tool()
async def test_simple_text(ctx, params):
    """Answers one text."""
    return [text("This is a simple text response for testing.")]


@tool()
async def test_image_content(ctx, params):
    """Answers one image."""
    return [image()]


@tool()
async def test_audio_content(ctx, params):
    """Answers one sound."""
    return [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]


@tool()
async def test_embedded_resource(ctx, params):
    """Answers one embedded resource."""
    return [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]


@tool()
async def test_multiple_content_types(ctx, params):
    """Answers a text, an image and a resource."""
    mixed = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return [text("Multiple content types test:"), image(), mixed]


async def log(ctx, value: str) -> None:
    await ctx.session.send_log_message("info", value, related_request_id=ctx.request_id)


@tool()
async def test_tool_with_logging(ctx, params):
    """Logs three times while it works."""
    await log(ctx, "Tool execution started")
    await asyncio.sleep(0.05)
    await log(ctx, "Tool processing data")
    await asyncio.sleep(0.05)
    await log(ctx, "Tool execution completed")
    return [text("logged three times")]


@tool()
async def test_logging_tool(ctx, params):
    """Logs once, if the request asked for logs."""
    await log(ctx, "one line")
    return [text("logged once")]


@tool()
async def test_tool_with_progress(ctx, params):
    """Reports progress three times."""
    for step in (0, 50, 100):
        await ctx.session.report_progress(step, 100, f"{step} of 100")
        await asyncio.sleep(0.05)
    return [text("progress reported")]


@tool()
async def test_error_handling(ctx, params):
    """Always fails."""
    raise ValueError("This tool intentionally returns an error for testing")


@tool(shape(prompt="string"))
async def test_sampling(ctx, params):
    """Asks the client's model (legacy revisions)."""
    message = SamplingMessage.model_validate({"role": "user", "content": text(params.arguments["prompt"])})
    result = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return [text(f"LLM response: {result.content.text}")]


async def elicit(ctx, message: str, schema: dict) -> str:
    result = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"action={result.action}, content={json.dumps(result.content or {})}"


@tool(shape(message="string"))
async def test_elicitation(ctx, params):
    """Asks the client's user (legacy revisions)."""
    outcome = await elicit(ctx, params.arguments["message"], shape(username="string", email="string"))
    return [text(f"User response: {outcome}")]


@tool()
async def test_elicitation_sep1034_defaults(ctx, params):
    """Asks with a default for every primitive type."""
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    outcome = await elicit(ctx, "Who are you?", {"type": "object", "properties": properties})
    return [text(f"Elicitation completed: {outcome}")]


def titled(*values: str) -> list[dict]:
    return [{"const": value, "title": value.title()} for value in values]


@tool()
async def test_elicitation_sep1330_enums(ctx, params):
    """Asks with each of the five shapes of an enumeration."""
    untitled = {"type": "string", "enum": ["option1", "option2", "option3"]}
    legacy = {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]}
    properties = {
        "untitledSingle": untitled,
        "titledSingle": {"type": "string", "oneOf": titled("value1", "value2", "value3")},
        "legacyEnum": legacy,
        "untitledMulti": {"type": "array", "items": untitled},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("value1", "value2")}},
    }
    outcome = await elicit(ctx, "Which of these?", {"type": "object", "properties": properties})
    return [text(f"Elicitation completed: {outcome}")]


SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@tool(SCHEMA_2020_12)
async def json_schema_2020_12_tool(ctx, params):
    """Has a schema that uses what only draft 2020-12 knows."""
    return [text("called")]


@tool({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}})
async def test_x_mcp_header(ctx, params):
    """Wants one argument repeated in a header."""
    return [text(f"region={(params.arguments or {}).get('region')}")]


@tool()
async def test_reconnection(ctx, params):
    """Drops its own stream half-way; the rest must reach the client that resumes it."""
    await log(ctx, "before the stream closed")
    if ctx.close_sse_stream:
        await ctx.close_sse_stream()
    await asyncio.sleep(0.2)
    return [text("resumed")]


@tool()
async def test_missing_capability(ctx, params):
    """Refuses clients that did not declare sampling."""
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        raise MCPError(MISSING_CAPABILITY, "sampling is needed", {"requiredCapabilities": {"sampling": {}}})
    return [text("sampling is declared")]


@tool()
async def test_streaming_elicitation(ctx, params):
    """Asks for a name in its result; nothing but its result may be on the stream."""
    return await test_input_required_result_elicitation(ctx, params)


@tool()
async def test_trigger_tool_change(ctx, params):
    """Says that the list of tools changed."""
    await BUS.publish(ToolsListChanged())
    return [text("published")]


@tool()
async def test_trigger_prompt_change(ctx, params):
    """Says that the list of prompts changed."""
    await BUS.publish(PromptsListChanged())
    return [text("published")]


@tool()
async def test_input_required_result_elicitation(ctx, params):
    """Needs a name."""
    given = answers(params).get("user_name")
    if given is None:
        return wanted({"user_name": ask("What is your name?", name="string")})
    return [text(f"Hello, {content(given).get('name', 'stranger')}!")]


@tool()
async def test_input_required_result_sampling(ctx, params):
    """Needs one answer of the client's model."""
    given = answers(params).get("capital_question")
    if given is None:
        return wanted({"capital_question": sample("What is the capital of France?", 100)})
    return [text(f"The model said: {content(given).get('text')}")]


@tool()
async def test_input_required_result_list_roots(ctx, params):
    """Needs the client's roots."""
    given = answers(params).get("client_roots")
    if given is None:
        return wanted({"client_roots": roots()})
    return [text("roots: " + ", ".join(root["uri"] for root in given.get("roots", [])))]


@tool()
async def test_input_required_result_request_state(ctx, params):
    """Needs its state back, unchanged."""
    if "confirm" in answers(params) and params.request_state == "asked-once":
        return [text("state-ok")]
    return wanted({"confirm": ask("Please confirm", ok="boolean")}, "asked-once")


@tool()
async def test_input_required_result_multiple_inputs(ctx, params):
    """Needs three things at once."""
    questions = {
        "user_name": ask("What is your name?", name="string"),
        "greeting": sample("Generate a greeting", 50),
        "client_roots": roots(),
    }
    if questions.keys() <= answers(params).keys():
        return [text("all three came")]
    return wanted(questions, "three-asked")


@tool()
async def test_input_required_result_multi_round(ctx, params):
    """Needs a name, then a colour."""
    given = answers(params)
    state = json.loads(params.request_state) if params.request_state else {}
    if "name" in state and "step2" in given:
        return [text(f"{state['name']} likes {content(given['step2']).get('color')}")]
    if state.get("asked") == 1 and "step1" in given:
        state = {"asked": 2, "name": content(given["step1"]).get("name")}
        return wanted({"step2": ask("Step 2: What is your favorite color?", color="string")}, json.dumps(state))
    return wanted({"step1": ask("Step 1: What is your name?", name="string")}, json.dumps({"asked": 1}))


@tool()
async def test_input_required_result_tampered_state(ctx, params):
    """Hands out sealed state; the seal is checked before this runs again."""
    if params.request_state is None:
        return wanted({"confirm": ask("Please confirm", ok="boolean")}, "sealed")
    return [text("the seal held")]


@tool()
async def test_input_required_result_capabilities(ctx, params):
    """Asks only for what the client declared."""
    declared = ctx.session.client_capabilities or ClientCapabilities()
    questions = {}
    if declared.sampling is not None:
        questions["sample"] = sample("Say hello", 50)
    if declared.elicitation is not None:
        questions["ask"] = ask("What is your name?", name="string")
    return wanted(questions, "asked")


# ---- prompts ----------------------------------------------------------------------------------

PROMPT_ARGUMENTS = {
    "test_simple_prompt": [],
    "test_prompt_with_arguments": ["arg1", "arg2"],
    "test_prompt_with_embedded_resource": ["resourceUri"],
    "test_prompt_with_image": [],
    "test_input_required_result_prompt": [],
}


def prompt_contents(name: str, arguments: dict, given: dict) -> list[dict]:
    match name:
        case "test_simple_prompt":
            return [text("This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            return [text(f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'")]
        case "test_prompt_with_embedded_resource":
            resource = embedded(arguments["resourceUri"], "text/plain", "Embedded resource content for testing.")
            return [resource, text("Please process the embedded resource above.")]
        case "test_prompt_with_image":
            return [image(), text("Please analyze the image above.")]
        case _:
            return [text(f"Use this context: {content(given['user_context']).get('context')}")]


async def list_prompts(ctx, params):
    prompts = [
        {
            "name": name,
            "description": name.replace("_", " "),
            "arguments": [{"name": argument, "required": True} for argument in arguments],
        }
        for name, arguments in PROMPT_ARGUMENTS.items()
    ]
    return cacheable({"prompts": prompts})


async def get_prompt(ctx, params):
    if params.name not in PROMPT_ARGUMENTS:
        raise MCPError(INVALID_PARAMS, f"Unknown prompt: {params.name}", None)
    arguments = params.arguments or {}
    missing = [name for name in PROMPT_ARGUMENTS[params.name] if name not in arguments]
    if missing:
        raise MCPError(INVALID_PARAMS, f"Missing arguments: {', '.join(missing)}", None)
    given = answers(params)
    if params.name == "test_input_required_result_prompt" and "user_context" not in given:
        return wanted({"user_context": ask("What context should the prompt use?", context="string")})
    messages = [{"role": "user", "content": one} for one in prompt_contents(params.name, arguments, given)]
    return {"messages": messages, "resultType": "complete"}


# ---- resources --------------------------------------------------------------------------------

RESOURCES = {
    "test://static-text": {"mimeType": "text/plain", "text": "This is the content of the static text resource."},
    "test://static-binary": {"mimeType": "image/png", "blob": PNG},
    "test://watched-resource": {"mimeType": "text/plain", "text": "Watched resource content"},
}
# What a tool's result embeds can be read, too, and is on no list.
UNLISTED = {
    "test://embedded-resource": {"mimeType": "text/plain", "text": "This is an embedded resource content."},
}
TEMPLATE = re.compile(r"test://template/([^/]+)/data")


async def list_resources(ctx, params):
    listed = [
        {"uri": uri, "name": uri.removeprefix("test://"), "description": uri, "mimeType": body["mimeType"]}
        for uri, body in RESOURCES.items()
    ]
    return cacheable({"resources": listed})


async def list_templates(ctx, params):
    template = {
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "A resource for each id",
        "mimeType": "application/json",
    }
    return cacheable({"resourceTemplates": [template]})


async def read_resource(ctx, params):
    uri = str(params.uri)
    if match := TEMPLATE.fullmatch(uri):
        body = {"id": match[1], "templateTest": True, "data": f"Data for ID: {match[1]}"}
        return cacheable({"contents": [{"uri": uri, "mimeType": "application/json", "text": json.dumps(body)}]})
    body = RESOURCES.get(uri) or UNLISTED.get(uri)
    if body is None:
        raise MCPError(INVALID_PARAMS, "Resource not found", {"uri": uri})
    return cacheable({"contents": [{"uri": uri} | body]})


# ---- the server -------------------------------------------------------------------------------


def cacheable(result: dict) -> dict:
    return result | {"resultType": "complete", "ttlMs": 1000, "cacheScope": "public"}


async def list_tools(ctx, params):
    return cacheable({"tools": [definition for definition, _ in TOOLS.values()]})


async def call_tool(ctx, params):
    if params.name not in TOOLS:
        raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}", None)
    try:
        result = await TOOLS[params.name][1](ctx, params)
    except (ValueError, KeyError) as failure:
        return {"content": [text(str(failure))], "isError": True, "resultType": "complete"}
    return result if isinstance(result, dict) else {"content": result, "resultType": "complete"}


async def complete(ctx, params):
    values = [value for value in ("paris", "park", "party") if value.startswith(params.argument.value)]
    completion = {"values": values, "total": len(values), "hasMore": False}
    return {"completion": completion, "resultType": "complete"}


async def accept(ctx, params):
    return EmptyResult()


class Events(EventStore):
    """What was sent on each stream, so that a client which lost one can read on."""

    def __init__(self) -> None:
        self.numbers = count(1)
        self.sent: dict[str, tuple[str, object]] = {}

    async def store_event(self, stream_id, message):
        event_id = str(next(self.numbers))
        self.sent[event_id] = (stream_id, message)
        return event_id

    async def replay_events_after(self, last_event_id, send_callback):
        if last_event_id not in self.sent:
            return None
        stream = self.sent[last_event_id][0]
        for event_id, (stream_id, message) in list(self.sent.items()):
            if stream_id == stream and int(event_id) > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, event_id))
        return stream


def server() -> Server:
    made = Server(
        "conformance-upstream",
        version="1.0.0",
        get_tool_input_schema=lambda name: TOOLS[name][0]["inputSchema"] if name in TOOLS else None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=accept,
        on_unsubscribe_resource=accept,
        on_subscriptions_listen=ListenHandler(BUS),
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
    )
    made.add_request_handler("logging/setLevel", SetLevelRequestParams, accept)
    made.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=made.name))
    return made


def main() -> None:
    app = server().streamable_http_app(event_store=Events(), retry_interval=100)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
