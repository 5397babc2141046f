"""What a settled generation needs, asked of its phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.phases import Phase, phases_of
from ltx2cpp.generation.plan import ModelDefaults, Plan
from ltx2cpp.generation.request import GenerationArguments
from ltx2cpp.generation.settle import settle
from ltx2cpp.generation.unheard import unheard
from ltx2cpp.memory.plan import DecodePieces, PhaseNeeds
from ltx2cpp.networks.networks import Networks
from ltx2cpp.values import PromptEmbedding


@dataclass(frozen=True, eq=False)
class PlannedNeeds:
    """The needs of a plan; see `ltx2cpp.memory.fit.GenerationNeeds`.

    Attributes:
        prompt, arguments: what the call was given.
        model: what settling knows of the model.
        networks: the networks of that model.
        plan: settled from them.
        known: the contexts that are there already.
        phase_list: the phases of the plan.
    """

    prompt: str | PromptEmbedding
    arguments: GenerationArguments
    model: ModelDefaults
    networks: Networks
    plan: Plan
    known: Mapping[str, PromptEmbedding]
    phase_list: Sequence[Phase]
    _asked: dict[str, PhaseNeeds] = field(default_factory=dict, init=False)

    @property
    def num_frames(self) -> int:
        return self.plan.shape.num_frames

    @property
    def decode_sizes(self) -> Sequence[DecodePieces]:
        sizes = [phase.decode_sizes for phase in self.phase_list]
        return max(sizes, key=len)

    @property
    def cut_by_memory(self) -> bool:
        return any(phase.cut_by_memory for phase in self.phase_list)

    def phases(self, pieces: DecodePieces) -> list[PhaseNeeds]:
        """Return the needs of all phases, in order, with the clip decoded in pieces."""
        given_bytes = _given_bytes(self.plan)
        needs = [self._ask(phase, pieces) for phase in self.phase_list]
        return [
            row
            for each, phase in zip(needs, self.phase_list, strict=True)
            for row in placed(
                replace(each, host_bytes=each.host_bytes + given_bytes, device=phase.device),
                phase.shared_with,
            )
        ]

    def with_frames(self, num_frames: int) -> PlannedNeeds | None:
        """Return the needs with another number of frames; None where the rest forbids it."""
        arguments: GenerationArguments = {**self.arguments, "num_frames": num_frames}
        try:
            with unheard():
                plan = settle(self.prompt, arguments, self.model, outlined=True)
        except ArgumentError:
            # Conditions that need the frames, or too short a clip for sound.
            return None
        phase_list = phases_of(plan, self.networks, self.known)
        return replace(self, arguments=arguments, plan=plan, phase_list=phase_list)

    def _ask(self, phase: Phase, pieces: DecodePieces) -> PhaseNeeds:
        """Return what a phase needs; the pieces of the decode change that of one phase only."""
        needs = self._asked.get(phase.name) or phase.needs(pieces)
        if not needs.in_pieces:
            self._asked[phase.name] = needs
        return needs


def placed(needs: PhaseNeeds, shared_with: Sequence[str]) -> list[PhaseNeeds]:
    """Return the needs of a phase on each of its devices, with those of the processes there.

    Devices of their own take their share of the work; processes of one device share it.
    """
    names = [needs.device, *shared_with]
    return [
        replace(
            needs,
            name=needs.name if name == needs.device else f"{needs.name} on {name}",
            networks=tuple(net.times(names.count(name)) for net in needs.networks),
            host_bytes=names.count(name) * needs.host_bytes,
            flop=needs.flop / len(set(names)) if name == needs.device else 0.0,
            device=name,
        )
        for name in dict.fromkeys(names)
    ]


def _given_bytes(plan: Plan) -> int:
    """Return the bytes of given pictures, which stay in memory for the whole run."""
    frames = [item.frames for stage in plan.stages for item in stage.placements.items]
    if plan.finish.given_frames is not None:
        frames.append(plan.finish.given_frames)
    # Stages share what they are given.
    return sum({id(each): each.nbytes for each in frames}.values())
