"""A server on this machine that answers as a good one, and as each kind of bad one."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tinygrad_nlp.text.download import Source

BODY = bytes(range(256)) * 700  # several chunks


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says, `/good` or `/wrong`, `/moved` or `/cut`; a path of no such name is a 404."""

    def do_GET(self):
        asked, what = self.server.asked, self.path.lstrip("/")
        asked.append(what)
        cut = what in ("cut", "stall") or (what == "cut-once" and asked.count(what) == 1)
        bodies = {"short": BODY[:-1], "long": BODY * 3, "wrong": BODY[::-1]}
        bodies |= dict.fromkeys(("good", "cut", "cut-once", "stall"), BODY)
        moved = {
            "moved": "/good",
            "to-file": "file:///etc/hostname",
            "to-ftp": "ftp://127.0.0.1:9/x",
            "circle": "/circle",
        }
        if what in moved:
            self.send_response(302)
            self.send_header("Location", moved[what])
            self.end_headers()
        elif what in bodies:
            self.send_response(200)
            self.send_header("Content-Length", str(len(bodies[what])))
            self.end_headers()
            self.wfile.write(bodies[what][: 100_000 if cut else None])
            if what == "stall":
                self.wfile.flush()
                self.server.over.wait(5)
        elif what == "endless":
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                for _ in range(500):
                    self.wfile.write(BODY)
                    asked.append("and more")
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    """(address, what was asked for) of a server that runs within the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.over = [], threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.asked
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def source(url, path="folder/file.bin"):
    """A file of the right size and hash that is said to be at this address."""
    return Source(path, len(BODY), hashlib.sha256(BODY).hexdigest(), url)
