"""The components of a model, as its files hold them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ltx2cpp.config import AudioConfig
from ltx2cpp.errors import CheckpointError
from ltx2cpp.model.components import Component
from ltx2cpp.model.detect import COMPONENT_TITLES, Variant, missing_sentence
from ltx2cpp.model.tokenizer_source import TokenizerSource

if TYPE_CHECKING:
    from ltx2cpp.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class ModelSet:
    """The components of a model; one that the files lack is None.

    Attributes:
        version: "2.0", "2.3" or "2.5"; "" when nothing tells it.
        model_version: version as the metadata spells it; "" when absent.
        tokenizer_source, enhancer_tokenizer_source: vocabularies of the text encoder and of the
            prompt enhancer, None where there is none.
        gemma_version: the text encoder that the transformer was trained with, as its file says;
            "" when it does not.
        variant: "dev" or "distilled".
        variant_source: "argument", "metadata", "file name" or "default".
        decodes_by_diffusion: whether the diffusion decoder decodes where none is named.
        audio_config: what the files say about sound; its members are None where they lack a part.
        unclaimed: file -> names of its tensors that belong to nothing known.
    """

    transformer: Component | None = None
    video_connector: Component | None = None
    audio_connector: Component | None = None
    text_projection: Component | None = None
    text_encoder: Component | None = None
    video_decoder: Component | None = None
    diffusion_decoder: Component | None = None
    video_encoder: Component | None = None
    audio_decoder: Component | None = None
    audio_encoder: Component | None = None
    vocoder: Component | None = None
    spatial_upsampler: Component | None = None
    temporal_upsampler: Component | None = None
    duration_head: Component | None = None
    preview_decoder: Component | None = None
    prompt_enhancer: Component | None = None
    tokenizer_source: TokenizerSource | None
    enhancer_tokenizer_source: TokenizerSource | None = None
    audio_config: AudioConfig
    version: str
    model_version: str
    gemma_version: str
    variant: Variant
    variant_source: str
    decodes_by_diffusion: bool = False
    unclaimed: dict[Path, tuple[str, ...]]
    searched: tuple[Path, ...]

    def components(self) -> dict[str, Component]:
        """Return the components that the files hold, by attribute name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Component)}

    def why_missing(self, component: str) -> str:
        """Say which component the files lack, and where it is usually found.

        Args:
            component: attribute name, or "tokenizer".
        """
        files = " and ".join(path.name for path in self.searched) or "no file"
        verb = "together hold" if len(self.searched) > 1 else "holds"
        title = COMPONENT_TITLES[component]
        place = missing_sentence(component, "").partition("; ")[2]
        return f"{files} {verb} no {title}; {place}"

    def require(self, component: str) -> Component:
        """Return a component.

        Args:
            component: attribute name.

        Raises:
            CheckpointError: the files lack it; the sentence is that of `why_missing`.
        """
        value: Component | None = getattr(self, component)
        if value is None:
            raise CheckpointError(self.why_missing(component))
        return value

    def with_enhancer(self, enhancer: ModelSet) -> ModelSet:
        """Return the model with the prompt enhancer of another set."""
        return replace(
            self,
            prompt_enhancer=enhancer.prompt_enhancer,
            enhancer_tokenizer_source=enhancer.enhancer_tokenizer_source,
        )

    def open_enhancer_tokenizer(self) -> Tokenizer:
        """Read the tokenizer of the prompt enhancer.

        Raises:
            CheckpointError: there is none, or it is malformed.
        """
        if self.enhancer_tokenizer_source is None:
            raise CheckpointError(
                f"{self.require('prompt_enhancer').source}: has no tokenizer, inside or beside it "
                "(tokenizer.json or tokenizer.model), and a prompt enhancer needs its own"
            )
        return self.enhancer_tokenizer_source.open()

    def open_tokenizer(self) -> Tokenizer:
        """Read the tokenizer.

        Raises:
            CheckpointError: there is none, or it is malformed.
        """
        if self.tokenizer_source is None:
            raise CheckpointError(self.why_missing("tokenizer"))
        tokenizer = self.tokenizer_source.open()
        if self.text_encoder is not None and self.text_encoder.config.family == "gemma4":
            return tokenizer.with_one_bos()
        return tokenizer
