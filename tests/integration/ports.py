# SPDX-License-Identifier: Apache-2.0
"""Free ports of the loopback for servers. Not from the range that outgoing connections are given theirs from: between
asking for a port and a server's use of it some client could have it."""

import random
import socket

RANGE = range(20000, 32000)


def free_ports(count):
    sockets = []
    for port in random.SystemRandom().sample(RANGE, len(RANGE)):
        if len(sockets) == count:
            break
        try:
            sockets.append(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    assert len(ports) == count, "no free port on the loopback"
    return ports


def free_port():
    return free_ports(1)[0]
