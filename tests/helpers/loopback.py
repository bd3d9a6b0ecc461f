"""A web server and a hub on this machine, with faults on request: no test needs a network."""

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Site:
    """What is served. ``faults[path]`` is a list: each GET of the path uses up its first entry.

    Faults: "half" (connection cut after half the bytes), "stall" (half, then silence), "garbled"
    (wrong bytes), a status such as 404 or 500, and "to:/other" (a redirect).
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str | int]] = defaultdict(list)
        self.repositories: dict[tuple[str, str], dict[str, bytes]] = {}
        self.requests: list[str] = []
        self.stall_seconds = 5.0
        self.url = ""

    def repository(self, name: str, files: dict[str, bytes], revision: str = "main") -> None:
        """Serve a data set repository as the hub does."""
        self.repositories[name, revision] = files
        for path, data in files.items():
            for at in (revision, COMMIT):
                self.files[f"/datasets/{name}/resolve/{at}/{path}"] = data

    def api(self, path: str) -> bytes | None:
        """The answer of the hub's interface, None where the path is none of it."""
        for (name, revision), files in self.repositories.items():
            if path == f"/api/datasets/{name}/revision/{revision}":
                siblings = [
                    {
                        "rfilename": file,
                        "size": len(data),
                        "blobId": hashlib.sha1(data).hexdigest(),
                        "lfs": {
                            "sha256": hashlib.sha256(data).hexdigest(),
                            "size": len(data),
                            "pointerSize": 1,
                        },
                    }
                    for file, data in files.items()
                ]
                return json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode()
        return None


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.site.requests.append(f"{self.command} {path}")
        queue = self.site.faults[path]
        fault = queue.pop(0) if body and queue else None
        if isinstance(fault, int):
            self.send_error(fault)
            return
        if isinstance(fault, str) and fault.startswith("to:"):
            self.send_response(302)
            self.send_header("Location", fault[3:])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.site.api(path)
        if data is None:
            data = self.site.files.get(path)
        if data is None:
            self.send_error(404)
            return
        if fault == "garbled":
            data = bytes(255 - byte for byte in data)
        start = 0
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and wanted.endswith("-"):
            start = int(wanted[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.end_headers()
        if not body:
            return
        rest = data[start:]
        if fault in ("half", "stall"):
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            if fault == "stall":
                threading.Event().wait(self.site.stall_seconds)
            self.close_connection = True
            return
        self.wfile.write(rest)


@contextmanager
def serving() -> Iterator[Site]:
    """A site that is up while the block runs."""
    site = Site()
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
