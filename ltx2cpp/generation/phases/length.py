"""The seconds that a prompt asks for, from its contexts."""

from __future__ import annotations

from dataclasses import replace

from ltx2cpp.generation.phases.phase import Phase, State
from ltx2cpp.generation.phases.text import context_bytes
from ltx2cpp.memory.plan import DecodePieces, PhaseNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.text.tokenizer import MAX_TOKENS
from ltx2cpp.values import PromptEmbedding


class PredictLength(Phase):
    """The contexts of the positive prompt through the duration head."""

    name = "predict duration"
    component = "duration head"
    part = "encode"

    @property
    def is_needed(self) -> bool:
        return True

    @property
    def weights(self) -> tuple[Component | None, ...]:
        return (self._networks.models.duration_head,)

    def check(self) -> None:
        self._networks.duration_head.check()

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        prompt = self._plan.prompt
        rows = len(prompt.video) if isinstance(prompt, PromptEmbedding) else MAX_TOKENS
        return PhaseNeeds(
            self.name,
            self.component,
            (self._networks.duration_head.measure(rows),),
            2 * context_bytes(self._networks.models),
            0.0,
        )

    def open(self) -> None:
        self._networks.duration_head.open()

    def run(self, state: State) -> State:
        contexts = state.context(self._plan.prompt)
        return replace(state, seconds=self._networks.duration_head.predict(contexts))

    def release(self) -> None:
        self._networks.duration_head.release()
