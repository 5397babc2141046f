"""Downloads that are killed, shared, and answered badly, against a hub on this machine.

    python tools/checks/hub_kills.py [--mebibytes 2048] [--kills 20] [--seed 1]

A file is fetched by name; the process is ended by SIGKILL at random points, and started again. Then
two processes fetch it at once. Then every bad answer is given once, and what is said and left is
printed. Exit code 1 where more is transferred than 1.15 times the file (twice: than the file), or a
bad answer does not end with exit code 3.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from helpers.stub_hub import Fault, StubFile, StubHub

_NAME = "hf:o/n/w.safetensors"
_FILE = "w.safetensors"
_MOST = 1.15
_BLOCK = 64 << 20
# Bad answers: of the file, or of the whole repository.
_FAULTS = {
    "401": Fault(status=401),
    "403": Fault(status=403),
    "404": Fault(status=404),
    "416": Fault(status=416),
    "429, Retry-After 900": Fault(status=429, headers={"Retry-After": "900"}),
    "500": Fault(status=500),
    "503": Fault(status=503),
    "wrong bytes": Fault(changed=True),
    "short body": Fault(cut_after=0),
}


class _Downloads:
    """Starts downloads into one cache folder."""

    def __init__(self, hub: StubHub, folder: Path) -> None:
        self._hub = hub
        self._folder = folder
        self.environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder),
            "HF_HUB_DOWNLOAD_TIMEOUT": "5",
        }

    def start(self) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "ltx2cpp.cli.main", "download", "-q", _NAME]
        return subprocess.Popen(
            words,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def kept(self) -> int:
        """Bytes of the unfinished file."""
        return sum(path.stat().st_size for path in self._folder.rglob("*.part"))

    def clear(self) -> None:
        shutil.rmtree(self._folder / "hub", ignore_errors=True)
        self._hub.forget()


def main() -> int:
    """Run the check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mebibytes", type=int, default=2048, help="size of the file")
    parser.add_argument("--kills", type=int, default=20, help="how often it is killed")
    parser.add_argument("--seed", type=int, default=1, help="of the points")
    parser.add_argument("--file", type=Path, help="this file instead of a made-up one")
    parser.add_argument(
        "--pause-ms",
        type=float,
        default=0.0,
        help="of the server behind each 64 KiB, so that small files take long enough",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, StubHub() as hub:
        file = arguments.file or _make(Path(folder, "made-up"), arguments.mebibytes)
        hub.add("o/n", {_FILE: StubFile(path=file)})
        hub.on_piece = lambda: time.sleep(arguments.pause_ms / 1000)
        downloads = _Downloads(hub, Path(folder, "home"))
        wrong = _kill(downloads, hub, file, random.Random(arguments.seed), arguments.kills)
        wrong += _share(downloads, hub, file)
        wrong += _answer_badly(downloads, hub)
    return 1 if wrong else 0


def _make(path: Path, mebibytes: int) -> Path:
    generator = np.random.default_rng(0)
    with path.open("wb") as stream:
        for begin in range(0, mebibytes << 20, _BLOCK):
            stream.write(generator.bytes(min(_BLOCK, (mebibytes << 20) - begin)))
    return path


def _kill(
    downloads: _Downloads, hub: StubHub, file: Path, points: random.Random, kills: int
) -> int:
    """Kill at random points, complete, and return whether anything is wrong."""
    size = file.stat().st_size
    started_s, killed = time.monotonic(), 0
    for point in sorted(points.uniform(0.02, 0.98) * size for _ in range(kills)):
        process = downloads.start()
        while process.poll() is None and downloads.kept < point:
            time.sleep(0.002)
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        killed += 1
    process = downloads.start()
    _, said = process.communicate()
    sent = hub.sent.get(_FILE, 0)
    right = process.returncode == 0 and sent <= _MOST * size and killed == kills
    print(
        f"{killed} kills of {size / 2**20:.0f} MiB: exit code {process.returncode}, "
        f"{sent / size:.3f} times the file transferred, {time.monotonic() - started_s:.0f} s {said}"
    )
    return not right


def _share(downloads: _Downloads, hub: StubHub, file: Path) -> int:
    """Fetch in two processes at once, and return whether anything is wrong."""
    downloads.clear()
    size = file.stat().st_size
    processes = [downloads.start(), downloads.start()]
    codes = [(process.communicate(), process.returncode)[1] for process in processes]
    sent = hub.sent.get(_FILE, 0)
    print(f"two processes: exit codes {codes}, {sent / size:.3f} times the file transferred")
    return codes != [0, 0] or sent != size


def _answer_badly(downloads: _Downloads, hub: StubHub) -> int:
    """Give each bad answer, and return how many do not end as they should."""
    hub.add("o/n", {_FILE: np.random.default_rng(1).bytes(1 << 20)})
    wrong = 0
    for name, fault in _FAULTS.items():
        downloads.clear()
        # The first quarter arrives, then what is tried, then nothing else.
        answers = [Fault(cut_after=256 << 10), fault] if not fault.changed else [fault]
        hub.fault = lambda _request, left=answers: left.pop(0) if len(left) > 1 else left[0]
        process = downloads.start()
        _, said = process.communicate()
        named = list(Path(downloads.environment["HF_HOME"]).rglob(_FILE))
        wrong += process.returncode != 3 or bool(named)
        print(
            f"{name}: exit code {process.returncode}, {downloads.kept} bytes kept: {said.strip()}"
        )
    return wrong


if __name__ == "__main__":
    sys.exit(main())
