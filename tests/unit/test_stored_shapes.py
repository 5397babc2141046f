"""Shapes come back from names, biases and numbers of elements, however a writer grouped them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.checkpoint_writers import write_gguf, write_safetensors
from helpers.model_writers import Tensors, write_model
from released.layouts import released_gemma_tensors, released_tensors

from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.names import sort_tensors
from ltx2cpp.model.resolve import resolve
from ltx2cpp.model.stored_shapes import is_regrouped

Shape = tuple[int, ...]


def _as_ggml_stores(shape: Shape) -> Shape:
    if len(shape) == 5:
        shape = (shape[0] * shape[1], *shape[2:])
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _flat(shape: Shape, kept: int) -> Shape:
    """The first extents as they are, the others merged."""
    return (*shape[:kept], math.prod(shape[kept:])) if len(shape) > kept else shape


# What writers do to a shape.
GROUPINGS: dict[str, Callable[[Shape], Shape]] = {
    "ggml": _as_ggml_stores,
    "no ones": lambda shape: tuple(extent for extent in shape if extent > 1) or (1,),
    "ones in front": lambda shape: (1,) * (5 - len(shape)) + shape,
    "ones behind": lambda shape: shape if len(shape) == 5 else (*shape, 1),
    "matrices": lambda shape: _flat(shape, 1),
    "taps merged": lambda shape: _flat(shape, 2),
    "inputs merged with a tap": lambda shape: (
        (shape[0], shape[1] * shape[2], *shape[3:]) if len(shape) == 5 else shape
    ),
    "kernels flat": lambda shape: (math.prod(shape),) if len(shape) > 2 else shape,
    "rows in heads": lambda shape: (
        (4, shape[0] // 4, shape[1]) if len(shape) == 2 and shape[0] % 4 == 0 else shape
    ),
}


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


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("version", ["2.0", "2.3"])
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_configuration_is_read_from_any_grouping(
    grouping: str, version: str, metadata: bool, tmp_path: Path
) -> None:
    tensors = released_tensors(version, 2)
    group = GROUPINGS[grouping]
    stored = {name: (dtype, group(shape)) for name, (dtype, shape) in tensors.items()}
    stated = version if metadata else None
    wanted = resolve(ModelFiles(write_model(tmp_path / "whole-dev.safetensors", tensors, stated)))
    found = resolve(ModelFiles(write_model(tmp_path / "other-dev.safetensors", stored, stated)))
    assert found.components().keys() == wanted.components().keys()
    for name, component in wanted.components().items():
        assert found.require(name).config == component.config


def test_text_encoder_keeps_its_shapes(tmp_path: Path) -> None:
    found, meant = _round_trip(tmp_path / "m.gguf", dict(released_gemma_tensors(2, 64)))
    assert found == meant


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_tensors_of_no_form_are_told_by_their_name_alone(shape: Shape, tmp_path: Path) -> None:
    """Damaged files have single numbers, or none, for any tensor; biases may be whole."""
    whole = {**released_tensors("2.3", 1), **released_gemma_tensors(1, 64)}
    for names in (".bias", "nothing is whole"):
        tensors: Tensors = {
            name: (dtype, full if name.endswith(names) else shape)
            for name, (dtype, full) in whole.items()
        }
        found = sort_tensors(open_checkpoint(write_safetensors(tmp_path / "m", tensors)))
        assert {"transformer", "video_vae", "vocoder", "text_encoder"} <= set(found.groups)


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


@pytest.mark.parametrize(
    "stored",
    # Swapped extents; other numbers of elements; a kernel whose taps come first.
    [(32, 16), (16, 33), (27, 32, 16), (3, 3, 3, 32, 16), (16, 3, 3, 3, 32)],
)
def test_other_orders_keep_the_shape_they_are_stored_in(stored: Shape, tmp_path: Path) -> None:
    name = "decoder.conv_in.conv" if len(stored) > 2 else "transformer_blocks.0.ff.net.2"
    tensors: Tensors = {f"{name}.weight": ("F16", stored), f"{name}.bias": ("F16", (16,))}
    if len(stored) > 2:
        tensors[f"{name}.bias"] = ("F16", (32,))
        tensors["decoder.up_blocks.0.res_blocks.0.conv1.conv.bias"] = ("F16", (4,))
    path = write_safetensors(tmp_path / "m.safetensors", tensors)
    groups = sort_tensors(open_checkpoint(path)).groups
    (members,) = groups.values()
    assert members[f"{name}.weight"].shape == stored


@pytest.mark.parametrize(
    ("stored", "expected", "same"),
    [
        ((12,), (1, 1, 12), True),
        ((32, 3, 3, 3), (8, 4, 3, 3, 3), True),
        ((8, 108), (8, 4, 3, 3, 3), True),
        ((864,), (8, 4, 3, 3, 3), True),
        ((2, 4, 6), (8, 6), True),
        ((6, 8), (8, 6), False),
        ((4, 8, 3, 3, 3), (8, 4, 3, 3, 3), False),
        ((8, 3, 3, 3, 4), (8, 4, 3, 3, 3), False),
        ((8, 5), (8, 6), False),
        ((), (1,), True),
    ],
)
def test_regrouped(stored: Shape, expected: Shape, same: bool) -> None:
    assert is_regrouped(stored, expected) is same
    assert is_regrouped(expected, stored) is same
