"""Generations with a journal that are killed at random moments and gone on with.

    python tools/checks/resume_kills.py --kills 200

Each sampler in turn makes a clip of the demo model with ``generate --resume``; SIGKILL ends it at a
random moment, and the same command goes on, until it ends by itself. The latents have to be those
of an undisturbed run, bit for bit. Exit code 1 where they are not.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.numpy import load_file

from ltx2cpp.sampling.samplers import SAMPLERS

_COMMAND = (
    sys.executable,
    "-m",
    "ltx2cpp",
    "generate",
    "a red circle moves right on a blue background",
)
_STEPS = "6"
_TIMEOUT_S = 600.0


def main() -> int:
    """Run the check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    kills = wrong = clips = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The first run keeps the prompt for all others.
        subprocess.run(_words(SAMPLERS[0]), cwd=folder, check=True, capture_output=True)
        whole = {sampler: _whole(folder, sampler) for sampler in SAMPLERS}
        for sampler in itertools.cycle(SAMPLERS):
            if kills >= arguments.kills:
                break
            digest, seconds = whole[sampler]
            journal = folder / f"journal-{clips}"
            deaths = 0
            # Later ones last shorter, and mostly end.
            while _killed(folder, sampler, journal, moments.uniform(0.0, seconds)):
                deaths += 1
            kills, clips = kills + deaths, clips + 1
            equal = _digest(folder) == digest
            wrong += not equal
            result = "equal" if equal else "OTHER"
            print(f"{sampler}, killed {deaths} times: {result} latents", flush=True)
    print(f"{kills} kills, {clips} clips, {wrong} with other latents")
    return 1 if wrong else 0


def _words(sampler: str) -> list[str]:
    settings = ["--steps", _STEPS, "-s", "1", "--sampler", sampler, "--threads", "2", "-q"]
    return [*_COMMAND, *settings, "-o", "latents.safetensors"]


def _whole(folder: Path, sampler: str) -> tuple[str, float]:
    """Return the digest of an undisturbed run, and how long it took."""
    start = time.monotonic()
    words = _words(sampler)
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=_TIMEOUT_S)
    seconds = time.monotonic() - start
    return _digest(folder), seconds


def _killed(folder: Path, sampler: str, journal: Path, after_s: float) -> bool:
    """Run the command with a journal; return whether it was killed before it ended."""
    words = [*_words(sampler), "--resume", str(journal)]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return True
    if process.returncode != 0:
        raise SystemExit(f"{sampler}: exit code {process.returncode} after a kill")
    return False


def _digest(folder: Path) -> str:
    """Return the digest of the latents, which are removed."""
    path = folder / "latents.safetensors"
    # Not of the file, whose header has no fixed order.
    digest = hashlib.sha256(load_file(path)["video_latent"].tobytes()).hexdigest()
    path.unlink()
    return digest


if __name__ == "__main__":
    sys.exit(main())
