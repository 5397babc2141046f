"""Phases and steps of a generation as an observer hears them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ltx2cpp.machine.process_memory import peak_memory_bytes

if TYPE_CHECKING:
    from ltx2cpp.values import FloatArray


@dataclass(frozen=True)
class Step:
    """One finished denoising step.

    Attributes:
        index: 1 for the first step, ``total`` for the last.
        total: number of steps.
        sigma: noise level the step started from.
        estimate: what the network now takes for the finished video latent, (C, F, h, w) float32,
            normalised and read-only, at the size of the stage and without what is shown beside the
            clip; of a temporal round it is the tile. None for sound alone.
        seconds: how long what the estimate shows is, 0 where unknown.
    """

    index: int
    total: int
    sigma: float
    estimate: FloatArray | None = field(default=None, compare=False, repr=False)
    seconds: float = 0.0


class Observer:
    """Receives what a pipeline is doing; every method may be overridden, none has to be.

    Phases do not overlap. Their names are "look up prompt", "load <network>", "encode prompt",
    "connect prompt", "encode pictures", "encode audio", "denoise" or "denoise, stage <number>",
    "upsample", "upscale frames", "decode audio" and "decode video". An exception raised by a
    method stops the generation and reaches the caller.
    """

    def phase_started(self, name: str, total: int | None = None) -> None:
        """Hear that a phase begins; ``total`` counts its units (steps, frames) where known."""

    def phase_progress(self, name: str, done: int, total: int) -> None:
        """Hear that ``done`` of ``total`` units of the phase are finished."""

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        """Hear that a phase ended well.

        ``peak_bytes`` is the process's highest resident memory so far, 0 where the system does not
        tell.
        """

    def step(self, step: Step) -> None:
        """Hear that a denoising step is finished."""


@contextmanager
def observed_phase(observer: Observer, name: str, total: int | None = None) -> Iterator[None]:
    """Report a phase around the body; a phase that fails is started but never ended."""
    observer.phase_started(name, total)
    start = time.perf_counter()
    yield
    observer.phase_ended(name, time.perf_counter() - start, peak_memory_bytes())


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """One finished phase.

    Attributes:
        name: name that the pipeline gives it, for example "denoise".
        seconds: wall time.
        peak_bytes: highest resident memory of the process up to its end, or within it where
            `restart_peak_memory` was called at its start and works; 0 where unknown.
    """

    name: str
    seconds: float
    peak_bytes: int


class PhaseRecorder(Observer):
    """Observer that keeps the phases in the order in which they ended.

    Example:
        >>> recorder = PhaseRecorder()
        >>> with LTX2Pipeline(files, observer=recorder) as pipe:
        ...     pipe("a red boat", num_frames=17).save("boat.mp4")
        >>> [(phase.name, phase.seconds) for phase in recorder.phases]
    """

    def __init__(self) -> None:
        self.phases: list[PhaseRecord] = []

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        """Keep the phase."""
        self.phases.append(PhaseRecord(name, seconds, peak_bytes))
