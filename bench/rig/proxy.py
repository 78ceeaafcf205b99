"""Proxies before a registry's socket: one that is far away, one that breaks what passes.

Neither is used where time is measured, but for the delay itself: there they would cost what they measure.
"""

import asyncio
import re
import threading
import time
from dataclasses import dataclass, field

PIECE = 256 * 1024


class Loop:
    """An event loop in a thread of its own, for all proxies."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def listen(self, port: int, handler):
        """Serves connections to `127.0.0.1:port`; gives what closes the listener."""

        async def start():
            return await asyncio.start_server(handler, "127.0.0.1", port, limit=PIECE)

        server = asyncio.run_coroutine_threadsafe(start(), self.loop).result()

        async def close():
            server.close()

        return lambda: asyncio.run_coroutine_threadsafe(close(), self.loop).result()


def far_away(socket: str, round_trip: float):
    """A handler that makes the registry so many seconds of round trip away: half of it each way, and one more before the
    first byte of a connection, as its handshake would take."""

    async def carry(reader, writer, wait: float, first: float):
        late = asyncio.Queue()

        async def deliver():
            while True:
                due, data = await late.get()
                await asyncio.sleep(max(0, due - time.monotonic()))
                if not data:
                    return writer.write_eof()
                writer.write(data)
                await writer.drain()

        delivering = asyncio.ensure_future(deliver())
        while True:
            data = await reader.read(PIECE)
            late.put_nowait((max(time.monotonic() + wait, first), data))
            if not data:
                return await delivering

    async def handle(reader, writer):
        try:
            back_reader, back_writer = await asyncio.open_unix_connection(socket, limit=PIECE)
            first = time.monotonic() + 1.5 * round_trip
            await asyncio.gather(
                carry(reader, back_writer, round_trip / 2, first), carry(back_reader, writer, round_trip / 2, 0)
            )
        except OSError:
            pass  # somebody has hung up: so do both sides
        finally:
            writer.close()

    return handle


@dataclass
class Fault:
    """What one proxy does to one push, once or a few times."""

    name: str
    cut_after: int = 0  # bytes of a body after which the connection is cut, once
    status: int = 0  # answered to so many uploads
    times: int = 0
    retry_after: int = 0
    token_dies: bool = False  # tokens are refused after the first blob
    lifetime: float = 0.0  # seconds after which a token is refused, as it says itself
    rate: float = 0.0  # bytes a second that all bodies together may have
    commit: float = 0.0  # seconds that the answer to the last request of the first large blob takes
    hits: int = 0
    body_bytes: int = 0  # of uploads, all in all


@dataclass
class Request:
    """A request's head."""

    method: str
    path: str
    head: bytes
    length: int
    chunked: bool
    headers: dict = field(default_factory=dict)

    @property
    def is_upload(self) -> bool:
        """Whether it takes part in the upload of a blob."""
        return self.method in ("POST", "PATCH", "PUT") and "/blobs/uploads/" in self.path


class Cut(Exception):
    """The connection ends here."""


