# SPDX-License-Identifier: Apache-2.0
"""A server for calls over HTTP, which answers as a test says."""

import http.server
import threading

import pytest


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 200
    daemon_threads = True


@pytest.fixture
def web():
    """web.answer(request) -> (status, headers, body); web.calls: what came, in order."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = (dict(self.headers), body)
            with self.server.lock:
                self.server.calls.append(request)
            answer = self.server.answer(request)
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            status, headers, text = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(text)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.calls, server.lock, server.answer = [], threading.Lock(), lambda request: (200, {}, b"ok")
    server.url = f"http://127.0.0.1:{server.server_port}/events"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
