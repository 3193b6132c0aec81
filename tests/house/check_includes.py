#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The include rules of ARCHITECTURE.md, checked.

    base <- core <- codec <- store <- source, broker, inbox, handler <- pattern <- config <- server <- cmd

A layer includes itself and what stands left of it. `source`, `broker`, `inbox` and `handler` do not include each other,
and of `store` they see the contract only. `client` is what an application links: base, core and codec. `library` is a whole consumer for an application: all up to
config.

    check_includes.py [ROOT]     prints FILE:LINE: what is wrong, one a line; exit status 1 if there is any
"""

import pathlib
import re
import sys

LAYERS = {
    "base": {"base"},
    "core": {"base", "core"},
    "codec": {"base", "core", "codec"},
    "store": {"base", "core", "codec", "store"},
    "source": {"base", "core", "codec", "source"},
    "broker": {"base", "core", "codec", "broker"},
    "inbox": {"base", "core", "codec", "inbox"},
    "handler": {"base", "core", "codec", "handler"},
    "pattern": {"base", "core", "codec", "store", "source", "broker", "inbox", "handler", "pattern"},
    "config": {"base", "core", "codec", "store", "source", "broker", "inbox", "handler", "pattern", "config"},
    "server": {"base", "core", "codec", "store", "source", "broker", "inbox", "handler", "pattern", "config", "server"},
    "cmd": {"base", "core", "codec", "store", "source", "broker", "inbox", "handler", "pattern", "config", "server", "cmd"},
    "client": {"base", "core", "codec", "client"},
    "library": {"base", "core", "codec", "store", "source", "broker", "inbox", "handler", "pattern", "config", "library"},
}

# Single headers that a layer may include beyond its layers.
SINGLE = {
    "source": {"store/store.h", "store/migrate.h", "store/postgres.h"},
    "broker": {"store/store.h", "store/migrate.h"},
    "inbox": {"store/store.h"},
    "handler": {"store/store.h"},
}

# Written by sql/embed.py at build time: the statements in sql/.
GENERATED = {"sql.h": {"store", "source", "broker", "inbox", "cmd", "client"}}

# Libraries, each behind one layer.
LIBRARIES = {
    "sqlite3.h": {"store", "client", "library"},
    "yaml.h": {"config"},
    "libpq-fe.h": {"store", "source", "client", "library"},
    "pcre2.h": {"codec"},
    "librdkafka/rdkafka.h": {"broker"},
    "curl/curl.h": {"handler", "server"},
    "microhttpd.h": {"server"},
    "openssl/hmac.h": {"handler"},
    "hiredis/hiredis.h": {"inbox"},
}

# Single files that may see a library for one purpose: it prints the versions it runs with.
LIBRARIES_OF_FILE = {"src/cmd/version.c": {"sqlite3.h", "yaml.h", "libpq-fe.h", "librdkafka/rdkafka.h", "pcre2.h", "curl/curl.h", "microhttpd.h", "hiredis/hiredis.h"}}

# What the language alone gives: no system call, no clock, no dice.
PURE = set(
    "assert ctype endian errno float inttypes limits math stdalign stdarg stdbool stddef stdint stdio stdlib "
    "stdnoreturn string strings sys/types".split()
)
SYSTEM = set(
    "dirent fcntl getopt libgen locale malloc poll pthread sched setjmp signal spawn stdatomic syslog termios time "
    "unistd arpa/inet netdb netinet/in netinet/tcp sys/epoll sys/eventfd sys/file sys/inotify sys/ioctl sys/mman sys/pidfd sys/prctl sys/random "
    "sys/resource sys/signalfd sys/socket sys/stat sys/statvfs sys/sysmacros sys/syscall sys/time sys/timerfd "
    "sys/uio sys/un sys/utsname sys/wait linux/limits".split()
)
PURE_LAYERS = {"core", "codec"}
# Of base, what the core may see: it asks the world for nothing.
CORE_BASE = {"base/bytes.h", "base/error.h", "base/units.h", "base/crash.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>|(\S+))')


def reason_quoted(layer, name, root):
    """Why `layer` may not include "name"; None if it may."""
    if name in GENERATED:
        if layer in GENERATED[name]:
            return None
        return f'{layer} may not include "{name}" (may: {", ".join(sorted(GENERATED[name]))})'
    if "/" not in name:
        return f'"{name}" is not written from src/: say "{layer}/{name}"'
    target = name.split("/")[0]
    if target not in LAYERS or not (root / "src" / name).is_file():
        return f'"{name}" is no header under src/'
    if not name.endswith(".h"):
        return f'"{name}" is no header'
    if name in SINGLE.get(layer, ()):
        return None
    if target not in LAYERS[layer]:
        may = ", ".join(sorted(LAYERS[layer]) + sorted(SINGLE.get(layer, ())))
        return f'{layer} may not include "{name}" ({layer} may include {may})'
    if layer == "core" and target == "base" and name not in CORE_BASE:
        return f'core is pure and may not include "{name}" (of base only {", ".join(sorted(CORE_BASE))})'
    return None


def reason_angled(layer, name, root):
    if name.startswith("onewrite/"):
        if not (root / "include" / name).is_file():
            return f"<{name}> is no header under include/"
        if name == "onewrite/error.h" or layer in ("client", "library", "cmd"):
            return None
        return f"<{name}> is for applications: only client and library, which define it, and cmd, which is one, may include it"
    if name in LIBRARIES:
        if layer in LIBRARIES[name]:
            return None
        return f'{layer} may not include <{name}> (only {", ".join(sorted(LIBRARIES[name]))} may)'
    stem = name.removesuffix(".h")
    if stem in PURE:
        return None
    if stem in SYSTEM:
        if layer in PURE_LAYERS:
            return f"{layer} is pure and may not include <{name}>"
        return None
    return f"<{name}> is in no list of tests/house/check_includes.py"


def reason_public(name, root):
    """Headers under include/ stand alone: the language, the application's libraries, each other."""
    if name.startswith("onewrite/"):
        return None if (root / "include" / name).is_file() else f"<{name}> is no header under include/"
    if name.removesuffix(".h") in PURE or name == "sqlite3.h":
        return None
    return f"an installed header may not include <{name}>"


def check_file(path, root):
    relative = path.relative_to(root)
    is_public = relative.parts[0] == "include"
    layer = relative.parts[1] if len(relative.parts) > 2 else None
    if not is_public and layer not in LAYERS:
        yield f"{relative}:1: stands in no layer of src/ (layers: {', '.join(LAYERS)})"
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        quoted, angled, other = found.groups()
        if other:
            reason = f"an include by macro ({other}) cannot be checked"
        elif is_public:
            reason = f'an installed header includes "{quoted}" with quotes' if quoted else reason_public(angled, root)
        else:
            reason = reason_quoted(layer, quoted, root) if quoted else reason_angled(layer, angled, root)
            if angled in LIBRARIES_OF_FILE.get(relative.as_posix(), ()):
                reason = None
        if reason:
            yield f"{relative}:{number}: {reason}"


def check(root):
    """All that is wrong below `root`, one line each; an empty tree is wrong too."""
    files = [p for top in ("src", "include") for p in sorted((root / top).rglob("*")) if p.suffix in (".c", ".h")]
    if not files:
        return [f"{root}: no C file under src/ or include/"]
    return [line for path in files for line in check_file(path, root)]


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]).resolve()
    wrong = check(root)
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
