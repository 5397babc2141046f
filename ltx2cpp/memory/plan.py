"""What each phase of a generation takes: a pure function of needs, offload mode and budget.

The needs come from the networks themselves, which build their graphs without running them; here
they are only added up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ltx2cpp.options import Offload

GIB = 1 << 30
# Taken for the memory of a machine that does not tell.
USUAL_BYTES = 16 * GIB

# The device that computes in the memory of this process.
CPU = "cpu"

# The component that may stay loaded between clips.
TRANSFORMER = "transformer"

# What follows behind the reader while weights are streamed: pages of the next part that a fault
# brings along, and those of tensors at the borders.
_STREAM_SLACK_BYTES = 32 << 20


# Size and overlap of tiles for "frames", "height" and "width", in frames and pixels; size 0 leaves
# an axis whole.
Tiling = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class DecodePieces:
    """How the video decoder takes a clip apart; None leaves it to the decoder.

    Attributes:
        chunk_latents: latent frames that are decoded at a time; changes no number.
        tile_latents: latent cells of a tile along the longer side; tiles blend at their borders.
        tiling: tiles of the diffusion decoder, which blend likewise; None decodes all at once.
    """

    chunk_latents: int | None = None
    tile_latents: int | None = None
    tiling: Tiling | None = None


WHOLE = DecodePieces()


@dataclass(frozen=True)
class NetworkNeeds:
    """Bytes that one network takes, as the core reports them.

    Attributes:
        own_weight_bytes: weights that were converted on load, or copied to the device.
        mapped_weight_bytes: weights that are read where their file is mapped.
        mapped_part_bytes: bytes of these that the largest part of the network reads.
        slot_bytes: memory of a device's slots, which weights pass when they are streamed; 0
            where they are used in place.
        activation_bytes: intermediate results.
        scratch_bytes: scratch memory of the device, which keeps the largest so far for all.
        output_bytes: results of one run.
        state_bytes: kept between the chunks of a clip.
    """

    own_weight_bytes: int = 0
    mapped_weight_bytes: int = 0
    mapped_part_bytes: int = 0
    slot_bytes: int = 0
    activation_bytes: int = 0
    scratch_bytes: int = 0
    output_bytes: int = 0
    state_bytes: int = 0

    def streamed(self) -> NetworkNeeds:
        """Return the needs while weights go behind the reader, or through a device's slots."""
        part = self.mapped_part_bytes + _STREAM_SLACK_BYTES
        own = self.own_weight_bytes
        return dataclasses.replace(
            self,
            mapped_weight_bytes=min(part, self.mapped_weight_bytes),
            own_weight_bytes=min(self.slot_bytes, own) if self.slot_bytes else own,
        )

    def times(self, count: int) -> NetworkNeeds:
        """Return the needs of so many processes, which share the pages of mapped files."""
        return NetworkNeeds(
            own_weight_bytes=count * self.own_weight_bytes,
            mapped_weight_bytes=self.mapped_weight_bytes,
            mapped_part_bytes=self.mapped_part_bytes,
            slot_bytes=count * self.slot_bytes,
            activation_bytes=count * self.activation_bytes,
            scratch_bytes=count * self.scratch_bytes,
            output_bytes=count * self.output_bytes,
            state_bytes=count * self.state_bytes,
        )


@dataclass(frozen=True)
class PhaseNeeds:
    """What one phase of a generation takes, whatever is done about it.

    Attributes:
        name: as the observer hears it.
        component: the component that runs, for example "transformer"; its phases share its
            weights.
        networks: loaded together.
        host_bytes: arrays of Python and of the core beside the networks.
        flop: operations of the whole phase.
        in_pieces: whether smaller `DecodePieces` would make it smaller.
        device: name of the device that computes it.
    """

    name: str
    component: str
    networks: tuple[NetworkNeeds, ...]
    host_bytes: int
    flop: float
    in_pieces: bool = False
    device: str = CPU


