"""A reverse proxy from one loopback port to the HTTP API inside ministack.

ministack tells its APIs apart by the host name `<apiId>.execute-api.localhost`, which not every HTTP client resolves. This proxy adds
that `Host` header and otherwise changes nothing: method, path and query go through as they came, the answer is streamed.
Each request has a connection of its own to ministack, so a request is never sent twice because an idle connection had died.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

HEAD_LIMIT = 64 * 1024
# More than the 10 MB that the real HTTP API takes, so that its own refusal is what the caller sees.
BODY_LIMIT = 16 * 1024 * 1024
CHUNK = 64 * 1024
# These belong to one connection, not to the message (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    ("connection", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)

# These the proxy sets itself.
REPLACED = frozenset(("content-length", "x-forwarded-host", "x-forwarded-proto"))


class Refused(Exception):
    """A request that is answered by the proxy itself."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Head:
    """First line and headers of a request or an answer."""

    line: str
    headers: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def passed_on(self) -> list[tuple[str, str]]:
        named = {token.strip().lower() for token in (self.get("connection") or "").split(",")}
        return [(key, value) for key, value in self.headers if key.lower() not in HOP_BY_HOP | named]

    def encode(self) -> bytes:
        lines = [self.line, *(f"{key}: {value}" for key, value in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head, or None if the other side closed the connection instead."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise Refused("400 Bad Request", "the request ends within its headers") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise Refused("431 Request Header Fields Too Large", "the headers are too long") from error
    line, *rest = raw.decode("latin-1").strip("\r\n").split("\r\n")
    head = Head(line)
    for item in rest:
        name, colon, value = item.partition(":")
        if not colon or not name or name != name.strip():
            raise Refused("400 Bad Request", "malformed header")
        head.headers.append((name, value.strip()))
    return head


async def read_body(head: Head, reader: asyncio.StreamReader) -> bytes:
    """The whole body of a request: the functions behind the API see it whole, too."""
    if "chunked" in (head.get("transfer-encoding") or "").lower():
        body = bytearray()
        while size := _number((await reader.readuntil(b"\r\n")).split(b";")[0].decode("latin-1"), base=16):
            if len(body) + size > BODY_LIMIT:
                raise Refused("413 Content Too Large", "the body is too long")
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return bytes(body)
    length = _number(head.get("content-length") or "0")
    if length > BODY_LIMIT:
        raise Refused("413 Content Too Large", "the body is too long")
    return await reader.readexactly(length)


def _number(text: str, base: int = 10) -> int:
    text = text.strip()
    if not text.isalnum():
        raise Refused("400 Bad Request", "malformed length")
    try:
        return int(text, base)
    except ValueError as error:
        raise Refused("400 Bad Request", "malformed length") from error


class FrontDoor:
    """Forwards to whatever the upstream file names; `up` writes that file once the API exists."""

    def __init__(self, upstream_file: Path) -> None:
        self._file = upstream_file
        self._seen = 0
        self._upstream: dict[str, str | int] = {}

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """One connection of a client: requests one after the other until one side has enough."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            try:
                while await self._exchange(client, answer):
                    pass
            except Refused as refused:
                await _refuse(answer, refused.status, "bad_request", str(refused))
        answer.close()

    async def _exchange(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> bool:
        """One request. True if the connection can be used for another one."""
        request = await read_head(client)
        if request is None:
            return False
        if len(request.line.split(" ")) != 3:
            raise Refused("400 Bad Request", "malformed request line")
        method, target, version = request.line.split(" ")
        if (request.get("expect") or "").lower() == "100-continue":
            answer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await read_body(request, client)
        keep = version == "HTTP/1.1" and (request.get("connection") or "").lower() != "close"

        upstream = self._current_upstream()
        try:
            if not upstream:
                raise ConnectionRefusedError("the API is not deployed yet")
            reader, writer = await asyncio.open_connection(str(upstream["host"]), int(upstream["port"]), limit=HEAD_LIMIT)
        except OSError as error:
            await _refuse(answer, "502 Bad Gateway", "local_cloud_away", f"The local cloud does not answer: {error}", keep)
            return keep
        try:
            headers = [("Host", str(upstream["api_host"])), ("Connection", "close"), *request.passed_on()]
            headers = [(key, value) for key, value in headers if key.lower() not in REPLACED]
            headers += [("X-Forwarded-Host", request.get("host") or ""), ("X-Forwarded-Proto", "http")]
            if body or method not in ("GET", "HEAD", "OPTIONS"):
                headers.append(("Content-Length", str(len(body))))
            # With the stage in front, or ministack would take the first part of the path for one and drop a slash behind it.
            writer.write(Head(f"{method} /$default{target} HTTP/1.1", headers).encode() + body)
            response = await self._response_head(reader)
            if response is None:
                await _refuse(answer, "502 Bad Gateway", "local_cloud_away", "The local cloud closed the connection.", keep)
                return keep
            return await _stream(method, response, reader, answer, keep)
        finally:
            writer.close()

    @staticmethod
    async def _response_head(reader: asyncio.StreamReader) -> Head | None:
        try:
            while (head := await read_head(reader)) is not None and head.line.split(" ")[1].startswith("1"):
                pass
            return head
        except (ConnectionError, Refused):
            return None

    def _current_upstream(self) -> dict[str, str | int]:
        with contextlib.suppress(FileNotFoundError):
            changed = os.stat(self._file).st_mtime_ns
            if changed != self._seen:
                self._upstream = json.loads(self._file.read_text(encoding="utf-8"))
                self._seen = changed
        return self._upstream


async def _stream(
    method: str, response: Head, reader: asyncio.StreamReader, answer: asyncio.StreamWriter, keep: bool
) -> bool:
    """Passes an answer on. False if the connection to the client ends with it."""
    status = response.line.split(" ")[1]
    length = response.get("content-length")
    empty = method == "HEAD" or status in ("204", "304")
    chunked = not empty and "chunked" in (response.get("transfer-encoding") or "").lower()
    # An answer without a length ends with its connection, so that connection cannot be kept.
    keep = keep and (empty or chunked or length is not None)
    headers = [*response.passed_on(), ("Connection", "keep-alive" if keep else "close")]
    if chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    answer.write(Head(response.line, headers).encode())

    missing = 0 if empty else int(length) if length is not None else None
    tail = b""
    while missing != 0:
        data = await reader.read(CHUNK if missing is None else min(CHUNK, missing))
        if not data:
            break
        missing = None if missing is None else missing - len(data)
        tail = (tail + data)[-5:]
        answer.write(data)
        await answer.drain()
    await answer.drain()
    # A truncated answer must not look complete, so the client's connection breaks off, too.
    return keep and not missing and not (chunked and tail != b"0\r\n\r\n")


async def _refuse(answer: asyncio.StreamWriter, status: str, code: str, message: str, keep: bool = False) -> None:
    """An answer in the shape of the product's own errors."""
    error = {"code": code, "message": message, "retryable": status.startswith("5"), "hint": None, "commandId": None}
    body = json.dumps(error).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    headers.append(("Connection", "keep-alive" if keep else "close"))
    answer.write(Head(f"HTTP/1.1 {status}", headers).encode() + body)
    await answer.drain()


async def run(server: socket.socket, upstream_file: Path) -> None:
    door = FrontDoor(upstream_file)
    listener = await asyncio.start_server(door.serve, sock=server, limit=HEAD_LIMIT)
    await listener.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="listening socket to serve")
    parser.add_argument("--upstream", type=Path, required=True, help="JSON file with host, port, api_host")
    arguments = parser.parse_args()
    asyncio.run(run(socket.socket(fileno=arguments.fd), arguments.upstream))


if __name__ == "__main__":
    main()
