"""Commands whose address space ends: each ends with exit code 0 or 4, and with one sentence.

    python tools/checks/address_space.py FIXTURES_A
    python tools/checks/address_space.py FIXTURES_A --commands generate,given --steps 20

The limit is set after all imports, from --first MiB above what the process has by then upward, by
--stride MiB. Each run is forked off a process that has imported everything. Prints how often each
command ended how, and for what killed a run the library that was at work. Exit code 1 where
anything but 0 and 4 came out.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import importlib
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_DONE, _NO_MEMORY = 0, 4
_POLL_S = 0.002
_LOOK_S = 0.25

_MODULES = (
    "av",
    "numpy",
    "PIL.Image",
    "rich.progress",
    "safetensors.numpy",
    "sentencepiece",
    "tokenizers",
    "ltx2cpp.cli.display",
    "ltx2cpp.cli.main",
    "ltx2cpp.pipeline",
)

# Last words of libraries that end the process.
_LAST_WORDS = (
    (r"memory allocation of \d+ bytes failed", "Rust (tokenizers, safetensors)"),
    (r"OpenBLAS", "OpenBLAS"),
    (r"ggml|GGML_ASSERT", "ggml"),
    (r"terminate called|libc\+\+abi", "C++"),
    (r"cannot allocate memory for thread-local data", "the dynamic linker"),
    (r"Fatal Python error: (?!Aborted|Segmentation)", "Python"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        what: the exit code, the signal, or that the run did not end.
        blame: for a run that was killed or did not end, the library and the place in Python.
        said: what it wrote to stderr.
    """

    what: str
    blame: str
    said: str