@dataclass(frozen=True)
class Keeping:
    """Which components stay loaded when no later phase uses them.

    Attributes:
        offload: "none" keeps every component, the others free it after its last phase; "stream" and
            "disk" also let mapped weights go behind the reader.
        keeps_transformer: the transformer stays for the next clip.
    """

    offload: Offload
    keeps_transformer: bool

    def keeps(self, component: str) -> bool:
        """Whether a component stays loaded."""
        return self.offload == "none" or (self.keeps_transformer and component == TRANSFORMER)

    def leaving(self, components: Sequence[str]) -> list[bool]:
        """Return for the component of each phase whether it is freed after that phase."""
        last_use = {component: index for index, component in enumerate(components)}
        return [
            index == last_use[component] and not self.keeps(component)
            for index, component in enumerate(components)
        ]


@dataclass(frozen=True)
class PhaseMemory:
    """One line of a memory plan, in bytes of the device that computes it.

    Attributes:
        name: as the observer hears it.
        weight_bytes: weights in memory of their own.
        mapped_bytes: pages of weight files that are in memory at once.
        compute_bytes: intermediate results and scratch memory.
        state_bytes: kept between the chunks of a clip.
        host_bytes: arrays beside the networks.
        other_bytes: the process itself, and components that stay loaded there from earlier phases.
        flop: operations.
        in_pieces: whether smaller `DecodePieces` would make it smaller.
        seconds: estimated; None where the speed of the machine was not asked for.
        device: name of the device.
    """

    name: str
    weight_bytes: int
    mapped_bytes: int
    compute_bytes: int
    state_bytes: int
    host_bytes: int
    other_bytes: int
    flop: float
    in_pieces: bool = False
    seconds: float | None = None
    device: str = CPU

    @property
    def peak_bytes(self) -> int:
        """The highest memory within the phase."""
        return (
            self.weight_bytes
            + self.mapped_bytes
            + self.compute_bytes
            + self.state_bytes
            + self.host_bytes
            + self.other_bytes
        )


@dataclass(frozen=True)
class MemoryPlan:
    """What a generation takes, phase by phase, and how it is made to fit.

    Attributes:
        device: name of the device that computes, or which part of the model is on which.
        offload: "none", "phase", "stream" or "disk".
        keeps_transformer: whether the transformer stays loaded after its phase.
        chunk_latents, tile_latents, tiling: how pictures are decoded; see `DecodePieces`.
        room: bytes that each device may use, by its name; empty without a limit.
        phases: one line per phase, in the order of the run.
        advice: what would make it fit, as ends of a sentence; empty where it fits.
    """

    device: str
    offload: Offload
    keeps_transformer: bool
    chunk_latents: int | None
    tile_latents: int | None
    room: Mapping[str, int]
    phases: tuple[PhaseMemory, ...]
    tiling: Tiling | None = None
    advice: tuple[str, ...] = ()

    @property
    def keeping(self) -> Keeping:
        """Which components stay loaded."""
        return Keeping(self.offload, self.keeps_transformer)

    @property
    def pieces(self) -> DecodePieces:
        """How pictures are decoded."""
        return DecodePieces(self.chunk_latents, self.tile_latents, self.tiling)

    @property
    def peak_bytes(self) -> int:
        """The highest memory of all phases."""
        return max((phase.peak_bytes for phase in self.phases), default=0)

    @property
    def peaks(self) -> dict[str, int]:
        """The highest memory of each device, by its name."""
        peaks: dict[str, int] = {}
        for phase in self.phases:
            peaks[phase.device] = max(peaks.get(phase.device, 0), phase.peak_bytes)
        return peaks

    @property
    def largest(self) -> PhaseMemory:
        """The phase with the highest memory, or that passes the limit of its device by most."""
        return max(self.phases, key=lambda phase: phase.peak_bytes - self.room.get(phase.device, 0))

    @property
    def seconds(self) -> float | None:
        """Estimated time of all phases, or None where one is not known."""
        known = [phase.seconds for phase in self.phases if phase.seconds is not None]
        return sum(known) if len(known) == len(self.phases) else None

    @property
    def fits(self) -> bool:
        """Whether the limits are kept; True without any."""
        return all(size <= self.room.get(name, size) for name, size in self.peaks.items())

    @property
    def problem(self) -> str | None:
        """One sentence: what does not fit, by how much, and what would; None where all does."""
        if self.fits:
            return None
        phase = self.largest
        where = f" on {phase.device}" if len(self.peaks) > 1 else ""
        hint = f"; {', or '.join(self.advice)}" if self.advice else ""
        return (
            f"'{phase.name}' needs {phase.peak_bytes / GIB:.2f} GiB{where} and max_memory allows "
            f"{self.room[phase.device] / GIB:.2f} GiB (with offload {self.offload!r}: weights "
            f"{(phase.weight_bytes + phase.mapped_bytes) / GIB:.2f}, intermediate results "
            f"{(phase.compute_bytes + phase.state_bytes) / GIB:.2f}, all else "
            f"{(phase.host_bytes + phase.other_bytes) / GIB:.2f} GiB){hint}"
        )

    def timed(self, flop_per_second: Mapping[str, float]) -> MemoryPlan:
        """Return the plan with estimated times, by the rate of each device."""
        phases = tuple(
            dataclasses.replace(phase, seconds=phase.flop / flop_per_second[phase.device])
            for phase in self.phases
        )
        return dataclasses.replace(self, phases=phases)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return {
            **{name: each for name, each in dataclasses.asdict(self).items() if name != "room"},
            "budget_bytes": min(self.room.values(), default=None),
            "phases": [
                {**dataclasses.asdict(phase), "peak_bytes": phase.peak_bytes}
                for phase in self.phases
            ],
            "peak_bytes": self.peak_bytes,
            "peaks": self.peaks,
            "seconds": self.seconds,
            "fits": self.fits,
        }


