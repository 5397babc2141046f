"""Which files make up a model."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path

from ltx2cpp.errors import ArgumentError
from ltx2cpp.model.detect import Variant
from ltx2cpp.paths import as_path


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model: a whole checkpoint, single components, or both.

    A component given by itself wins over the one in `checkpoint`. Paths are checked when a pipeline
    opens them.

    Attributes:
        checkpoint: any file that holds several components, safetensors or GGUF, or a folder with
            the files of one model: a diffusers folder, one of everything, the hub's cache of one.
        text_encoder: Gemma 3: a folder, a safetensors file or a llama.cpp GGUF; for LTX-2.5 its
            Gemma 4, a safetensors file with projection and tokenizer.
        transformer: the transformer, with or without connectors.
        connectors: both embeddings connectors.
        text_projection: the projection of the text encoder's states.
        video_vae: video encoder and decoder; of LTX-2.5 with either decoder.
        video_decoder: a second video VAE file, of which only the decoder is taken; it becomes the
            one that decodes where none is named.
        audio_vae: audio encoder and decoder, with or without the vocoder.
        vocoder: the vocoder, where it is a file of its own.
        spatial_upsampler: latent upsampler for height and width.
        temporal_upsampler: latent upsampler for frames.
        tokenizer: tokenizer.json, tokenizer.model, a GGUF, or a folder with one of them; default:
            what lies in or beside the text encoder.
        duration_head: head that predicts the length of a clip (LTX-2.5).
        preview_decoder: a tiny autoencoder (taeltx), whose decoder makes the pictures of previews;
            it changes no clip.
        prompt_enhancer: a Gemma that follows instructions, which writes prompts out in place of the
            text encoder; LTX-2.5, whose text encoder cannot, needs one for that.
        variant: "dev" or "distilled"; default: what metadata or file names say.

    Example:
        >>> ModelFiles("ltx-2.3-22b-distilled.safetensors", text_encoder="gemma-3-12b-it")
    """

    checkpoint: str | os.PathLike[str] | None = None
    text_encoder: str | os.PathLike[str] | None = None
    transformer: str | os.PathLike[str] | None = None
    connectors: str | os.PathLike[str] | None = None
    text_projection: str | os.PathLike[str] | None = None
    video_vae: str | os.PathLike[str] | None = None
    video_decoder: str | os.PathLike[str] | None = None
    audio_vae: str | os.PathLike[str] | None = None
    vocoder: str | os.PathLike[str] | None = None
    spatial_upsampler: str | os.PathLike[str] | None = None
    temporal_upsampler: str | os.PathLike[str] | None = None
    tokenizer: str | os.PathLike[str] | None = None
    duration_head: str | os.PathLike[str] | None = None
    preview_decoder: str | os.PathLike[str] | None = None
    prompt_enhancer: str | os.PathLike[str] | None = None
    variant: Variant | None = None

    def paths(self) -> dict[str, Path]:
        """Return the paths that were given, by argument name.

        Raises:
            ArgumentError: a value that is no path, or an unknown variant.
        """
        if self.variant not in (None, "dev", "distilled"):
            raise ArgumentError(f"variant: expected dev or distilled, found {self.variant!r}")
        paths: dict[str, Path] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None or item.name == "variant":
                continue
            paths[item.name] = as_path(item.name, value)
        return paths


def as_model_files(files: object) -> ModelFiles:
    """Return the model files that a pipeline was given.

    Raises:
        ArgumentError: something else was given.
    """
    if isinstance(files, (str, os.PathLike)):
        return ModelFiles(checkpoint=files)
    if isinstance(files, ModelFiles):
        return files
    raise ArgumentError(
        "files: expected ModelFiles(checkpoint=..., text_encoder=...) or the path of a checkpoint, "
        f"found {type(files).__name__}"
    )
