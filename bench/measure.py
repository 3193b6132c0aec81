# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: processes and what they cost, and tables."""
import contextlib
import os
import pathlib
import signal
import statistics
import subprocess
import time


def cpu_seconds(pid):
    """Of all its threads that live, to the nanosecond where the kernel counts so."""
    try:
        total = 0
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9
    except (OSError, ValueError, IndexError):
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0


def resident_mib(pid):
    """The largest resident set so far. Not getrusage: that counts what this script had before the exec, too."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


class Process:
    def __init__(self, command, folder, **more):
        self.log = open(folder / "contender.log", "w+", encoding="utf-8")
        self.name = os.path.basename(str(command[0]))
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(part) for part in command], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
                                        cwd=folder, **more)
        self.pid = self.process.pid

    def check(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise SystemExit(f"{self.name} ended early with status {self.process.returncode}:\n{self.log.read()[-3000:]}")

    def end(self):
        """Until nothing of it is left: its connections too."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def machine():
    model = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    return {"processor": model, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "kernel": os.uname().release,
            "load_at_start": round(os.getloadavg()[0], 2)}


def middle(values):
    return statistics.median(values) if values else None


def spread(values, digits=0):
    """"median (min … max)"."""
    if not values:
        return "–"
    return f"{middle(values):,.{digits}f} ({min(values):,.{digits}f} … {max(values):,.{digits}f})"


def table(title, columns, rows):
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
    lines = [title, ""]
    for number, row in enumerate([columns, *rows]):
        lines.append("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            lines.append("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
