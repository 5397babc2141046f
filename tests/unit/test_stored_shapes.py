"""Extents that ggml does not store are put back by names, biases and numbers of elements."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.checkpoint_writers import write_gguf, write_safetensors
from helpers.model_writers import Tensors
from released.layouts import released_gemma_tensors, released_tensors

from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.model.names import sort_tensors

Shape = tuple[int, ...]


def _as_ggml_stores(shape: Shape) -> Shape:
    if len(shape) == 5:
        shape = (shape[0] * shape[1], *shape[2:])
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _round_trip(path: Path, tensors: Tensors) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Return the shapes that were found and those that were meant, by stored name."""
    stored = {name: (dtype, _as_ggml_stores(shape)) for name, (dtype, shape) in tensors.items()}
    found = sort_tensors(open_checkpoint(write_gguf(path, stored)))
    shapes = {
        info.name: info.shape for members in found.groups.values() for info in members.values()
    }
    assert shapes
    return shapes, {name: tensors[name][1] for name in shapes}


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_every_released_tensor_gets_its_shape_back(version: str, tmp_path: Path) -> None:
    found, meant = _round_trip(tmp_path / "m.gguf", dict(released_tensors(version, 2)))
    assert found == meant


def test_text_encoder_keeps_its_shapes(tmp_path: Path) -> None:
    found, meant = _round_trip(tmp_path / "m.gguf", dict(released_gemma_tensors(2, 64)))
    assert found == meant


# Official layout, with extents of one wherever a smaller model could have them.
_SMALL: Tensors = {
    "vae.decoder.conv_in.conv.weight": ("F16", (1, 4, 3, 3, 3)),
    "vae.decoder.conv_in.conv.bias": ("F32", (1,)),
    "vae.decoder.up_blocks.0.res_blocks.0.conv1.conv.weight": ("F16", (1, 1, 3, 3, 3)),
    "vae.decoder.up_blocks.0.res_blocks.0.conv1.conv.bias": ("F32", (1,)),
    "vae.decoder.up_blocks.0.res_blocks.0.conv2.conv.weight": ("F16", (8, 1, 3, 3, 3)),
    "vae.decoder.up_blocks.0.res_blocks.0.conv2.conv.bias": ("F32", (8,)),
    "vae.decoder.up_blocks.1.conv.conv.weight": ("F16", (8, 4, 1, 1, 1)),
    "vae.decoder.up_blocks.1.conv.conv.bias": ("F32", (8,)),
    "audio_vae.decoder.conv_out.conv.weight": ("F16", (1, 8, 3, 3)),
    "audio_vae.decoder.conv_out.conv.bias": ("F32", (1,)),
    "audio_vae.decoder.conv_in.conv.weight": ("F16", (1, 1, 3, 3)),
    "vocoder.conv_pre.weight": ("F16", (8, 4, 7)),
    "vocoder.conv_post.weight": ("F16", (1, 8, 7)),
    "vocoder.conv_post.bias": ("F32", (1,)),
    "vocoder.ups.0.weight": ("F16", (1, 1, 7)),
    "vocoder.act_post.upsample.filter": ("F32", (1, 1, 12)),
    "model.diffusion_model.proj_out.weight": ("F32", (1, 64)),
    "model.diffusion_model.proj_out.bias": ("F32", (1,)),
    "model.diffusion_model.transformer_blocks.0.attn1.to_gate_logits.weight": ("F32", (1, 64)),
    "model.diffusion_model.transformer_blocks.0.attn1.q_norm.weight": ("F32", (64,)),
    "model.diffusion_model.video_embeddings_connector.learnable_registers": ("F32", (1, 64)),
    "text_embedding_projection.aggregate_embed.weight": ("F32", (1, 64)),
}


def test_extents_of_one_are_put_back(tmp_path: Path) -> None:
    found, meant = _round_trip(tmp_path / "m.gguf", _SMALL)
    assert found == meant and set(found) == set(_SMALL)


@pytest.mark.parametrize("kernel", [(32, 8, 3, 3), (32, 32, 3, 3), (1, 8, 3, 3), (16, 8, 3, 3, 3)])
def test_upsamplers(kernel: Shape, tmp_path: Path) -> None:
    tensors: Tensors = {
        "initial_conv.weight": ("F16", (8, 4, 3, 3, 3)),
        "initial_conv.bias": ("F32", (8,)),
        "initial_norm.weight": ("F32", (8,)),
        "res_blocks.0.conv1.weight": ("F16", (8, 8, 3, 3, 3)),
        "res_blocks.0.conv1.bias": ("F32", (8,)),
        "upsampler.0.weight": ("F16", kernel),
        "upsampler.0.bias": ("F32", kernel[:1]),
        "upsampler.blur_down.kernel": ("F32", (1, 1, 5, 5)),
        "final_conv.weight": ("F16", (4, 8, 3, 3, 3)),
        "final_conv.bias": ("F32", (4,)),
    }
    found, meant = _round_trip(tmp_path / "m.gguf", tensors)
    assert found == meant


def test_shapes_of_safetensors_are_taken_as_they_are(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", {"proj_out.weight": ("F32", (64,))})
    found = sort_tensors(open_checkpoint(path))
    assert found.groups["transformer"]["proj_out.weight"].shape == (64,)
