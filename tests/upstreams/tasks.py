"""An upstream of revision 2026-07-28 whose tools become tasks (extension io.modelcontextprotocol/tasks).

It has the tools that the official conformance suite asks for in its scenarios of tasks, and nothing
else: JSON over POST, no streams.

Usage: tasks.py PORT
"""

import asyncio
import sys
import uuid
from datetime import datetime, timezone

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

REVISION = "2026-07-28"
META = "io.modelcontextprotocol/"
EXTENSION = META + "tasks"
TTL_MS = 600_000
TASKS = {}


class Refusal(Exception):
    """An error of JSON-RPC."""

    def __init__(self, code, message, data=None, status=200):
        super().__init__(message)
        self.error = {"code": code, "message": message} | ({"data": data} if data else {})
        self.status = status


def now():
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def said(text, is_error=False):
    return {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": is_error}


def form(message, field):
    schema = {"type": "object", "properties": {field: {"type": "string"}}, "required": [field]}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


class Task:
    """A call that goes on after it was answered."""

    def __init__(self, work):
        self.id, self.created, self.updated = uuid.uuid4().hex, now(), now()
        self.status, self.end, self.asked, self.answers = "working", {}, {}, {}
        self.answered = asyncio.Event()
        TASKS[self.id] = self
        self.running = asyncio.create_task(self.run(work))

    async def run(self, work):
        try:
            self.settle("completed", {"result": await work(self)})
        except asyncio.CancelledError:
            self.settle("cancelled", {})
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the task's end
            self.settle("failed", {"error": {"code": -32603, "message": str(error)}})

    def settle(self, status, end):
        self.status, self.end, self.updated = status, end, now()

    async def ask(self, requests):
        """Asks the client, and waits until all of it is answered."""
        self.asked = {uuid.uuid4().hex: request for request in requests}
        self.answers, self.status = {}, "input_required"
        self.answered.clear()
        await self.answered.wait()
        self.status = "working"
        return list(self.answers.values())

    def answer(self, responses):
        for key, response in responses.items():
            if self.asked.pop(key, None):
                self.answers[key] = response
        if not self.asked:
            self.answered.set()

    def shown(self):
        asks = {"inputRequests": self.asked} if self.status == "input_required" else {}
        return {
            "taskId": self.id, "status": self.status, "createdAt": self.created,
            "lastUpdatedAt": self.updated, "ttlMs": TTL_MS, "pollIntervalMs": 100,
        } | asks | self.end


async def slow_compute(task, seconds=0, label="", **_):
    await asyncio.sleep(seconds)
    return said(f"computed {label}")


async def failing_job(task, **_):
    return said("the job failed", is_error=True)


async def protocol_error_job(task, **_):
    raise RuntimeError("the job broke")


async def confirm_delete(task, filename="it", **_):
    (answer,) = await task.ask([form(f"Delete {filename}?", "confirm")])
    return said(f"answered: {answer.get('action')}")


async def multi_input(task, **_):
    answers = await task.ask([form("The first?", "first"), form("The second?", "second")])
    return said(f"{len(answers)} answers")


JOBS = {
    "slow_compute": slow_compute, "failing_job": failing_job, "protocol_error_job": protocol_error_job,
    "confirm_delete": confirm_delete, "multi_input": multi_input,
}
METHODS = [
    "server/discover", "tools/list", "tools/call", "tasks/get", "tasks/update", "tasks/cancel",
]
TOOLS = ["greet", *JOBS, "test_tool_with_task"]


def missing():
    required = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    return Refusal(-32021, "Missing required client capability", required, 400)


def call(params, is_declared):
    name, arguments = params.get("name"), params.get("arguments") or {}
    if name == "greet":
        return said(f"Hello, {arguments.get('name')}!")
    if name == "test_tool_with_task":
        return with_questions(params, is_declared)
    if name not in JOBS:
        raise Refusal(-32602, f"Unknown tool: {name}")
    if not is_declared:
        return None if name == "slow_compute" else refuse(missing())
    task = Task(lambda task: JOBS[name](task, **arguments))
    return {"resultType": "task"} | task.shown()


def refuse(refusal):
    raise refusal


def with_questions(params, is_declared):
    if not is_declared:
        raise missing()
    answer = (params.get("inputResponses") or {}).get("user_name")
    if answer is None:
        asks = {"user_name": form("What is your name?", "name")}
        return {"resultType": "input_required", "inputRequests": asks, "requestState": "asked"}
    name = next(iter((answer.get("content") or {"name": "nobody"}).values()))

    async def work(task):
        return said(f"done for {name}")

    return {"resultType": "task"} | Task(work).shown()


def about_task(method, params, is_declared):
    if not is_declared:
        raise missing()
    task = TASKS.get(params.get("taskId"))
    if task is None:
        raise Refusal(-32602, "Unknown task")
    if method == "tasks/get":
        return {"resultType": "complete"} | task.shown()
    if method == "tasks/update":
        task.answer(params.get("inputResponses") or {})
    else:
        task.running.cancel()
    return {"resultType": "complete"}


async def answer(request, message):
    method, params = message["method"], message.get("params") or {}
    meta = params.get("_meta") or {}
    if meta.get(META + "protocolVersion") != REVISION:
        raise Refusal(-32022, "Unsupported protocol version", {"supported": [REVISION]}, 400)
    if method not in METHODS:
        raise Refusal(-32601, f"Method not found: {method}", status=404)
    named = params.get("taskId") or params.get("name")
    heads = {"mcp-method": method} | ({"mcp-name": named} if named else {})
    if any(request.headers.get(name) != value for name, value in heads.items()):
        raise Refusal(-32020, "Header mismatch", status=400)
    declared = meta.get(META + "clientCapabilities") or {}
    is_declared = EXTENSION in (declared.get("extensions") or {})
    hints = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    if method == "server/discover":
        capabilities = {"tools": {}, "extensions": {EXTENSION: {}}}
        return hints | {"supportedVersions": [REVISION], "capabilities": capabilities}
    if method == "tools/list":
        schema = {"type": "object"}
        return hints | {"tools": [{"name": name, "inputSchema": schema} for name in TOOLS]}
    if method == "tools/call":
        arguments = params.get("arguments") or {}
        return call(params, is_declared) or await slow_compute(None, **arguments)
    return about_task(method, params, is_declared)


async def endpoint(request):
    message = await request.json()
    if "id" not in message:
        return JSONResponse(None, status_code=202)
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        return JSONResponse(reply | {"result": await answer(request, message)})
    except Refusal as refusal:
        return JSONResponse(reply | {"error": refusal.error}, status_code=refusal.status)


app = Starlette(routes=[Route("/mcp", endpoint, methods=["POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
