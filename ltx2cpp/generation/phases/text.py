"""The prompt's phases: text encoder, then connectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ltx2cpp.generation.phases.phase import FLOAT_BYTES, Phase, State
from ltx2cpp.generation.plan import Plan
from ltx2cpp.memory.plan import DecodePieces, PhaseNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.networks import cost
from ltx2cpp.networks.networks import Networks
from ltx2cpp.text.tokenizer import MAX_TOKENS


class _TextPhase(Phase):
    """What both phases share.

    Args:
        plan: the settled generation.
        networks: the networks of the model.
        texts: prompts whose contexts are not known yet.
    """

    def __init__(self, plan: Plan, networks: Networks, texts: Sequence[str]) -> None:
        super().__init__(plan, networks)
        self._texts = texts
        self._encoder = networks.prompt_encoder

    @property
    def is_needed(self) -> bool:
        return bool(self._texts)

    @property
    def units(self) -> int:
        return len(self._texts)

    def _counts(self) -> list[int]:
        """Return the numbers of ids of the prompts."""
        counts = [len(self._encoder.ids(text)) for text in self._texts]
        if self._plan.enhancement is None:
            return counts
        # One of them is a stand-in for a text of unknown length.
        return [min(MAX_TOKENS, self._networks.prompt_enhancer.writing.limit + 1), *counts[1:]]

    def _feature_bytes(self) -> int:
        projection = self._networks.models.require("text_projection").config
        width: int = projection.video_width + projection.audio_width
        return sum(self._counts()) * width * FLOAT_BYTES


class EncodePrompt(_TextPhase):
    """Prompts through the text encoder and its projection."""

    name = "encode prompt"
    component = "text encoder"
    part = "encode"

    @property
    def weights(self) -> tuple[Component | None, ...]:
        models = self._networks.models
        return models.text_encoder, models.text_projection

    def check(self) -> None:
        self._encoder.check(audio=self._plan.audio)
        self._counts()
        backend = self._networks.backend.of(self.part)
        if backend.must_stream:
            backend.check_streaming(self._networks.models.require("text_encoder"))

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        models, counts = self._networks.models, self._counts()
        encoder = models.require("text_encoder").config
        projection = models.require("text_projection").config
        masks = FLOAT_BYTES * max(counts) ** 2
        return PhaseNeeds(
            self.name,
            self.component,
            (self._encoder.measure_encoder(max(counts)),),
            masks + 2 * self._feature_bytes(),
            sum(
                cost.gemma_flop(encoder, tokens) + cost.text_projection_flop(projection, tokens)
                for tokens in counts
            ),
        )

    def open(self) -> None:
        self._encoder.open()

    def run(self, state: State) -> State:
        return replace(state, features={text: self._encoder.features(text) for text in self._texts})

    def release(self) -> None:
        self._encoder.release_encoder()


class ConnectPrompt(_TextPhase):
    """Features of the prompts through both connectors to the contexts."""

    name = "connect prompt"
    component = "connectors"
    part = "encode"

    @property
    def weights(self) -> tuple[Component | None, ...]:
        models = self._networks.models
        return models.video_connector, models.audio_connector

    def check(self) -> None:
        """Nothing: `EncodePrompt` comes before it and asks for the connectors too."""

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        models = self._networks.models
        configs = [models.require(f"{kind}_connector").config for kind in self._encoder.streams]
        contexts = len(self._texts) * context_bytes(models)
        flop = sum(cost.connector_flop(config, MAX_TOKENS) for config in configs)
        return PhaseNeeds(
            self.name,
            self.component,
            self._encoder.measure_connectors(max(self._counts())),
            self._feature_bytes() + 2 * contexts,
            len(self._texts) * flop,
        )

    def open(self) -> None:
        self._encoder.open_connectors()

    def run(self, state: State) -> State:
        contexts = {
            text: self._encoder.connect(text, features) for text, features in state.features.items()
        }
        return replace(state, contexts={**state.contexts, **contexts}, features={})

    def release(self) -> None:
        self._encoder.release_connectors()


def context_bytes(models: ModelSet) -> int:
    """Return the bytes of both contexts of one prompt."""
    widths = models.require("transformer").config.context_widths
    size: int = MAX_TOKENS * sum(widths.values()) * FLOAT_BYTES
    return size
