"""The networks of text: a prompt becomes the contexts of both streams."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ltx2cpp import _core
from ltx2cpp.errors import ArgumentError, CheckpointError, ShapeError
from ltx2cpp.memory.plan import NetworkNeeds
from ltx2cpp.model.identity import weights_identity
from ltx2cpp.networks.backend import Backend, config_dict
from ltx2cpp.networks.prompt_cache import PromptCache, prompt_key
from ltx2cpp.networks.writer import TextWriter
from ltx2cpp.observing import observed_phase
from ltx2cpp.text.tokenizer import MAX_TOKENS, Cut, Tokenizer
from ltx2cpp.values import FloatArray, PromptEmbedding

if TYPE_CHECKING:
    from ltx2cpp.model.model_set import ModelSet

logger = logging.getLogger("ltx2cpp")

_PARTS = ("text_encoder", "text_projection", "video_connector", "audio_connector")
_AUDIO_CONNECTOR = "audio_connector"

# Raised whenever the same weights and prompt begin to give another context.
_ENCODING = 3

# Contexts of so many prompts stay in memory, 25 MB each for released models; another seed needs no
# text encoder then.
_KEPT_PROMPTS = 4

# Video and audio, (n, width) each.
Features = tuple[FloatArray, FloatArray]


class PromptEncoder:
    """Prompt to contexts: tokenizer, text encoder, projection and both connectors.

    Args:
        models: the weights.
        backend: the device, and what all networks share.
        cache_folder: folder that keeps contexts for other runs; None keeps none.

    Attributes:
        writer: the text encoder as one that continues texts.
    """

    def __init__(
        self, models: ModelSet, backend: Backend, cache_folder: str | os.PathLike[str] | None = None
    ) -> None:
        self._models, self._backend = models, backend
        self._cache = None if cache_folder is None else PromptCache(cache_folder)
        self._identity: bytes | None = None
        self._tokenizer: Tokenizer | None = None
        # Prompts whose end was looked at, so that each is warned of once.
        self._cut_prompts: set[str] = set()
        # Contexts of the last prompts, oldest first.
        self._contexts: dict[str, PromptEmbedding] = {}
        self._encoder = backend.lazy(
            "text encoder", ["text_encoder", "text_projection"], self._claim_encoder
        )
        self.writer = TextWriter(
            self._encoder, lambda: self._models.require("text_encoder"), backend
        )
        self._connectors = {
            "video": backend.lazy(
                "video connector", ["video_connector"], lambda: self._claim_connector("video")
            ),
            "audio": backend.lazy(
                "audio connector", ["audio_connector"], lambda: self._claim_connector("audio")
            ),
        }

    def use(self, models: ModelSet) -> None:
        """Take the weights from another model set; what the former ones gave is forgotten."""
        changed = any(getattr(models, part) is not getattr(self._models, part) for part in _PARTS)
        self._models = models
        if changed:
            self._identity = None
            self.release()
            self.forget()

    @property
    def streams(self) -> tuple[str, ...]:
        """Streams of whose contexts the files hold all parts; silent models lack those of sound."""
        projection = self._models.text_projection
        widthless = projection is not None and projection.config.audio_width == 0
        silent = widthless or self._models.audio_connector is None
        return ("video",) if silent else ("video", "audio")

    def check(self, *, audio: bool) -> None:
        """Raise unless the files hold everything that encoding a prompt needs.

        Args:
            audio: whether the context of the audio stream is wanted.

        Raises:
            CheckpointError: a part is missing; the sentence names it.
        """
        for part in _PARTS:
            if audio or part != _AUDIO_CONNECTOR:
                self._models.require(part)
        if audio and "audio" not in self.streams:
            source = self._models.require("text_projection").source
            raise CheckpointError(
                f"{source}: the text projection has no part for sound (audio_aggregate_embed); "
                "make clips without sound (audio=False, --no-audio), or give text_projection="
            )

    def open(self) -> None:
        """Load the text encoder now instead of at the first call."""
        self._encoder.open()

    def open_connectors(self) -> None:
        """Load the connectors now instead of at the first call."""
        for stream in self.streams:
            self._connectors[stream].open()

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, read when it is first asked for."""
        if self._tokenizer is None:
            self._tokenizer = self._models.open_tokenizer()
        return self._tokenizer

    def tokenize(self, prompt: str) -> NDArray[np.int32]:
        ids = self.tokenizer.encode(prompt)
        if len(ids) == MAX_TOKENS and prompt not in self._cut_prompts:
            self._cut_prompts.add(prompt)
            if (cut := self.tokenizer.cut(prompt)) is not None:
                _warn_of_cut(cut)
        return ids

    def hidden_states(self, ids: NDArray[np.int32] | Sequence[int]) -> FloatArray:
        """Return (layers + 1, n, hidden) for ids (n,)."""
        checked = self._checked_ids(ids)
        with self._encoder.computing() as encoder:
            states = encoder.hidden_states(checked)
        return self._backend.finite(states, "text encoder", self._models.require("text_encoder"))

    def find(self, prompt: str) -> PromptEmbedding | None:
        """Return the contexts that this or an earlier run kept, or None; loads no weights."""
        if (embedding := self._contexts.get(prompt)) is not None or self._cache is None:
            return embedding
        with observed_phase(self._backend.observer, "look up prompt"):
            embedding = self._cache.find(self._key(self.ids(prompt)))
        if embedding is not None:
            self._remember(prompt, embedding)
        return embedding

    def known(self, prompts: Iterable[str]) -> dict[str, PromptEmbedding]:
        """Return the contexts of those prompts for which `find` has them."""
        contexts = {prompt: self.find(prompt) for prompt in prompts}
        return {prompt: context for prompt, context in contexts.items() if context is not None}

    def encode(self, prompt: str) -> PromptEmbedding:
        """Return both contexts, 1024 rows each, kept or computed.

        That of the audio stream has no columns where the transformer has no such stream and the
        files no connector for it.
        """
        transformer = self._models.transformer
        self.check(audio=transformer is None or transformer.config.audio_stream)
        return self.find(prompt) or self.connect(prompt, self.features(prompt))

    def forget(self) -> None:
        """Drop the contexts in memory."""
        self._contexts.clear()

    def features(self, prompt: str) -> Features:
        """Return what the connectors take of a prompt, (n, width) for each stream."""
        ids = self.ids(prompt)
        with self._encoder.computing() as encoder:
            video, audio = encoder.encode(ids)
        parts = self._models.require("text_encoder"), self._models.text_projection
        for features in (video, audio):
            self._backend.finite(features, "text encoder with its projection", *parts)
        return video, audio

    def connect(self, prompt: str, features: Features) -> PromptEmbedding:
        """Compute both contexts from what `features` gave, and keep them."""
        contexts = dict(zip(("video", "audio"), features, strict=True))
        for stream in self.streams:
            contexts[stream] = self._connect(stream, contexts[stream])
        if "audio" not in self.streams:
            contexts["audio"] = np.zeros((MAX_TOKENS, 0), np.float32)
        embedding = PromptEmbedding(**contexts)
        if self._cache is not None:
            self._cache.keep(self._key(self.ids(prompt)), embedding)
        self._remember(prompt, embedding)
        return embedding

    def _connect(self, kind: str, features: FloatArray) -> FloatArray:
        with self._connectors[kind].computing() as connector:
            context = connector.run(features, MAX_TOKENS)
        component = self._models.require(f"{kind}_connector")
        return self._backend.finite(context, f"{kind} connector", component)

    def measure_encoder(self, tokens: int) -> NetworkNeeds:
        """Return what the text encoder takes for a prompt of so many ids."""
        return NetworkNeeds(**self._encoder.draft().measure(tokens))

    def measure_connectors(self, tokens: int) -> tuple[NetworkNeeds, ...]:
        """Return what the connectors take for such a prompt, those of `streams` in order."""
        return tuple(
            NetworkNeeds(**self._connectors[stream].draft().measure(tokens, MAX_TOKENS))
            for stream in self.streams
        )

    def release_encoder(self) -> None:
        """Free the text encoder, the largest part; `connect` needs it no more."""
        self._encoder.release()

    def release_connectors(self) -> None:
        """Free both connectors."""
        for connector in self._connectors.values():
            connector.release()

    def release(self) -> None:
        self.release_encoder()
        self.release_connectors()

    def _remember(self, prompt: str, embedding: PromptEmbedding) -> None:
        self._contexts[prompt] = embedding
        while len(self._contexts) > _KEPT_PROMPTS:
            del self._contexts[next(iter(self._contexts))]

    def ids(self, prompt: str) -> NDArray[np.int32]:
        """Return the ids of a prompt, which every part that encodes it takes.

        Raises:
            CheckpointError: the files lack the tokenizer or one of those parts.
            ArgumentError: the tokenizer is another model's.
        """
        self.check(audio=False)
        return self._checked_ids(self.tokenize(prompt))

    def _key(self, ids: NDArray[np.int32]) -> str:
        if self._identity is None:
            backend = self._backend
            parts = {part: getattr(self._models, part) for part in _PARTS}
            self._identity = weights_identity(
                {part: component for part, component in parts.items() if component is not None},
                encoding=_ENCODING,
                # Devices differ in the last bits, and a seed gives the same clip every time.
                device=backend.device.name.partition(":")[0],
                weight_type=backend.weight_type,
                lora_mode=backend.lora_mode,
            )
        return prompt_key(self._identity, ids)

    def _checked_ids(self, ids: NDArray[np.int32] | Sequence[int]) -> NDArray[np.int32]:
        values = np.asarray(ids)
        if values.ndim != 1 or values.dtype.kind not in "iu" or not 1 <= values.size <= MAX_TOKENS:
            raise ShapeError(
                f"ids: expected 1 to {MAX_TOKENS} whole numbers, found {values.dtype} of shape "
                f"{values.shape}"
            )
        rows = self._models.require("text_encoder").config.vocab_size
        if values.min() < 0 or values.max() >= rows:
            raise ArgumentError(
                f"ids: expected 0 to {rows - 1}, the rows of the text encoder's embedding, found "
                f"{values.min()} to {values.max()}; is the tokenizer another model's?"
            )
        return np.ascontiguousarray(values, np.int32)

    def _claim_encoder(self) -> _core.TextEncoder:
        backend, encoder = self._backend, self._models.require("text_encoder")
        projection = self._models.text_projection
        network = _core.TextEncoder(
            backend.table(encoder),
            config_dict(encoder),
            None if projection is None else backend.table(projection),
            None if projection is None else config_dict(projection),
            backend.device,
        )
        return backend.stream_if_asked(network)

    def _claim_connector(self, kind: str) -> _core.TextConnector:
        component = self._models.require(f"{kind}_connector")
        return self._backend.stream_if_asked(self._backend.claim(_core.TextConnector, component))


def _warn_of_cut(cut: Cut) -> None:
    logger.warning(
        "the prompt has %d tokens and the text encoder takes %d: the last %d have no effect, from "
        "word %d of %d on, %r",
        cut.num_tokens,
        MAX_TOKENS,
        cut.num_tokens - MAX_TOKENS,
        cut.word,
        cut.num_words,
        f"{cut.text[:40]}..." if len(cut.text) > 40 else cut.text,
    )
