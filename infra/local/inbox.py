"""A webhook receiver that shows what arrives.

    any method on /hook…   is recorded and answered with 204
    GET /received          everything recorded, as a JSON array
    DELETE /received       forgets it
    POST /behaviour        {"status", "delay_ms", "count", "headers"}: answer the next `count` hooks (all, without it) otherwise
    GET /                  a page for people
"""

import argparse
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PAGE = Path(__file__).with_name("inbox.html")
# Enough for every test and demo; a forgotten inbox must not eat the machine's memory.
MOST_RECORDED = 10_000


@dataclass
class Behaviour:
    """How hooks are answered. The default is what a well-behaved receiver does."""

    status: int = 204
    delay_ms: int = 0
    count: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Inbox:
    """What arrived, and how the next one is answered. Shared by the threads of all connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: list[dict[str, Any]] = []
        self._behaviour = Behaviour()

    def record(self, request: dict[str, Any]) -> Behaviour:
        with self._lock:
            self._received = [*self._received, request][-MOST_RECORDED:]
            behaviour = self._behaviour
            if behaviour.count is not None:
                behaviour.count -= 1
                if behaviour.count <= 0:
                    self._behaviour = Behaviour()
            return behaviour

    def received(self) -> list[dict[str, Any]]:
        with self._lock:
            return self._received

    def clear(self) -> None:
        with self._lock:
            self._received = []

    def behave(self, behaviour: Behaviour) -> None:
        with self._lock:
            self._behaviour = behaviour


class Handler(BaseHTTPRequestHandler):
    """Routes of the inbox."""

    protocol_version = "HTTP/1.1"
    # Head and body of an answer leave in two writes; without this the second one waits for the peer's delayed acknowledgement.
    disable_nagle_algorithm = True
    inbox = Inbox()

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        body = self._body()
        match (self.command, url.path):
            case (_, path) if path.startswith("/hook"):
                behaviour = self.inbox.record(self._recorded(path, url.query, body))
                time.sleep(behaviour.delay_ms / 1000)
                self._answer(behaviour.status, headers=behaviour.headers)
            case ("GET", "/received"):
                self._answer(200, json.dumps(self.inbox.received(), ensure_ascii=False), "application/json")
            case ("DELETE", "/received"):
                self.inbox.clear()
                self._answer(204)
            case ("POST", "/behaviour"):
                try:
                    self.inbox.behave(Behaviour(**json.loads(body or "{}")))
                    self._answer(204)
                except (TypeError, ValueError) as error:
                    self._answer(400, json.dumps({"message": str(error)}), "application/json")
            case ("GET", "/"):
                self._answer(200, PAGE.read_text(encoding="utf-8"), "text/html; charset=utf-8")
            case _:
                self._answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def _recorded(self, path: str, query: str, body: str) -> dict[str, Any]:
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = body
        now = datetime.now(timezone.utc)
        return {
            "method": self.command,
            "path": path,
            "query": dict(parse_qsl(query, keep_blank_values=True)),
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": parsed,
            "rawBody": body,
            "rawQuery": query,
            "receivedAt": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }

    def _body(self) -> str:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
        return data.decode("utf-8", errors="replace")

    def _answer(
        self, status: int, body: str = "", content_type: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        data = body.encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if content_type:
            self.send_header("Content-Type", content_type)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: what arrived is on the page, and a log of it would only grow."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="listening socket to serve")
    arguments = parser.parse_args()
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=arguments.fd)
    server.serve_forever()


if __name__ == "__main__":
    main()
