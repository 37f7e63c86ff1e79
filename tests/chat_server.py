"""A local HTTP server that speaks the chat completions API, answering from a script."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """One HTTP response: a status, a body (JSON or text) and headers."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


Rule = Callable[[dict[str, Any]], Answer]  # what a server answers to a request's body


def completion(
    text: str | None, finish: str = "stop", usage: bool | dict[str, Any] = True
) -> Answer:
    """A chat completion with one choice; `usage` False leaves the token counts out."""
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "test",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish,
            }
        ],
    }
    counts = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    if usage is not False:
        body["usage"] = counts if usage is True else usage
    return Answer(body=body)


def failure(status: int, message: str) -> Answer:
    """An error as OpenAI words it; retried ones at once, so that tests need not wait."""
    return Answer(status, {"error": {"message": message, "type": "x"}}, {"retry-after-ms": "1"})


def refusal(message: str, param: str | None = None, code: str = "unsupported_value") -> Answer:
    """A request that is not understood, as OpenAI words it."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return Answer(400, {"error": error})


@dataclass
class ChatServer:
    """`requests` are the bodies received, `keys` their Authorization headers."""

    url: str
    requests: list[dict[str, Any]]
    keys: list[str]


@contextmanager
def chat_server(*answers: Answer | Rule) -> Iterator[ChatServer]:
    """Serves `answers` in order, the last one again and again; a rule looks at the request."""
    script = list(answers)
    requests: list[dict[str, Any]] = []
    keys: list[str] = []
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            request = json.loads(self.rfile.read(length))
            with turn:  # several may ask at once
                requests.append(request)
                keys.append(self.headers.get("Authorization", ""))
                given = script.pop(0) if len(script) > 1 else script[0]
            answer = given if isinstance(given, Answer) else given(request)
            if self.path != "/v1/chat/completions":
                answer = failure(404, f"no such path {self.path}")
            is_text = isinstance(answer.body, str)
            body = answer.body if is_text else json.dumps(answer.body)
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/html" if is_text else "application/json")
            self.send_header("Content-Length", str(len(body.encode())))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who asked was killed
                self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ChatServer(f"http://127.0.0.1:{server.server_port}/v1", requests, keys)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
