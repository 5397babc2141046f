"""Signals at every phase of a generation: how it ends and what it leaves.

    python tools/checks/signals.py FIXTURES_A

Interrupting signals have to end it with exit code 130 and leave nothing; those that kill may leave
hidden files, which the next run into the folder has to remove. Exit code 1 where it is otherwise.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_INTERRUPTED = 130
_INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KILLING = (signal.SIGQUIT, signal.SIGKILL)
_TIMEOUT_S = 600.0
# Into a phase; most last longer.
_LATER_S = 0.05

# Tells on a descriptor when a phase starts. Ignored signals, as of jobs in the background, would be
# inherited.
_PROGRAM = """
import os, resource, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
from ltx2cpp.cli import display
from ltx2cpp.cli.main import main
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
start = display.Display.phase_started
def phase_started(self, name, total=None):
    os.write({descriptor}, (name + "\\n").encode())
    start(self, name, total)
display.Display.phase_started = phase_started
sys.exit(main(sys.argv[1:]))
"""


def main() -> int:
    """Run the check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fixtures", type=Path, help="folder of the tiny model, fixtures/A")
    fixtures = parser.parse_args().fixtures
    files = ["-m", f"{fixtures}/ltx-2.3-tiny.safetensors"]
    files += ["--text-encoder", f"{fixtures}/gemma-3-tiny", "--no-prompt-cache", "-q"]
    size = ["-W", "256", "-H", "256", "--num-frames", "49", "--steps", "2", "-s", "1"]
    words = ["generate", "a fox", *files, *size]
    with tempfile.TemporaryDirectory() as folder:
        phases = _phases([*words, "-o", f"{folder}/whole.mp4"])
    wrong = 0
    for phase in phases:
        for number in (*_INTERRUPTING, *_KILLING):
            wrong += not _try(words, phase, number)
    return 1 if wrong else 0


def _try(words: list[str], phase: str, number: signal.Signals) -> bool:
    """Print a line of the table; returns whether all is as it has to be."""
    with tempfile.TemporaryDirectory() as folder:
        code, seconds = _interrupt([*words, "-o", f"{folder}/clip.mp4"], phase, number)
        before = _names(folder)
        picture = ["generate", "a red circle", "-q", "--steps", "1", "-o", f"{folder}/next.png"]
        subprocess.run(_command(picture, 2), check=True, capture_output=True, timeout=_TIMEOUT_S)
        after = [name for name in _names(folder) if name != "next.png"]
    print(
        f"{phase:24} {number.name:8} ended with {code:4} after {seconds:5.2f} s;"
        f" left before the next run: {_listed(before)}; after it: {_listed(after)}",
        flush=True,
    )
    if number in _INTERRUPTING:
        return code == _INTERRUPTED and not before and not after
    return code == -number and not after and all(name.startswith(".ltx2cpp") for name in before)


def _phases(words: list[str]) -> list[str]:
    """Return the phases of a run, in order."""
    read, write = os.pipe()
    subprocess.run(_command(words, write), check=True, pass_fds=(write,), timeout=_TIMEOUT_S)
    os.close(write)
    with os.fdopen(read) as stream:
        return list(dict.fromkeys(stream.read().splitlines()))


def _interrupt(words: list[str], phase: str, number: signal.Signals) -> tuple[int, float]:
    """Send a signal in a phase; returns the exit code and the seconds until the end."""
    read, write = os.pipe()
    process = subprocess.Popen(
        _command(words, write), pass_fds=(write,), stderr=subprocess.DEVNULL, start_new_session=True
    )
    os.close(write)
    with os.fdopen(read) as stream:
        for line in stream:
            if line.rstrip() == phase:
                break
        time.sleep(_LATER_S)
        process.send_signal(number)
        sent_s = time.monotonic()
        code = process.wait(_TIMEOUT_S)
    return code, time.monotonic() - sent_s


def _command(words: list[str], descriptor: int) -> list[str]:
    return [sys.executable, "-c", _PROGRAM.format(descriptor=descriptor), *words]


def _names(folder: str) -> list[str]:
    return sorted(entry.name for entry in Path(folder).iterdir())


def _listed(names: list[str]) -> str:
    return ", ".join(name[:14] for name in names) or "nothing"


if __name__ == "__main__":
    sys.exit(main())
