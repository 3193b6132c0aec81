# SPDX-License-Identifier: Apache-2.0
"""A small TCP proxy that misbehaves on demand: it delays, cuts, closes one half, stalls, or reads slowly."""

import select
import socket
import threading
import time


class Proxy:
    def __init__(self, target, port=0):
        self.target = target
        self.delay = 0.0  # seconds, before each piece is passed on
        self.slow = None  # bytes a second, or None: as fast as it goes
        self.is_stalled = False  # nothing is passed on, nothing is closed
        self.refuses = False  # new connections are closed at once
        self.connections, self.lock, self.is_closed = [], threading.Lock(), False
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.accepted = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                if self.refuses:
                    raise OSError("refused")
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections.append((client, server))
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, source, sink):
        try:
            while not self.is_closed:
                if self.is_stalled or not select.select([source], [], [], 0.05)[0]:
                    if self.is_stalled:
                        time.sleep(0.01)
                    continue
                data = source.recv(65536 if self.slow is None else 1024)
                if self.delay:
                    time.sleep(self.delay)
                while self.is_stalled and not self.is_closed:
                    time.sleep(0.01)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
                if self.slow:
                    time.sleep(len(data) / self.slow)
        except (OSError, ValueError):
            for end in (source, sink):
                end.close()

    def cut(self):
        """Every connection ends at once, in the middle of whatever was on its way. Returns how many there were."""
        with self.lock:
            cut, self.connections = self.connections, []
        for pair in cut:
            for end in pair:
                try:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()
        return len(cut)

    def half_close(self):
        """The client's side is told that nothing more will come; what it sends still goes through."""
        with self.lock:
            for client, _ in self.connections:
                try:
                    client.shutdown(socket.SHUT_WR)
                except OSError:
                    pass

    def close(self):
        self.is_closed = True
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which would keep the port
        self.listener.close()
        self.cut()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
