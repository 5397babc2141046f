"""Build the components of a model: sorted tensors with the configuration that belongs to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from ltx2cpp.checkpoint import DType, TensorInfo
from ltx2cpp.checkpoint.files import read_json_file
from ltx2cpp.config import (
    Fields,
    is_diffusion_decoder,
    is_gemma4,
    parse_config,
    read_audio_vae_config,
    read_connector_config,
    read_diffusion_decoder_config,
    read_duration_head_config,
    read_gemma4_config,
    read_gemma4_gguf_config,
    read_gemma_config,
    read_gemma_gguf_config,
    read_preview_decoder_config,
    read_text_projection_config,
    read_transformer_config,
    read_upsampler_config,
    read_video_vae_config,
    read_vocoder_config,
    unused_gemma4_weights,
)
from ltx2cpp.config.fields import Shapes
from ltx2cpp.config.transformer import AUDIO_INPUT
from ltx2cpp.errors import ConfigError
from ltx2cpp.model.components import Component
from ltx2cpp.model.detect import half_of
from ltx2cpp.model.names import Group, is_of_audio_stream
from ltx2cpp.model.source import Source

logger = logging.getLogger("ltx2cpp")


def _shapes(tensors: Mapping[str, TensorInfo]) -> dict[str, tuple[int, ...]]:
    return {name: info.shape for name, info in tensors.items()}


def build_transformer(source: Source) -> Component:
    """Build the transformer; of one without its audio stream, what remains of that is dropped."""
    tensors = source.group("transformer")
    if AUDIO_INPUT not in tensors:
        tensors = {name: info for name, info in tensors.items() if not is_of_audio_stream(name)}
    fields = source.config.nested("transformer")
    return source.component(tensors, read_transformer_config(fields, _shapes(tensors)))


def build_connector(
    source: Source, modality: Literal["video", "audio"], transformer: Source | None
) -> Component:
    """Build one connector; a file without metadata borrows that of the transformer's file."""
    tensors = source.group("video_connector" if modality == "video" else "audio_connector")
    fields = _text_fields(source, transformer)
    return source.component(tensors, read_connector_config(fields, _shapes(tensors), modality))


def build_text_projection(
    source: Source, transformer: Source | None, hidden_size: int | None
) -> Component:
    """Build the projection of the text encoder's states; see `build_connector`.

    Args:
        source: the file with the projection.
        transformer: the file with the transformer, if there is one.
        hidden_size: width of the text encoder where it is known.
    """
    tensors = source.group("text_projection")
    fields = _text_fields(source, transformer)
    config = read_text_projection_config(fields, _shapes(tensors), hidden_size)
    return source.component(tensors, config)


def _text_fields(source: Source, transformer: Source | None) -> Fields:
    fields = source.config.nested("transformer")
    if not fields and transformer is not None:
        return transformer.config.nested("transformer")
    return fields


def build_text_encoder(source: Source) -> Component:
    """Build the text encoder from a folder, a single file or a GGUF."""
    tensors = source.group("text_encoder")
    shapes = _shapes(tensors)
    newer = is_gemma4(shapes)
    # llama.cpp's keys do not say all that a GGUF made here does.
    if source.tensors.layouts.get("text_encoder") == "llama.cpp" and not (
        newer and "gemma_config" in source.file.metadata
    ):
        fields = Fields(source.file.metadata, str(source.path))
        read_gguf = read_gemma4_gguf_config if newer else read_gemma_gguf_config
        return source.component(tensors, read_gguf(fields, shapes))
    if not newer:
        return source.component(tensors, read_gemma_config(gemma_fields(source), shapes))
    config = read_gemma4_config(gemma_fields(source), shapes)
    unused = unused_gemma4_weights(config)
    used = {name: weight for name, weight in tensors.items() if name not in unused}
    return source.component(used, config)


def gemma_fields(source: Source) -> Fields:
    """Return the configuration of a text encoder as Hugging Face writes it; empty without one.

    Raises:
        ConfigError: it is no JSON object.
    """
    if "gemma_config" in source.file.metadata:
        where = f"{source.path}: gemma_config"
        return Fields(parse_config(source.file.metadata["gemma_config"], where), where)
    folder = source.path if source.path.is_dir() else source.path.parent
    path = folder / "config.json"
    # A file named by itself is a ComfyUI single file, and a config.json beside it anyone's.
    if source.file.kind != "sharded" and not source.path.is_dir():
        return Fields({}, str(source.path))
    if not path.is_file():
        logger.warning("%s: has no config.json; taking the values of Gemma 3 12B", folder)
        return Fields({}, str(source.path))
    parsed = read_json_file(path)
    if not isinstance(parsed, dict):
        raise ConfigError(f"{path}: is not a JSON object")
    return Fields(parsed, str(path))


def build_video_vae(source: Source) -> dict[str, Component | None]:
    """Build decoder, of either kind, and encoder of the video VAE; each carries the statistics."""
    fields, tensors = source.config.nested("vae"), source.group("video_vae")
    decoder = half_of(tensors, "decoder")
    if not is_diffusion_decoder(decoder):
        halves = _build_vae(source, "video_vae", fields, read_video_vae_config)
        return dict(zip(("video_decoder", "video_encoder"), halves, strict=True))
    encoder = half_of(tensors, "encoder")
    diffusion = replace(
        read_diffusion_decoder_config(fields, _shapes(decoder)),
        rounds_gated=decoder["conv_in.weight"].dtype is DType.BF16,
    )
    parts: dict[str, Component | None] = {"diffusion_decoder": source.component(decoder, diffusion)}
    if encoder:
        config = read_video_vae_config(fields, {}, _shapes(encoder))
        parts["video_encoder"] = source.component(encoder, config)
    return parts


def build_audio_vae(source: Source) -> tuple[Component | None, Component | None]:
    """Build decoder and encoder of the audio VAE; each carries the statistics."""
    fields = source.config.nested("audio_vae")
    return _build_vae(source, "audio_vae", fields, read_audio_vae_config)


def _build_vae(
    source: Source,
    group: Group,
    fields: Fields,
    read_config: Callable[[Fields, Shapes, Shapes], Any],
) -> tuple[Component | None, Component | None]:
    decoder = half_of(source.group(group), "decoder")
    encoder = half_of(source.group(group), "encoder")
    config = read_config(fields, _shapes(decoder), _shapes(encoder))
    return (
        source.component(decoder, config) if decoder else None,
        source.component(encoder, config) if encoder else None,
    )


def build_vocoder(source: Source) -> Component:
    """Build the vocoder, with the bandwidth extension where the file has it."""
    tensors = source.group("vocoder")
    config = read_vocoder_config(source.config.nested("vocoder"), _shapes(tensors))
    return source.component(tensors, config)


def build_upsampler(source: Source) -> Component:
    """Build a latent upsampler of either kind."""
    tensors = source.group("upsampler")
    return source.component(tensors, read_upsampler_config(source.config, _shapes(tensors)))


def build_duration_head(source: Source) -> Component:
    """Build the head that predicts how long a clip should be."""
    tensors = source.group("duration_head")
    fields = source.config.nested("duration_head")
    return source.component(tensors, read_duration_head_config(fields, _shapes(tensors)))


def build_preview_decoder(source: Source) -> Component:
    """Build the tiny autoencoder's decoder."""
    tensors = source.group("preview_decoder")
    return source.component(tensors, read_preview_decoder_config(source.config, _shapes(tensors)))
