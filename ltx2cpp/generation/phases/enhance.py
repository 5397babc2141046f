"""The phase that writes a prompt out, before the text encoder reads it."""

from __future__ import annotations

import logging
from dataclasses import replace

from ltx2cpp.generation.phases.phase import FLOAT_BYTES, Phase, State
from ltx2cpp.generation.plan import Plan
from ltx2cpp.memory.plan import DecodePieces, PhaseNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.networks import cost
from ltx2cpp.networks.networks import Networks

logger = logging.getLogger("ltx2cpp")


class EnhancePrompt(Phase):
    """The positive prompt through the language model."""

    name = "enhance prompt"
    part = "encode"

    def __init__(self, plan: Plan, networks: Networks) -> None:
        super().__init__(plan, networks)
        self._enhancer = networks.prompt_enhancer
        self.component = "prompt enhancer" if self._enhancer.is_own else "text encoder"

    @property
    def is_needed(self) -> bool:
        return self._plan.enhancement is not None

    @property
    def units(self) -> int:
        return self._enhancer.writing.limit

    @property
    def weights(self) -> tuple[Component | None, ...]:
        models = self._networks.models
        return (models.prompt_enhancer or models.text_encoder,)

    def check(self) -> None:
        self._enhancer.check()
        backend = self._networks.backend.of(self.part)
        if backend.must_stream:
            backend.check_streaming(self._enhancer.model)

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        config, tokens = self._enhancer.model.config, len(self._question())
        last = tokens + self.units
        logits = config.vocab_size * FLOAT_BYTES
        # The choice of a token holds its logits in float64 and in order.
        return PhaseNeeds(
            self.name,
            self.component,
            (self._enhancer.measure(tokens),),
            6 * logits + FLOAT_BYTES * tokens * last,
            cost.gemma_flop(config, tokens) + self.units * cost.gemma_flop(config, 1),
        )

    def open(self) -> None:
        self._enhancer.open()

    def run(self, state: State) -> State:
        prompt, enhancement = self._plan.prompt, self._plan.enhancement
        assert isinstance(prompt, str)
        assert enhancement is not None
        text = self._enhancer.write(self._question(), enhancement.seed, self._report)
        if not text:
            logger.warning("enhance_prompt: no words were written; the prompt stays as it is")
        return replace(state, enhanced_prompt=text or prompt)

    def release(self) -> None:
        if self._enhancer.is_own:
            self._enhancer.release()
        else:
            self._networks.prompt_encoder.release_encoder()

    def _question(self) -> list[int]:
        prompt, enhancement = self._plan.prompt, self._plan.enhancement
        assert isinstance(prompt, str)
        assert enhancement is not None
        return self._enhancer.question(prompt, shows_pictures=enhancement.shows_pictures)
