"""The machine a benchmark runs on: its description, its measured peaks, memory of this process."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltx2cpp import _core

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
_REPEATS = 5
# Far larger than the caches.
_READ_BYTES = 1 << 31


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
    match = re.search(r"^model name\s*: (.*)$", _cpuinfo(), re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()


def features() -> list[str]:
    match = re.search(r"^(?:flags|Features)\s*: (.*)$", _cpuinfo(), re.MULTILINE)
    flags = set(match[1].split()) if match else set()
    return [name for name in _FEATURES if name in flags]


def has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16; where it does not, torch takes minutes for it."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(features())


def commit() -> str:
    """Return the short commit of the tree this file is in, marked where files differ from it."""
    root = Path(__file__).parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+changes", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True)
class Peak:
    """What the machine reached: products in operations, copies in bytes a second.

    Attributes:
        torch: the fastest of some square products of torch, in bfloat16 if the CPU has it.
        ltx2cpp: a 16-bit product of ours that stays in the caches.
        copy_bytes: read and written by a copy far larger than the caches.
        int8: an 8-bit product of ours that stays in the caches.
    """

    torch: float
    ltx2cpp: float
    copy_bytes: float
    int8: float

    @property
    def product(self) -> float:
        return max(self.torch, self.ltx2cpp)

    def __str__(self) -> str:
        return (
            f"{self.product / 1e9:.0f} GFLOP/s (product in 16 bits: ltx2cpp "
            f"{self.ltx2cpp / 1e9:.0f}, torch {self.torch / 1e9:.0f}), in 8 bits "
            f"{self.int8 / 1e9:.0f}, copy {self.copy_bytes / 1e9:.1f} GB/s"
        )


def measure_peak(threads: int, *, with_torch: bool = True) -> Peak:
    """Measure what products and copies reach here.

    Args:
        threads: threads of the products.
        with_torch: False leaves torch out; its rate is 0 then.
    """
    device = _core.Device("cpu", threads)
    ours, copied = device.measure_peak()
    int8 = device.measure_int8_peak()
    if not with_torch:
        return Peak(0.0, ours, copied, int8)
    import torch

    torch.set_num_threads(threads)
    rates = []
    dtype = torch.bfloat16 if has_bfloat16() else torch.float32
    for size in _PRODUCT_SIZES:
        left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
        rates.append(2 * size**3 / _fastest(lambda left=left, right=right: left @ right))
    return Peak(max(rates), ours, copied, int8)


def measure_reading(threads: int) -> float:
    """Return bytes a second that adding up whole numbers reaches, which writes nothing."""
    import torch

    torch.set_num_threads(threads)
    numbers = torch.ones(_READ_BYTES // 8, dtype=torch.int64)
    return _READ_BYTES / _fastest(numbers.sum)


def resident_bytes(peak: bool = False) -> int:
    """Return memory of this process in bytes, now or at its highest so far. Linux only."""
    name = "VmHWM" if peak else "VmRSS"
    status = Path("/proc/self/status").read_text(encoding="ascii")
    match = re.search(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"/proc/self/status: expected a line {name}, found none")
    return int(match[1]) * 1024


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