class Breaking:
    """An HTTP proxy that knows one fault. Tokens, if there are any, are its own: the registry behind asks for none."""

    def __init__(self, socket: str, fault: Fault, large: int):
        self.socket, self.fault, self.large = socket, fault, large
        self.token, self.valid_from, self.port = 0, 0, 0
        self.issued, self.free = {}, 0.0  # when tokens were given out; when the next piece may pass
        self.blobs = {}  # bytes that a session got, by its path

    async def handle(self, reader, writer):
        """Serves a connection."""
        self.port = writer.get_extra_info("sockname")[1]
        try:
            while await self._one(reader, writer):
                pass
        except Cut:
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _one(self, reader, writer) -> bool:
        """Serves a request; says whether the connection goes on."""
        request = await read_head(reader)
        if request is None:
            return False
        answer = self._answer(request)
        if answer:
            async for _ in self._body(request, reader):
                pass
            if request.method == "HEAD":  # the same head, and no body
                answer = answer[: answer.index(b"\r\n\r\n") + 4]
            writer.write(answer)
            await writer.drain()
            return True
        return await self._forward(request, reader, writer)

    def _answer(self, request: Request) -> bytes:
        """What is answered in place of the registry."""
        if request.path.startswith("/token"):
            self.token += 1
            self.issued[self.token] = time.monotonic()
            return reply(200, '{"token":"t-%d","expires_in":%d}' % (self.token, self.fault.lifetime or 300))
        if (self.fault.token_dies or self.fault.lifetime) and not self._may(request):
            scope = re.match(r"/v2/(.+?)/(?:blobs|manifests|tags)/", request.path)
            wanted = f',scope="repository:{scope[1]}:pull,push"' if scope else ""
            realm = f'Bearer realm="http://127.0.0.1:{self.port}/token",service="bench"{wanted}'
            return reply(401, '{"errors":[{"code":"UNAUTHORIZED","message":"token is expired"}]}', f"WWW-Authenticate: {realm}\r\n")
        if self.fault.status and request.is_upload and self.fault.hits < self.fault.times:
            self.fault.hits += 1
            more = f"Retry-After: {self.fault.retry_after}\r\n" if self.fault.retry_after else ""
            code = "TOOMANYREQUESTS" if self.fault.status == 429 else "UNAVAILABLE"
            return reply(self.fault.status, '{"errors":[{"code":"%s","message":"not now"}]}' % code, more)
        return b""

    def _may(self, request: Request) -> bool:
        """Whether a token is one of those that are good now."""
        given = re.match(r"Bearer t-(\d+)$", request.headers.get("authorization", ""))
        if not given or int(given[1]) <= self.valid_from:
            return False
        if self.fault.lifetime and time.monotonic() - self.issued[1] > self.fault.lifetime:
            self.fault.hits += 1  # the push outlives its first token
        return not self.fault.lifetime or time.monotonic() - self.issued[int(given[1])] < self.fault.lifetime

    async def _body(self, request: Request, reader):
        """The pieces of a request's body as they come, framing and all; counted, and cut where the fault says."""
        passed = 0
        async for piece, payload in body(request, reader):
            passed += payload
            if request.is_upload:
                self.fault.body_bytes += payload
            if self.fault.cut_after and not self.fault.hits and passed >= self.fault.cut_after:
                self.fault.hits += 1
                raise Cut
            if self.fault.rate:
                self.free = max(self.free, time.monotonic()) + payload / self.fault.rate
                await asyncio.sleep(self.free - time.monotonic())
            yield piece
        if request.is_upload:
            session = request.path.split("?")[0]
            self.blobs[session] = self.blobs.get(session, 0) + passed

    async def _forward(self, request: Request, reader, writer) -> bool:
        """Asks the registry."""
        back_reader, back_writer = await asyncio.open_unix_connection(self.socket, limit=PIECE)
        try:
            back_writer.write(request.head)
            async for piece in self._body(request, reader):
                back_writer.write(piece)
                await back_writer.drain()
            head = await back_reader.readuntil(b"\r\n\r\n")
            if request.is_upload and request.method == "PUT":
                await self._committed(request)
            head = re.sub(rb"\r\nConnection: close", b"", head, flags=re.I)
            writer.write(head)
            while data := await back_reader.read(PIECE):
                writer.write(data)
                await writer.drain()
            await writer.drain()
            return True
        finally:
            back_writer.close()

    async def _committed(self, request: Request):
        """A blob is complete: the moment for some faults."""
        size = self.blobs.get(request.path.split("?")[0], 0)
        if self.fault.commit and not self.fault.hits and size >= self.large:
            self.fault.hits += 1
            await asyncio.sleep(self.fault.commit)
        if self.fault.token_dies and not self.fault.hits:
            self.fault.hits += 1
            self.valid_from = self.token


def reply(status: int, text: str, more: str = "") -> bytes:
    """An answer of the proxy's own."""
    head = f"HTTP/1.1 {status} Bench\r\nContent-Type: application/json\r\n{more}Content-Length: {len(text)}\r\n"
    return (head + "Docker-Distribution-Api-Version: registry/2.0\r\n\r\n" + text).encode()


async def read_head(reader):
    """The next request of a connection; None at its end. What concerns this connection alone is left out of the head."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    kept = [line for line in lines if line and line.split(":")[0].lower() not in ("connection", "expect")]
    head = "\r\n".join([first, *kept, "Connection: close", "", ""]).encode("latin-1")
    chunked = "chunked" in headers.get("transfer-encoding", "")
    return Request(method, path, head, int(headers.get("content-length") or 0), chunked, headers)


async def body(request: Request, reader):
    """A body in pieces: the bytes as they came, and how many of them are payload."""
    left = request.length
    while left and not request.chunked:
        piece = await reader.read(min(left, PIECE))
        if not piece:
            raise Cut
        left -= len(piece)
        yield piece, len(piece)
    while request.chunked:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        left = size + 2
        yield line, 0
        while left:
            piece = await reader.read(min(left, PIECE))
            if not piece:
                raise Cut
            left -= len(piece)
            yield piece, len(piece)
        if size == 0:
            return
