"""Makes a generation fit into a memory budget: offload mode, and the pieces of the decode."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from ltx2cpp.errors import ArgumentError, DeviceMemoryError
from ltx2cpp.latents import TIME_FACTOR
from ltx2cpp.memory.plan import (
    CPU,
    GIB,
    USUAL_BYTES,
    DecodePieces,
    Keeping,
    MemoryPlan,
    PhaseNeeds,
    add_up,
)
from ltx2cpp.options import OFFLOADS, Offload, OffloadChoice

logger = logging.getLogger("ltx2cpp")

# Modules and tables that a process takes in after its pipeline was made: tokenizer, media, numpy's.
_LATER_BYTES = 24 << 20
# What a generation takes beside its weights, unless it is a large one.
_ROOM_BYTES = 4 * GIB
# A part of all memory that a converted file would save is worth mentioning from here on.
_LARGE_SHARE = 0.25

# In the order in which they are tried.
_CANDIDATES: dict[OffloadChoice, tuple[Keeping, ...]] = {
    "auto": (Keeping("phase", True), Keeping("phase", False), Keeping("stream", False)),
    "none": (Keeping("none", True),),
    "phase": (Keeping("phase", False),),
    "stream": (Keeping("stream", False),),
    "disk": (Keeping("disk", False),),
}


class GenerationNeeds(Protocol):
    """What a generation needs, asked of its networks.

    Attributes:
        num_frames: pixel frames that are generated.
        decode_sizes: pieces that the clip may be decoded in, the largest first.
        cut_by_memory: whether a clip that is decoded whole takes far more than a machine may have,
            so that the pieces follow its memory even where no limit is given.
    """

    @property
    def num_frames(self) -> int: ...

    @property
    def decode_sizes(self) -> Sequence[DecodePieces]: ...

    @property
    def cut_by_memory(self) -> bool: ...

    def phases(self, pieces: DecodePieces) -> Sequence[PhaseNeeds]:
        """Return the needs of all phases, in order, with the clip decoded in pieces."""

    def with_frames(self, num_frames: int) -> GenerationNeeds | None:
        """Return the needs with another number of frames; None where the rest forbids it."""


@dataclass(frozen=True)
class Machine:
    """What planning knows of the devices.

    Attributes:
        places: name of the device, "cpu" or "cuda:0", or which part of the model is on which.
        process_bytes: memory of the process before anything is loaded.
        free_bytes: tells for each device, by its name, what it can still give, 0 where unknown.
    """

    places: str
    process_bytes: int
    free_bytes: Mapping[str, Callable[[], int]]


def fit(
    needs: GenerationNeeds, offload: OffloadChoice, room: Mapping[str, int], machine: Machine
) -> MemoryPlan:
    """Return the plan that changes least and keeps the limits, or else the smallest one.

    Args:
        needs: what the generation needs.
        offload: what the user chose.
        room: bytes that each device may use, by its name; empty for no limit.
        machine: the devices that run it.
    """
    plan: MemoryPlan | None = None
    for plan in _plans(needs, offload, room, machine):
        if plan.fits:
            return plan
    assert plan is not None
    return plan


def _plans(
    needs: GenerationNeeds, offload: OffloadChoice, room: Mapping[str, int], machine: Machine
) -> Iterator[MemoryPlan]:
    """Yield plans until the decode fits, then with ever less kept in memory."""
    candidates = _CANDIDATES[offload]

    def make(phases: Sequence[PhaseNeeds], pieces: DecodePieces, keeping: Keeping) -> MemoryPlan:
        return MemoryPlan(
            device=machine.places,
            offload=keeping.offload,
            keeps_transformer=keeping.keeps_transformer,
            chunk_latents=pieces.chunk_latents,
            tile_latents=pieces.tile_latents,
            tiling=pieces.tiling,
            room=room,
            phases=add_up(
                phases,
                keeping,
                process_bytes=machine.process_bytes + _LATER_BYTES,
            ),
        )

    # Streaming helps no decode, and it costs time elsewhere.
    for keepings in (candidates[:-1], candidates[-1:]):
        for pieces in needs.decode_sizes if keepings else ():
            phases = needs.phases(pieces)
            plans = [make(phases, pieces, keeping) for keeping in keepings]
            yield from plans
            if not plans[-1].largest.in_pieces:
                break


def frames_that_fit(num_frames: int, fits: Callable[[int], bool]) -> int | None:
    """Return the largest smaller number of frames for which ``fits`` holds, or None."""
    high = (num_frames - 1) // TIME_FACTOR
    # A pipeline may take no single frame.
    low = next((k for k in (0, 1) if k < high and fits(TIME_FACTOR * k + 1)), None)
    if low is None:
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
        plan: the plan that does not fit.
        streamed: the same with weights streamed, where they are not yet.
        num_frames: number that would fit with the same options, or None.
    """
    phase = plan.largest
    advice = []
    if streamed is not None and streamed.fits:
        advice.append("offload 'stream' fits")
    if num_frames is not None:
        advice.append(f"{num_frames} frames fit")
    if phase.weight_bytes > _LARGE_SHARE * phase.peak_bytes and phase.device == CPU:
        advice.append(
            "a file with the weights in the type they are used in takes "
            f"{phase.weight_bytes / GIB:.2f} GiB less (ltx2cpp-cli convert)"
        )
    elif phase.weight_bytes + phase.mapped_bytes > _LARGE_SHARE * phase.peak_bytes:
        # What a plan is made of does not say how many bits the weights have now.
        advice.append("weights of more bits take less as q4_k (ltx2cpp-cli convert --type q4_k)")
    return tuple(advice)


