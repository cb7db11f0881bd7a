"""A server on this machine that breaks off and misbehaves, for tests of downloads."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from mtcil.audio import download
from mtcil.audio.provide import fetch
from mtcil.audio.source import Source
from mtcil.core.errors import UserError

CONTENT = np.random.default_rng(0).bytes(700_000)


class Server(ThreadingHTTPServer):
    """Serves `content` at /data.tar.gz; notes the requests; can break off and misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag: str | None = '"one"'
        self.modified: str | None = None
        self.break_after: list[int] = []  # bytes of each of the next answers
        self.statuses: list[int] = []  # of the next answers, before any other
        self.takes_ranges = True
        self.encoding: str | None = None
        self.redirect: str | None = None
        self.requests: list[dict[str, str]] = []

    def source(self, content: bytes = CONTENT, path: str = "data.tar.gz") -> Source:
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        url = f"http://127.0.0.1:{self.server_port}/{path}"
        return Source(url, "data.tar.gz", len(content), f"md5:{digest}", "free", "nobody")


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, dict(self.headers)
        server.requests.append(asked)
        start = 0
        if server.statuses:
            return self.send_error(server.statuses.pop(0))
        if self.path != "/data.tar.gz":
            return self.send_error(404)
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            return self.end_headers()
        fresh = asked.get("If-Range") in (server.etag, server.modified)
        if "Range" in asked and server.takes_ranges and fresh:
            start = int(asked["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                return self.end_headers()
        self.answer(start)

    def answer(self, start: int) -> None:
        server, body = self.server, self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        total = len(server.content)
        headers = {
            "Content-Range": f"bytes {start}-{total - 1}/{total}" if start else None,
            "ETag": server.etag,
            "Last-Modified": server.modified,
            "Content-Encoding": server.encoding,
        }
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: server.break_after.pop(0)] if server.break_after else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def break_off(server: Server, tmp_path, n_bytes: int) -> None:
    """A first run that ends, as if killed, when `n_bytes` have come."""
    server.break_after = [n_bytes]
    server.statuses = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "_is_temporary", lambda error: False)
        with pytest.raises(UserError, match="The part that has arrived is kept"):
            fetch(server.source(), tmp_path / "out", tmp_path / "partial")
    assert not (tmp_path / "out").exists()