def main() -> int:
    """Run the check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fixtures", type=Path, help="folder of the tiny model, fixtures/A")
    parser.add_argument("--first", type=int, default=8, help="MiB of the first limit")
    parser.add_argument("--steps", type=int, default=300, help="limits for each command")
    parser.add_argument("--stride", type=int, default=1, help="MiB from one limit to the next")
    parser.add_argument("--commands", help="comma-separated (default: all)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds that a run waits")
    arguments = parser.parse_args()
    for module in _MODULES:
        importlib.import_module(module)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(arguments.fixtures, Path(folder))
        chosen = arguments.commands.split(",") if arguments.commands else list(commands)
        if unknown := sorted(set(chosen) - set(commands)):
            parser.error(f"unknown commands: {', '.join(unknown)}")
        for name in chosen:
            variants = commands[name]
            outcomes = collections.Counter[str]()
            for step in range(arguments.steps):
                mib = arguments.first + step * arguments.stride
                words = variants[step % len(variants)]
                outcome = _run(words, mib << 20, arguments.timeout, Path(folder))
                outcomes[outcome.what] += 1
                if outcome.what not in (f"exit code {_DONE}", f"exit code {_NO_MEMORY}"):
                    wrong += 1
                    print(
                        f"{name} +{mib} MiB: {outcome.what}{outcome.blame}: {outcome.said}",
                        flush=True,
                    )
            counts = ", ".join(f"{count} x {what}" for what, count in sorted(outcomes.items()))
            print(f"{name}: {counts}", flush=True)
    return 1 if wrong else 0


def _commands(fixtures: Path, folder: Path) -> dict[str, list[list[str]]]:
    """Return the command lines to try by command; several take turns."""
    model = str(fixtures / "ltx-2.3-tiny.safetensors")
    files = ["-m", model, "--text-encoder", str(fixtures / "gemma-3-tiny")]
    usual = ["-q", "-t", "2", "--no-prompt-cache"]
    clip = ["--steps", "1", "-s", "1", *usual]
    tiny = ["generate", "a red circle", *files, "-W", "64", "-H", "64", "--num-frames", "9", *clip]
    demo = ["generate", "a red circle", *clip]
    longer = ["generate", "a red circle", *files, "--extend", "0.4", *clip]
    picture, video = _make_media(folder)
    return {
        "generate": [
            [*demo, "-o", str(folder / "demo.webp")],
            [*tiny, "-o", str(folder / "tiny.webp")],
            [*demo, "-o", str(folder / "demo.mp4")],
            [*tiny, "-o", str(folder / "tiny.mp4")],
        ],
        "given": [
            [*tiny, "--image", picture, "-o", str(folder / "given.webp")],
            [*longer, "--video", video, "-o", str(folder / "given.mp4")],
            [*tiny, "--audio-in", video, "-o", str(folder / "given.mp4")],
            [*demo, "--image", video, "-o", str(folder / "given.png")],
        ],
        "convert": [["convert", model, str(folder / "m.gguf"), "--type", "q8_0", "-q"]],
        "encode": [["encode", "a red circle", *files, *usual, "-o", str(folder / "e.safetensors")]],
    }


def _make_media(folder: Path) -> tuple[str, str]:
    """Write a picture and a clip with sound; returns their names."""
    from PIL import Image

    from ltx2cpp import media
    from ltx2cpp.values import Audio

    picture, video = folder / "fox.jpg", folder / "fox.mp4"
    Image.new("RGB", (640, 480), "red").save(picture)
    sound = Audio(np.zeros((2, 24000), np.float32), 48000)
    media.save_video(video, [np.zeros((9, 64, 96, 3), np.uint8)], frame_rate=24, audio=sound)
    return str(picture), str(video)


def _run(words: list[str], more_bytes: int, timeout_s: float, folder: Path) -> Outcome:
    said = folder / "stderr"
    process = os.fork()
    if process == 0:
        _be_limited(words, more_bytes, said)
    status = _wait(process, timeout_s)
    text = said.read_text(encoding="utf-8", errors="replace")
    if status is None:
        return Outcome("no end", _blame(text), _last_line(text))
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return Outcome(signal.Signals(-code).name, _blame(text), _last_line(text))
    return Outcome(f"exit code {code}", "", _last_line(text))


def _be_limited(words: list[str], more_bytes: int, said: Path) -> None:
    """Become the command with a limit; does not return."""
    code = 1
    try:
        descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        faulthandler.enable(sys.stderr)
        # The timeout of the parent asks where it hangs.
        faulthandler.register(signal.SIGUSR1, sys.stderr, all_threads=True)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from ltx2cpp.cli.main import main as run

        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + more_bytes, size + more_bytes))
        code = run(words)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)


def _wait(process: int, timeout_s: float) -> int | None:
    """Return the status of a process, None where it had to be killed.

    It is where it waits, or computes, for longer than the timeout. One that only waits for a
    processor, because the machine is busy, is given time.
    """
    last_ready_s = looked_s = time.monotonic()
    while time.monotonic() - last_ready_s < timeout_s:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() - looked_s > _LOOK_S:
            looked_s = time.monotonic()
            states, processor_s = _look(process)
            if "R" in states and processor_s < timeout_s:
                last_ready_s = looked_s
        time.sleep(_POLL_S)
    os.kill(process, signal.SIGUSR1)
    time.sleep(1.0)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def _look(process: int) -> tuple[set[str], float]:
    """Return the states of the threads of a process, and the seconds of processors it has had."""
    states, ticks = set(), 0
    for file in Path(f"/proc/{process}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # the thread has ended
            fields = file.read_text().rpartition(")")[2].split()
            states.add(fields[0])
            ticks += int(fields[11]) + int(fields[12])
    return states, ticks / os.sysconf("SC_CLK_TCK")


def _blame(text: str) -> str:
    """Return who was at work in a run that was killed, by its last words and Python's stack."""
    library = next((name for pattern, name in _LAST_WORDS if re.search(pattern, text)), "unknown")
    places = ", ".join(_places(text))
    return f" [{library}; {places}]"


def _places(text: str) -> Iterator[str]:
    """Yield the first place of each thread of a dump of faulthandler."""
    for match in re.finditer(r"(?:most recent call first\):\n)  File \"(.*)\", line (\d+)", text):
        yield f"{'/'.join(Path(match[1]).parts[-2:])}:{match[2]}"


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line and not line.startswith("warning")]
    return lines[-1][:160] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
