"""Carries out the phases of a generation: opens, times, runs and frees each in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ltx2cpp.errors import NonFiniteError
from ltx2cpp.generation.journalling import keep_latents
from ltx2cpp.generation.phases import Phase, State
from ltx2cpp.generation.phases.decode import DecodeSound, DecodeVideo
from ltx2cpp.machine.process_memory import peak_memory_bytes
from ltx2cpp.memory.plan import Keeping
from ltx2cpp.networks.backend import Backend
from ltx2cpp.networks.control import Control
from ltx2cpp.networks.prefetch import prefetch
from ltx2cpp.observing import Step, observed_phase
from ltx2cpp.values import Audio, FrameArray


class Run:
    """The phases of one generation on their way.

    Args:
        phases: the phases in their order.
        state: what is there before the first one.
        keeping: which components stay loaded after their last phase.
        backend: the device they compute on, and its observer.
        control: what may end or pause it.
    """

    def __init__(
        self,
        phases: Sequence[Phase],
        state: State,
        keeping: Keeping,
        backend: Backend,
        control: Control,
    ) -> None:
        self._phases, self._backend, self._control = phases, backend, control
        self.state = replace(state, on_step=self._resting(state.on_step))
        self._leaving = keeping.leaving([phase.component for phase in phases])

    def start(self) -> None:
        """Carry out all phases but those that wait until they are asked for."""
        for index, phase in enumerate(self._phases):
            if not phase.is_deferred:
                self._control.rest()
                self._carry_out(index)

    def sound(self) -> Audio | None:
        """Return the decoded sound, decoded now if it was not before; None without any."""
        index = self._find(DecodeSound.name)
        if self.state.sound is None and index is not None:
            with self._control.computing():
                self._carry_out(index)
        return self.state.sound

    def pictures(self) -> Iterator[FrameArray]:
        """Yield the pictures in chunks (n, height, width, 3), decoded while they are read."""
        index = self._find(DecodeVideo.name)
        assert index is not None
        phase, observer = self._phases[index], self._backend.observer
        phase.open()
        observer.phase_started(phase.name, phase.units)
        # Only the decoder's share of the time; the consumer works between the chunks.
        seconds, start = 0.0, time.perf_counter()
        self.state = phase.run(self.state)
        assert self.state.pictures is not None
        with _named(phase):
            for chunk in self._control.computed(self.state.pictures):
                seconds += time.perf_counter() - start
                yield chunk
                start = time.perf_counter()
        seconds += time.perf_counter() - start
        if self._leaving[index]:
            phase.release()
        observer.phase_ended(phase.name, seconds, peak_memory_bytes())

    def _resting(self, on_step: Callable[[Step], None] | None) -> Callable[[Step], None]:
        """Return what is called after each step, and waits there while the run is paused."""

        def stepped(step: Step) -> None:
            if on_step is not None:
                on_step(step)
            self._control.rest()

        return stepped

    def _find(self, name: str) -> int | None:
        """Return where the phase of a name stands, None where there is none."""
        places = (index for index, phase in enumerate(self._phases) if phase.name == name)
        return next(places, None)

    def _carry_out(self, index: int) -> None:
        phase = self._phases[index]
        phase.open()
        self._read_ahead(index)
        with observed_phase(self._backend.observer, phase.name, phase.units), _named(phase):
            self.state = phase.run(self.state)
        if phase.makes_latents:
            keep_latents(self.state, phase.name)
        if self._leaving[index]:
            phase.release()

    def _read_ahead(self, index: int) -> None:
        """Ask the system for the weights of the phase after ``index``."""
        if self._backend.offload == "disk" or index + 1 == len(self._phases):
            return
        phase, following = self._phases[index], self._phases[index + 1]
        if following.component != phase.component:
            prefetch(following.weights)


@contextmanager
def _named(phase: Phase) -> Iterator[None]:
    """Add the phase to what a network says of numbers that are not finite."""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(f"{phase.name}: {error}") from error
