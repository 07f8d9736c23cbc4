"""A stdio MCP server that misbehaves when told to; it needs nothing but Python.

Usage: wayward.py [--stubborn] [--noisy]. Stubborn: end of input and SIGTERM are ignored, only
SIGKILL helps. Noisy: it logs to both streams, where standard output is for the protocol alone.

Tools: pid (answers its process id), die (exits without an answer), echo (answers its arguments),
environment (answers the names of its environment variables).
"""

import json
import os
import signal
import sys

STUBBORN = "--stubborn" in sys.argv
NOISY = "--noisy" in sys.argv
TOOLS = ["pid", "die", "echo", "environment"]


def initialize(_params):
    return {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "wayward", "version": "1.0.0"},
    }


def list_tools(_params):
    schema = {"type": "object", "additionalProperties": True}
    return {"tools": [{"name": name, "description": name, "inputSchema": schema} for name in TOOLS]}


def call(params):
    name = params["name"]
    if name == "die":
        os._exit(3)
    values = {"pid": os.getpid(), "environment": sorted(os.environ), "echo": params.get("arguments")}
    value = values[name]
    return {"content": [{"type": "text", "text": json.dumps(value)}], "structuredContent": {"value": value}}


METHODS = {"initialize": initialize, "tools/list": list_tools, "tools/call": call, "ping": lambda _: {}}


def answer(message):
    method = METHODS.get(message["method"])
    if method is None:
        return {"error": {"code": -32601, "message": "Method not found"}}
    return {"result": method(message.get("params") or {})}


def main():
    if STUBBORN:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        message = json.loads(line)
        if NOISY:
            print("this line is no JSON")
            print("a line for the log", file=sys.stderr)
        if "id" in message and "method" in message:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"]} | answer(message)), flush=True)
    while STUBBORN:
        signal.pause()


main()
