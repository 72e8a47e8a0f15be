"""A server on loopback that does what it is told, mostly wrong; and the real one of llama-cpp-python."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Step = Callable[["Handler"], None]
MODELS = {"object": "list", "data": [{"id": "tiny", "object": "model"}]}
BETWEEN_PINGS = 0.02
PATIENCE = 10.0
"""Seconds after which a step that waits for the client gives up: a defect fails a test, but does not hang it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class Faults:
    """Each question put to the server takes the next of ``steps``; the last one is repeated.

    ``known``: what else the server has, by path: a JSON value, or a function of the request's body, or :func:`drip`.
    """

    steps: list[Step] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=lambda: {"/v1/models": MODELS})
    requests: list[Request] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    @property
    def questions(self) -> list[Request]:
        return [request for request in self.requests if request.path.endswith("completions")]


class Handler(BaseHTTPRequestHandler):
    """One request. HTTP/1.0: a body ends where the connection does."""

    server: FaultServer

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def answer(self, body: Any) -> None:
        faults = self.server.faults
        faults.requests.append(
            Request(method=self.command, path=self.path, headers=dict(self.headers.items()), body=body)
        )
        if self.path in faults.known:
            found = faults.known[self.path]
            if found is drip:
                drip(self)
            else:
                reply(self, 200, found(body) if callable(found) else found)
        elif self.path.endswith("completions") and faults.steps:
            step = faults.steps[0] if len(faults.steps) == 1 else faults.steps.pop(0)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                step(self)
        else:
            reply(self, 404, {"error": {"message": "no such path"}})

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


class FaultServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults = faults
        faults.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def fault_server() -> Iterator[Faults]:
    faults = Faults()
    server = FaultServer(faults)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(handler: Handler, status: int, value: Any, **headers: str) -> None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    handler.send_response(status)
    for name, text in headers.items():
        handler.send_header(name.replace("_", "-"), text)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def refuse(status: int, message: Any = "no", **headers: str) -> Step:
    """An error as OpenAI's API writes it."""
    return lambda handler: reply(handler, status, {"error": {"message": message}}, **headers)


def plain(value: Any) -> Step:
    """A successful answer that is no stream."""
    return lambda handler: reply(handler, 200, value)


def events(*data: str, then: Step | None = None) -> Step:
    """A stream of these events, and what comes of it then; it just ends when nothing is said."""

    def step(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        for text in data:
            handler.wfile.write(f"data: {text}\n\n".encode())
        handler.wfile.flush()
        if then is not None:
            then(handler)

    return step


def chunk(text: str = "", finish: str | None = None, **more: Any) -> str:
    """An event with a piece of an answer, as both kinds of completions have it."""
    return json.dumps({"choices": [{"text": text, "delta": {"content": text}, "finish_reason": finish}], **more})


def said(*pieces: str, finish: str = "stop", **usage: Any) -> Step:
    """A whole answer."""
    counted = [json.dumps({"choices": [], "usage": usage})] if usage else []
    return events(*map(chunk, pieces), chunk(finish=finish), *counted, "[DONE]")


def reset(handler: Handler) -> None:
    """Break the connection."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def ping_on(handler: Handler) -> None:
    """Keep the connection open and say nothing, until the client goes."""
    end = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end:
            handler.wfile.write(b": ping\n\n")
            time.sleep(BETWEEN_PINGS)
    except OSError:
        handler.server.faults.left.set()


def drip(handler: Handler, status: int = 200) -> None:
    """A body that never ends, a space at a time, until the client goes."""
    handler.send_response(status)
    handler.end_headers()
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(OSError):
        while time.monotonic() < end:
            handler.wfile.write(b" ")
            time.sleep(BETWEEN_PINGS)


def refuse_slowly(handler: Handler) -> None:
    """A refusal whose reason never ends."""
    drip(handler, 503)


def wait_on(handler: Handler) -> None:
    """Keep the connection open without a byte, until the client goes."""
    handler.connection.settimeout(PATIENCE)
    with contextlib.suppress(OSError):
        if handler.connection.recv(1) == b"":
            handler.server.faults.left.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class RealServer:
    url: str
    log: Path


@contextmanager
def llama_cpp_server(model: Path, folder: Path, window: int) -> Iterator[RealServer]:
    """llama-cpp-python's own server in a process of its own, with what it prints in a file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "server.log"
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", str(window)]
    command += ["--n_threads", "1", "--n_threads_batch", "1"]  # two would wait for each other on a busy machine
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/v1/models", process, log)
        yield RealServer(url=url, log=log)
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        with contextlib.suppress(OSError), direct.open(url, timeout=5):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")
