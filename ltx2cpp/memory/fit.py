"""Makes a generation fit into a memory budget: offload mode, chunks and tiles of the decoder."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from ltx2cpp.errors import ArgumentError, DeviceMemoryError
from ltx2cpp.generation.plan import Plan
from ltx2cpp.latents import TIME_FACTOR
from ltx2cpp.memory.needs import NeedsOf
from ltx2cpp.memory.plan import GIB, MemoryPlan, PhaseNeeds, add_up
from ltx2cpp.options import OFFLOADS, Offload, OffloadChoice
from ltx2cpp.process_memory import available_bytes

logger = logging.getLogger("ltx2cpp")

# Chunks of one latent frame, then tiles of ever fewer latents along the longer side. Chunks change
# no number; tiles blend, so the largest that fits is taken.
_DECODES: tuple[tuple[int | None, int | None], ...] = (
    (None, None),
    (2, None),
    (1, None),
    (1, 24),
    (1, 16),
    (1, 12),
    (1, 8),
    (1, 6),
)
_DECODE_PHASE = "decode video"
# Modules and tables that a process takes in after its pipeline was made: tokenizer, media, numpy's.
_LATER_BYTES = 24 << 20
# What a generation takes beside its weights, unless it is a large one.
_ROOM_BYTES = 4 * GIB
# A part of all memory that a converted file would save is worth mentioning from here on.
_LARGE_SHARE = 0.25

_CANDIDATES: dict[OffloadChoice, tuple[tuple[Offload, bool], ...]] = {
    "auto": (("stage", True), ("stage", False), ("stream", False)),
    "none": (("none", True),),
    "stage": (("stage", False),),
    "stream": (("stream", False),),
    "disk": (("disk", False),),
}


@dataclass(frozen=True)
class Machine:
    """What planning knows of the device.

    Attributes:
        device: its name.
        process_bytes: of the process before anything is loaded.
    """

    device: str
    process_bytes: int


NeedsWith = Callable[[int | None, int | None], Sequence[PhaseNeeds]]


def fit(
    needs_with: NeedsWith, offload: OffloadChoice, budget_bytes: int | None, machine: Machine
) -> MemoryPlan:
    """Return the plan that changes least and keeps the budget, or else the smallest one.

    Args:
        needs_with: gives the needs for chunk and tile latents of the decoder.
        offload: what the user chose.
        budget_bytes: None for no limit.
        machine: that runs it.
    """
    plan: MemoryPlan | None = None
    for plan in _plans(needs_with, offload, budget_bytes, machine):
        if plan.fits:
            return plan
    assert plan is not None
    return plan


def _plans(
    needs_with: NeedsWith, offload: OffloadChoice, budget_bytes: int | None, machine: Machine
) -> Iterator[MemoryPlan]:
    """Yield plans until the decode fits, then with ever less kept in memory."""
    candidates = _CANDIDATES[offload]

    def make(
        needs: Sequence[PhaseNeeds],
        decode: tuple[int | None, int | None],
        mode: tuple[Offload, bool],
    ) -> MemoryPlan:
        return MemoryPlan(
            device=machine.device,
            offload=mode[0],
            keeps_transformer=mode[1],
            chunk_latents=decode[0],
            tile_latents=decode[1],
            budget_bytes=budget_bytes,
            phases=add_up(
                needs,
                mode[0],
                keeps_transformer=mode[1],
                process_bytes=machine.process_bytes + _LATER_BYTES,
                counts_host=machine.device == "cpu",
            ),
        )

    for decode in _DECODES:
        needs = needs_with(*decode)
        for mode in candidates:
            yield make(needs, decode, mode)
        frugal = make(needs, decode, candidates[-1])
        if frugal.largest.name != _DECODE_PHASE:
            return


def frames_that_fit(num_frames: int, fits: Callable[[int], bool]) -> int | None:
    """Return the largest smaller number of frames for which ``fits`` holds, or None."""
    low, high = 0, (num_frames - 1) // TIME_FACTOR
    if not high or not fits(1):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(TIME_FACTOR * middle + 1) else (low, middle)
    return TIME_FACTOR * low + 1


def advice_for(
    plan: MemoryPlan, streamed: MemoryPlan | None, num_frames: int | None
) -> tuple[str, ...]:
    """Return what would make a plan fit, as ends of a sentence.

    Args:
        plan: that does not fit.
        streamed: the same with weights streamed, where they are not yet.
        num_frames: that would fit with the same options, or None.
    """
    phase = plan.largest
    advice = []
    if streamed is not None and streamed.fits:
        advice.append("offload 'stream' fits")
    if num_frames is not None:
        advice.append(f"{num_frames} frames fit")
    if phase.weight_bytes > _LARGE_SHARE * phase.peak_bytes and plan.device == "cpu":
        advice.append(
            "a file with the weights in the type they are used in takes "
            f"{phase.weight_bytes / GIB:.2f} GiB less (ltx2cpp-cli convert)"
        )
    elif phase.weight_bytes + phase.mapped_bytes > _LARGE_SHARE * phase.peak_bytes:
        advice.append("a q4_k file takes less (ltx2cpp-cli convert --type q4_k)")
    return tuple(advice)


class MemoryPolicy:
    """What a pipeline does about memory.

    Args:
        needs: asks the networks.
        offload: what the user chose.
        max_memory: in GiB, or None.
        machine: that computes.

    Raises:
        ArgumentError: an unknown mode, or no positive number.
    """

    def __init__(
        self,
        needs: NeedsOf,
        offload: str,
        max_memory: float | None,
        machine: Machine,
    ) -> None:
        if offload not in OFFLOADS:
            raise ArgumentError(
                f"offload: expected one of {', '.join(OFFLOADS)}, found {offload!r}"
            )
        if max_memory is not None and not 0.0 < max_memory < float("inf"):
            raise ArgumentError(f"max_memory: expected GiB above 0, found {max_memory!r}")
        self._needs, self._machine = needs, machine
        self._offload = cast(OffloadChoice, offload)
        self._budget_bytes = None if max_memory is None else int(max_memory * GIB)

    @property
    def keeps_transformer(self) -> bool:
        """Whether the transformer stays loaded where no plan says otherwise."""
        return self._offload in ("auto", "none")

    @property
    def asks_to_stream(self) -> bool:
        """Whether weights were asked to go behind the reader."""
        return self._offload in ("stream", "disk")

    def plan(
        self,
        generation: Plan,
        prompt_tokens: Sequence[int],
        remake: Callable[[int], Plan],
        flop_per_second: float | None = None,
    ) -> MemoryPlan:
        """Return how a generation is run, and what each phase takes then.

        Args:
            generation: that is to run.
            prompt_tokens: ids of each prompt that has to be encoded.
            remake: gives the same generation with another number of frames.
            flop_per_second: of the networks; None leaves times open.
        """
        plan = self._fit(generation, prompt_tokens, self._offload, self._budget_bytes)
        if not plan.fits:
            plan = self._advised(plan, generation, prompt_tokens, remake)
        return plan if flop_per_second is None else plan.timed(flop_per_second)

    def settle(
        self,
        generation: Plan,
        prompt_tokens: Sequence[int],
        stored_bytes: int,
        remake: Callable[[int], Plan],
    ) -> MemoryPlan | None:
        """Return how a generation is to be run; None leaves everything as it is usual.

        Without a budget a plan is only made where the files alone may be too much for the machine.

        Args:
            generation: that is to run.
            prompt_tokens: ids of each prompt that has to be encoded.
            stored_bytes: of all weights.
            remake: gives the same generation with another number of frames.

        Raises:
            DeviceMemoryError: the budget cannot be kept.
        """
        if self._budget_bytes is not None:
            plan = self.plan(generation, prompt_tokens, remake)
            if plan.problem:
                raise DeviceMemoryError(plan.problem)
            return plan
        available = available_bytes()
        roomy = not available or stored_bytes + _ROOM_BYTES < available
        if self._offload != "auto" or roomy or self._machine.device != "cpu":
            return None
        plan = self._fit(generation, prompt_tokens, "auto", available)
        if not plan.fits:
            logger.warning(
                "'%s' may need %.1f GiB and the machine has %.1f GiB left",
                plan.largest.name,
                plan.largest.peak_bytes / GIB,
                available / GIB,
            )
        return plan

    def _fit(
        self,
        generation: Plan,
        prompt_tokens: Sequence[int],
        offload: OffloadChoice,
        budget_bytes: int | None,
    ) -> MemoryPlan:
        def needs_with(chunk: int | None, tile: int | None) -> Sequence[PhaseNeeds]:
            return self._needs.phases(generation, prompt_tokens, chunk, tile)

        return fit(needs_with, offload, budget_bytes, self._machine)

    def _advised(
        self,
        plan: MemoryPlan,
        generation: Plan,
        prompt_tokens: Sequence[int],
        remake: Callable[[int], Plan],
    ) -> MemoryPlan:
        streamed = None
        if plan.offload in ("none", "stage"):
            streamed = self._fit(generation, prompt_tokens, "stream", plan.budget_bytes)

        def fits(num_frames: int) -> bool:
            try:
                smaller = remake(num_frames)
            except ArgumentError:
                # Conditions that need the frames, or too short a clip for sound.
                return False
            return self._fit(smaller, prompt_tokens, self._offload, plan.budget_bytes).fits

        num_frames = frames_that_fit(generation.shape.num_frames, fits)
        return dataclasses.replace(plan, advice=advice_for(plan, streamed, num_frames))
