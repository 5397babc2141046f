"""The machine a benchmark runs on: its description, its measured peaks, memory of this process."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

# Those that products in few bits depend on.
_FEATURES = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
    "i8mm",
)
_PRODUCT_SIZES = (1024, 2048, 4096)
_COPY_BYTES = 1 << 29
_REPEATS = 5


def describe(threads: int) -> str:
    """Return lines with the processor, the commit and the versions."""
    lines = [
        f"processor  {processor()}, {threads} threads",
        f"features   {' '.join(features()) or 'unknown'}",
        f"commit     {commit()}",
        f"versions   python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "numpy")),
    ]
    return "\n".join(lines)


def processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", _cpuinfo(), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def features() -> list[str]:
    found = re.search(r"^(?:flags|Features)\s*: (.*)$", _cpuinfo(), re.MULTILINE)
    given = set(found[1].split()) if found else set()
    return [name for name in _FEATURES if name in given]


def commit() -> str:
    """Return the short commit of the tree this file is in, marked where files differ from it."""
    root = Path(__file__).parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+changes", "--exclude=*"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def product_peak() -> float:
    """Return the rate of the fastest square bfloat16 product of torch, in operations a second."""
    import torch

    best = 0.0
    for size in _PRODUCT_SIZES:
        left, right = (torch.randn(size, size).bfloat16() for _ in range(2))
        best = max(best, 2 * size**3 / _fastest(lambda left=left, right=right: left @ right))
    return best


def copy_peak() -> float:
    """Return bytes read and written a second by a copy much larger than the caches."""
    import torch

    source = torch.ones(_COPY_BYTES, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES / _fastest(lambda: target.copy_(source))


def resident_bytes(peak: bool = False) -> int:
    """Return memory of this process in bytes, now or at its highest so far. Linux only."""
    name = "VmHWM" if peak else "VmRSS"
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/self/status: expected a line {name}, found none")
    return int(found[1]) * 1024


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    """Return the RMS of the difference over the RMS of ``want``."""
    difference = np.asarray(got, np.float64) - np.asarray(want, np.float64)
    return float(np.sqrt(np.mean(difference**2) / np.mean(np.asarray(want, np.float64) ** 2)))


def _fastest(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.exists() else ""
