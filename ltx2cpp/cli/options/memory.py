"""Memory plans on the command line."""

from __future__ import annotations

import enum
import json
from typing import TYPE_CHECKING

from ltx2cpp.cli.text import spell_bytes, spell_seconds
from ltx2cpp.errors import DeviceMemoryError
from ltx2cpp.machine.process_memory import available_bytes

if TYPE_CHECKING:
    from ltx2cpp import MemoryPlan

_CPU = "cpu"
_STREAMING = ("stream", "disk")
_COLUMNS = "{:<24} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}"
_WIDTH = len(_COLUMNS.format(*[""] * 8))
_HEADINGS = ("phase", "weights", "mapped", "compute", "host", "other", "peak", "time")


def print_plan(plan: MemoryPlan, *, as_json: bool) -> None:
    """Print a plan.

    Raises:
        DeviceMemoryError: it passes its budget; the plan has been printed then.
    """
    if as_json:
        print(json.dumps(plan.to_dict(), indent=2))
    else:
        for line in table(plan):
            print(line)
    if plan.problem:
        raise DeviceMemoryError(plan.problem)


class Fit(enum.IntEnum):
    """How a clip fits into memory; more is better."""

    NO = 0
    STREAMED = 1
    WHOLE = 2

    @property
    def is_best(self) -> bool:
        """Whether no smaller file would fit better."""
        return self is Fit.WHOLE


def fits(plan: MemoryPlan, *, streams: bool) -> Fit:
    """Return how a plan fits.

    Args:
        plan: the plan.
        streams: whether weights were asked to be streamed, which is no worse fit then.
    """
    available = _available_bytes(plan)
    if plan.problem or (available and plan.peaks.get(_CPU, 0) > available):
        return Fit.NO
    return Fit.STREAMED if plan.offload in _STREAMING and not streams else Fit.WHOLE


def in_words(plan: MemoryPlan) -> str:
    """Return a plan in one line: whether it fits, and by what."""
    if plan.problem:
        return f"does not fit: {plan.problem}"
    how = ""
    if plan.offload in _STREAMING:
        how = f" with --offload {plan.offload}, which reads the weights again at every step"
    takes = f"the clip takes {_peaks(plan)} at its peak"
    available = _available_bytes(plan)
    if not available:
        return f"fits{how}: {takes}"
    verdict = "fits" if plan.peaks[_CPU] <= available else "does not fit"
    return f"{verdict}{how}: {takes}, {spell_bytes(available)} are free"


def _peaks(plan: MemoryPlan) -> str:
    """Return the highest memory in words, of each device where there are several."""
    if len(plan.peaks) < 2:
        return spell_bytes(plan.peak_bytes)
    return " and ".join(f"{spell_bytes(size)} of {name}" for name, size in plan.peaks.items())


def _available_bytes(plan: MemoryPlan) -> int:
    """Return what the machine has free, 0 where that is not known.

    What a GPU has free is not asked here; a plan of it has the limit in it.
    """
    return available_bytes() if _CPU in plan.peaks else 0


def table(plan: MemoryPlan) -> list[str]:
    """Return a plan as lines: a row for each phase, the sum, and how it is made to fit."""
    lines = [_COLUMNS.format(*_HEADINGS)]
    for phase in plan.phases:
        sizes = (
            phase.weight_bytes,
            phase.mapped_bytes,
            phase.compute_bytes + phase.state_bytes,
            phase.host_bytes,
            phase.other_bytes,
            phase.peak_bytes,
        )
        seconds = "" if phase.seconds is None else spell_seconds(phase.seconds)
        row = _COLUMNS.format(phase.name, *map(spell_bytes, sizes), seconds)
        lines.append(f"{row:<{_WIDTH}}  {phase.device}" if len(plan.peaks) > 1 else row)
    total = "" if plan.seconds is None else spell_seconds(plan.seconds)
    for name, size in plan.peaks.items() if len(plan.peaks) > 1 else ():
        lines.append(_COLUMNS.format(f"all on {name}", *[""] * 5, spell_bytes(size), "").rstrip())
    lines.append(_COLUMNS.format("all", *[""] * 5, spell_bytes(plan.peak_bytes), total))
    how = f"device {plan.device}, offload {plan.offload}"
    if plan.chunk_latents is not None:
        how += f", pictures decoded {plan.chunk_latents} latent frames at a time"
    if plan.tile_latents is not None:
        how += f" in tiles of {32 * plan.tile_latents} pixels"
    if plan.tiling is not None:
        frames, height, width = (plan.tiling[axis][0] for axis in ("frames", "height", "width"))
        area = " x ".join(str(size) if size else "all" for size in (width, height))
        how += f", pictures decoded in tiles of {area} pixels"
        how += f" and {frames} frames" if frames else " and all frames"
    return [*lines, how]