class MemoryPolicy:
    """What a pipeline does about memory.

    Args:
        offload: what the user chose.
        max_memory: limit of each device in GiB, or None.
        machine: the devices that compute.

    Raises:
        ArgumentError: an unknown mode, or no positive number.
    """

    def __init__(self, offload: str, max_memory: float | None, machine: Machine) -> None:
        if offload not in OFFLOADS:
            raise ArgumentError(
                f"offload: expected one of {', '.join(OFFLOADS)}, found {offload!r}"
            )
        if max_memory is not None and not 0.0 < max_memory < float("inf"):
            raise ArgumentError(f"max_memory: expected GiB above 0, found {max_memory!r}")
        self._machine = machine
        self._offload = cast(OffloadChoice, offload)
        self._budget_bytes = None if max_memory is None else int(max_memory * GIB)

    @property
    def usual(self) -> Keeping:
        """Which components stay loaded where no plan says otherwise."""
        offload: Offload = "phase" if self._offload == "auto" else self._offload
        return Keeping(offload, self._offload in ("auto", "none"))

    @property
    def asks_to_stream(self) -> bool:
        """Whether weights were asked to go behind the reader."""
        return self._offload in ("stream", "disk")

    def plan(
        self,
        needs: GenerationNeeds,
        stored_bytes: Mapping[str, int],
        flop_per_second: Mapping[str, float] | None = None,
    ) -> MemoryPlan:
        """Return how a generation is run, and what each phase takes then.

        Args:
            needs: what the generation needs.
            stored_bytes: bytes of all weights of each device as stored.
            flop_per_second: rate of the networks on each device; None leaves times open.
        """
        plan = self._decide(needs, stored_bytes)
        if plan is None:
            plan = self._fit(needs, self._offload, {})
        elif not plan.fits:
            plan = self._advised(plan, needs)
        return plan if flop_per_second is None else plan.timed(flop_per_second)

    def settle(self, needs: GenerationNeeds, stored_bytes: Mapping[str, int]) -> MemoryPlan | None:
        """Return how a generation is to be run; None leaves everything as it is usual.

        Args:
            needs: what the generation needs.
            stored_bytes: bytes of all weights of each device as stored.

        Raises:
            DeviceMemoryError: the budget cannot be kept.
        """
        plan = self._decide(needs, stored_bytes)
        if plan is not None and not plan.fits:
            raise DeviceMemoryError(self._advised(plan, needs).problem)
        return plan

    def _decide(self, needs: GenerationNeeds, stored_bytes: Mapping[str, int]) -> MemoryPlan | None:
        """Return the plan that a budget, or the memory of the machine, calls for.

        Without a budget a plan is only made where the files alone may be too much for the machine;
        what the machine lacks is warned of, and left to its swap.
        """
        if self._budget_bytes is not None:
            room = dict.fromkeys(self._machine.free_bytes, self._budget_bytes)
            return self._fit(needs, self._offload, room)
        free = {name: tell() for name, tell in self._machine.free_bytes.items()}
        roomy = all(
            not size or stored_bytes.get(name, 0) + _ROOM_BYTES < size
            for name, size in free.items()
        )
        if (self._offload != "auto" or roomy) and not needs.cut_by_memory:
            return None
        room = {name: size or USUAL_BYTES for name, size in free.items()}
        plan = self._fit(needs, self._offload, room)
        if not plan.fits:
            device = plan.largest.device
            logger.warning(
                "'%s' may need %.1f GiB and the %s has %.1f GiB left",
                plan.largest.name,
                plan.largest.peak_bytes / GIB,
                "machine" if device == CPU else "device",
                free[device] / GIB,
            )
        return dataclasses.replace(plan, room={})

    def _fit(
        self, needs: GenerationNeeds, offload: OffloadChoice, room: Mapping[str, int]
    ) -> MemoryPlan:
        return fit(needs, offload, room, self._machine)

    def _advised(self, plan: MemoryPlan, needs: GenerationNeeds) -> MemoryPlan:
        streamed = None
        if plan.offload in ("none", "phase"):
            streamed = self._fit(needs, "stream", plan.room)

        def fits(num_frames: int) -> bool:
            smaller = needs.with_frames(num_frames)
            if smaller is None:
                return False
            return self._fit(smaller, self._offload, plan.room).fits

        num_frames = frames_that_fit(needs.num_frames, fits)
        return dataclasses.replace(plan, advice=advice_for(plan, streamed, num_frames))
