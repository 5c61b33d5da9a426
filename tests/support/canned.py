"""The web view's page with a feed of made-up frames behind it, for what no lab of a test is large enough."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from labctl.live.frame import Frame
from labctl.live.page import page
from labctl.store.codec import to_line

_HELLO = '{"lab": "canned", "curves": {}, "events": []}'


@contextmanager
def canned(frame: Frame) -> Iterator[str]:
    """The address of a page that is shown `frame`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            feed = f"event: hello\ndata: {_HELLO}\n\nevent: frame\ndata: {to_line(frame)}\n\n"
            body, kind = (page().html, "text/html") if self.path == "/" else (feed, "text/event-stream")
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Security-Policy", page().policy)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