def add_up(
    needs: Sequence[PhaseNeeds],
    keeping: Keeping,
    *,
    process_bytes: int,
) -> tuple[PhaseMemory, ...]:
    """Return what each phase takes.

    Args:
        needs: needs of the phases, in the order of the run.
        keeping: which components stay loaded.
        process_bytes: memory of the process before anything is loaded.
    """
    phases: list[PhaseMemory] = []
    # By device: what components keep, and scratch memory.
    all_kept: dict[str, dict[str, int]] = {need.device: {} for need in needs}
    scratch: dict[str, int] = {}
    streams = keeping.offload in ("stream", "disk")
    last_use = {(need.device, need.component): index for index, need in enumerate(needs)}
    for index, need in enumerate(needs):
        networks = [net.streamed() if streams else net for net in need.networks]
        pages = [net.mapped_weight_bytes for net in networks]
        # Networks of a phase run in turn: where pages leave, only one of them has any in memory.
        mapped = max(pages) if streams else sum(pages)
        weights = sum(net.own_weight_bytes for net in networks)
        activations = sum(net.activation_bytes for net in networks)
        state = sum(net.state_bytes for net in networks)
        scratches = (net.scratch_bytes for net in networks)
        scratch[need.device] = max(scratch.get(need.device, 0), *scratches)
        kept, counts_host = all_kept[need.device], need.device == CPU
        others = sum(size for component, size in kept.items() if component != need.component)
        phases.append(
            PhaseMemory(
                name=need.name,
                weight_bytes=weights,
                mapped_bytes=mapped,
                compute_bytes=activations + scratch[need.device],
                state_bytes=state,
                host_bytes=need.host_bytes if counts_host else 0,
                other_bytes=others + (process_bytes if counts_host else 0),
                flop=need.flop,
                in_pieces=need.in_pieces,
                device=need.device,
            )
        )
        is_last = index == last_use[need.device, need.component]
        if is_last and not keeping.keeps(need.component):
            kept.pop(need.component, None)
        else:
            left = 0 if streams else mapped
            kept[need.component] = max(
                kept.get(need.component, 0), weights + activations + state + left
            )
    return tuple(phases)


def largest_of(needs: Sequence[NetworkNeeds]) -> NetworkNeeds:
    """Return the largest of each number; the networks share one set of weights."""
    names = NetworkNeeds.__dataclass_fields__
    return NetworkNeeds(**{name: max(getattr(each, name) for each in needs) for name in names})
