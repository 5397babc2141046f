"""A whole clip on an open pipeline, its prompt encoded before: the networks' time, and all else."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import numpy as np
from synthetic.models import random_file

from ltx2cpp import LTX2Pipeline, ModelFiles, Observer, PromptEmbedding, _core

_TEXT_ROWS = 1024


class _Outside(Observer):
    """Keeps when steps begin, and of each phase what it took and what its operations did not.

    Attributes:
        steps_began: by the clock of `time.perf_counter`.
        phases: name -> (seconds, those of them outside the device's operations).
    """

    def __init__(self) -> None:
        self.devices: Collection[_core.Device] = ()
        self.steps_began = 0.0
        self.phases: dict[str, tuple[float, float]] = {}

    def phase_started(self, name: str, total: int | None = None) -> None:
        if name == "denoise":
            self.steps_began = time.perf_counter()
        for device in self.devices:
            device.start_profile()

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        profiles = [device.take_profile() for device in self.devices]
        computed = sum(spent for profile in profiles for _, spent in profile.values())
        self.phases[name] = (seconds, seconds - computed)


def measure(options: argparse.Namespace) -> None:
    """Print the median of each phase and of writing a file; one clip warms up."""
    observer = _Outside()
    files = ModelFiles(
        transformer=random_file(options.folder, "transformer", options.blocks),
        video_vae=random_file(options.folder, "video_vae"),
        audio_vae=random_file(options.folder, "audio"),
    )
    seconds: dict[str, list[float]] = defaultdict(list)
    outside: dict[str, list[float]] = defaultdict(list)
    with (
        LTX2Pipeline(files, device="cpu", threads=options.threads, observer=observer) as pipe,
        tempfile.TemporaryDirectory() as folder,
    ):
        observer.devices = set(pipe.networks.backend.devices.values())
        for number in range(options.rounds + 1):
            took = _clip(pipe, observer, options.size, Path(folder) / str(number))
            for name, (spent, rest) in took.items() if number else ():
                seconds[name].append(spent)
                outside[name].append(rest)
    whole = statistics.median(seconds["whole"])
    print(f"\n{'':34}  median s  outside networks  of the whole")
    for name, values in seconds.items():
        rest = statistics.median(outside[name])
        print(
            f"{name:34} {statistics.median(values):9.3f} {rest:17.3f} {100 * rest / whole:12.1f}%"
        )
    print(f"{'a process that says its version':34} {_version_seconds(options.rounds):9.3f}")


def _clip(
    pipe: LTX2Pipeline, observer: _Outside, size: tuple[int, int, int], folder: Path
) -> dict[str, tuple[float, float]]:
    """Make a clip and write it; returns (seconds, those outside the networks) of each part."""
    config = pipe.models.require("transformer").config
    draw = np.random.default_rng(0).standard_normal
    widths = (config.cross_attention_dim, config.audio_cross_attention_dim)
    prompt = PromptEmbedding(*(draw((_TEXT_ROWS, width), np.float32) for width in widths))
    folder.mkdir()
    observer.phases.clear()
    width, height, frames = size
    start = time.perf_counter()
    output = pipe(prompt, width=width, height=height, num_frames=frames, seed=0)
    made = time.perf_counter()
    output.save(folder / "clip.mp4")
    written = time.perf_counter()
    output.save(f"{folder}/frames/")
    pictures = time.perf_counter() - written
    phases = observer.phases
    computed = sum(spent - rest for spent, rest in phases.values())
    between = made - start - sum(spent for spent, _ in phases.values())
    parts = {"between phases": between, "write MP4": written - made}
    whole = written - start
    return {
        **phases,
        **{name: (spent, spent) for name, spent in parts.items()},
        "whole": (whole, whole - computed),
        "numbered PNG files instead": (pictures, pictures),
        "from the call to the first step": (observer.steps_began - start,) * 2,
    }


def _version_seconds(rounds: int) -> float:
    """Return the median of a new interpreter's time, of those after the first."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        command = [sys.executable, "-m", "ltx2cpp", "--version"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])
