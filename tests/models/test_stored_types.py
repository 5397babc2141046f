"""Weights in every stored type give the numbers of the values that they stand for."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers import numpy_text
from helpers.stored_types import (
    GGUF_TYPES,
    PACKINGS,
    Choice,
    Floats,
    write_gguf_model,
    write_packed_model,
)
from helpers.text_cases import GEMMA, as_dict, random_ids, random_tensors
from helpers.transformer_cases import make_modality, open_transformer, random_weights, write_weights
from helpers.transformer_configs import TINY_23
from safetensors.numpy import save_file

from ltx2cpp import _core
from ltx2cpp.checkpoint import LowRankPair, open_checkpoint, read_array
from ltx2cpp.convert import convert
from ltx2cpp.errors import CheckpointError
from ltx2cpp.model.components import Component
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.model.resolve import resolve
from ltx2cpp.model.source import Source
from ltx2cpp.networks.backend import Backend

# Every matrix of a block has whole rows of the largest quantised block.
CONFIG = dataclasses.replace(
    TINY_23,
    num_layers=1,
    num_heads=4,
    head_dim=64,
    cross_attention_dim=256,
    audio_num_heads=4,
    audio_head_dim=64,
    audio_cross_attention_dim=256,
)
TYPES = [f"gguf {kind}" for kind in GGUF_TYPES] + list(PACKINGS)

testing: Any = getattr(_core, "_testing", None)


@pytest.fixture(scope="module")
def weights() -> dict[str, Floats]:
    return random_weights(CONFIG, seed=1)


def linears(kind: str) -> Choice:
    """Choose a type for the matrices of the blocks."""
    return lambda name, _: kind if name.startswith("transformer_blocks.") else None


def write(folder: Path, kind: str, weights: Mapping[str, Floats]) -> tuple[Path, dict[str, Floats]]:
    """Write a transformer whose linears have a type; return the values beside the path."""
    name, choose = kind.removeprefix("gguf "), linears(kind.removeprefix("gguf "))
    if name == kind:
        path = folder / "packed.safetensors"
        return path, write_packed_model(path, weights, choose)
    matrices = {n: w for n, w in weights.items() if w.ndim == 2}
    path = folder / "packed.gguf"
    values = write_gguf_model(
        path,
        weights,
        lambda n, shape: choose(n, shape) if n in matrices and n.endswith("weight") else None,
    )
    return path, values


def component(path: Path) -> Component:
    source = Source("transformer", open_checkpoint(path))
    return Component(source.weights(source.group("transformer")), CONFIG, str(path))


def velocities(
    part: Component, weight_type: str = "file", lora_mode: str = "auto", device: Any = None
) -> dict[str, Floats]:
    backend = Backend("cpu", weight_type, 1, observer=None, lora_mode=lora_mode)  # type: ignore[arg-type]
    backend.device = device or backend.device
    return run(backend.claim(_core.Transformer, part))


def run(network: _core.Transformer) -> dict[str, Floats]:
    rng = np.random.default_rng(2)
    video, audio = (
        make_modality(CONFIG, kind, rng, sigma=0.7, denoise=(0.0, 1.0))
        for kind in ("video", "audio")
    )
    result = network.velocity(video, audio, [], False, [])
    return {"video": result["video"], "audio": result["audio"]}


def expected(folder: Path, values: Mapping[str, Floats]) -> dict[str, Floats]:
    return run(open_transformer(write_weights(folder / "values.safetensors", values), CONFIG))


def check(kind: str, got: Mapping[str, Floats], want: Mapping[str, Floats], bound: float) -> None:
    for stream, values in want.items():
        compare(f"{kind}, {stream}", got[stream], values, bound)


@pytest.mark.parametrize("kind", TYPES)
def test_velocity_is_that_of_the_values(
    kind: str, weights: dict[str, Floats], tmp_path: Path
) -> None:
    path, values = write(tmp_path, kind, weights)
    changed = [name for name in values if not np.array_equal(values[name], weights[name])]
    assert len(changed) == 34
    want = expected(tmp_path, values)
    check(kind, velocities(component(path), "f32"), want, tolerances.TRANSFORMER_F32)
    check(kind, velocities(component(path)), want, tolerances.TRANSFORMER_STORED_TYPES)


@pytest.mark.parametrize("mode", ["auto", "merge"])
@pytest.mark.parametrize(
    "kind", ["gguf iq2_xs", "gguf tq1_0", "gguf q4_k", "nvfp4", "int8 rotated"]
)
def test_loras_change_weights_of_any_type(
    kind: str, mode: str, weights: dict[str, Floats], tmp_path: Path
) -> None:
    path, values = write(tmp_path, kind, weights)
    name = "transformer_blocks.0.ff.net.2.weight"
    rng = np.random.default_rng(3)
    factors = {
        "down": rng.standard_normal((4, values[name].shape[1]), dtype=np.float32) / 8,
        "up": rng.standard_normal((values[name].shape[0], 4), dtype=np.float32),
    }
    save_file(factors, tmp_path / "lora.safetensors")
    stored = open_checkpoint(tmp_path / "lora.safetensors").tensors
    part = component(path)
    pair = LowRankPair(stored["down"], stored["up"], 0.5)
    part.tensors[name] = dataclasses.replace(part.tensors[name], low_rank=(pair,))
    plain = expected(tmp_path, values)
    values[name] = values[name] + np.float32(0.5) * (factors["up"] @ factors["down"])
    want = expected(tmp_path, values)
    assert np.abs(want["video"] - plain["video"]).mean() > 0.1 * np.abs(want["video"]).mean()
    # Four bits lose some of what is merged into them.
    bound = 0.1 if (kind, mode) == ("gguf q4_k", "merge") else tolerances.TRANSFORMER_STORED_TYPES
    check(kind, velocities(part, lora_mode=mode), want, bound)


@pytest.mark.parametrize("kind", TYPES)
def test_a_converted_file_holds_the_values(
    kind: str, weights: dict[str, Floats], tmp_path: Path
) -> None:
    path, values = write(tmp_path, kind, weights)
    convert(path, tmp_path / "plain.gguf", "f32")
    plain = component(tmp_path / "plain.gguf")
    assert set(plain.tensors) == set(values)
    want = expected(tmp_path, values)
    check(kind, velocities(plain), want, tolerances.TRANSFORMER_F32)


@pytest.mark.parametrize("kind", ["gguf iq1_m", "gguf nvfp4", "mxfp8", "nvfp4", "int8 rotated"])
def test_types_are_quantised_anew(kind: str, weights: dict[str, Floats], tmp_path: Path) -> None:
    path, values = write(tmp_path, kind, weights)
    want = expected(tmp_path, values)
    convert(path, tmp_path / "eight.gguf", "q8_0")
    check(kind, velocities(component(tmp_path / "eight.gguf")), want, tolerances.LORA_Q8_0)


@pytest.mark.skipif(testing is None, reason="the extension was built without LTX2CPP_TESTING")
def test_types_that_a_device_lacks_become_bfloat16(
    weights: dict[str, Floats], tmp_path: Path
) -> None:
    path, values = write(tmp_path, "gguf tq2_0", weights)
    device = testing.open_device("cpu", 1, missing_types={"tq2_0"})
    got = velocities(component(path), device=device)
    check("tq2_0", got, expected(tmp_path, values), tolerances.TRANSFORMER_BF16)


@pytest.mark.parametrize("kind", [kind for kind in TYPES if "tagged" not in kind])
def test_rows_of_embeddings_are_looked_up(kind: str, tmp_path: Path) -> None:
    gemma = dataclasses.replace(GEMMA, hidden_size=256, num_layers=1, global_layers=(True,))
    drawn = random_tensors(numpy_text.gemma_shapes(gemma), seed=1)
    named = {f"model.{name}": values for name, values in drawn.items()}
    name = kind.removeprefix("gguf ")
    choose: Choice = lambda n, _: name if n == "model.embed_tokens.weight" else None  # noqa: E731
    path = tmp_path / ("gemma.safetensors" if name == kind else "gemma.gguf")
    values = (write_packed_model if name == kind else write_gguf_model)(path, named, choose)
    source = Source("text_encoder", open_checkpoint(path))
    part = Component(source.weights(source.group("text_encoder")), gemma, str(path))
    backend = Backend("cpu", "file", 1, observer=None)  # type: ignore[arg-type]
    network = _core.TextEncoder(backend.table(part), as_dict(gemma), None, None, backend.device)
    ids = random_ids(9)
    plain = {n.removeprefix("model."): v for n, v in values.items()}
    want = numpy_text.gemma_states(plain, gemma, ids)
    compare(kind, network.hidden_states(ids), want, tolerances.TEXT_BF16)


@pytest.mark.parametrize("kind", ["gguf nvfp4", "gguf q4_k"])
def test_llama_cpp_keeps_a_scale_beside_the_weight(
    kind: str, weights: dict[str, Floats], tmp_path: Path
) -> None:
    scaled = dict(weights)
    names = [name for name in weights if name.endswith(("to_k.weight", "net.2.weight"))]
    for number, name in enumerate(names):
        stem = name.removesuffix("weight")
        scaled[f"{stem}scale"] = np.float32([0.5 + number / 8])
        scaled[f"{stem}input_scale"] = np.float32([3])
    path, values = write(tmp_path, kind, scaled)
    for name in names:
        values[name] = values[name] * values.pop(name.removesuffix("weight") + "scale")
        del values[name.removesuffix("weight") + "input_scale"]
    want = expected(tmp_path, values)
    check(kind, velocities(component(path), "f32"), want, tolerances.TRANSFORMER_F32)
    check(kind, velocities(component(path)), want, tolerances.TRANSFORMER_STORED_TYPES)


KERNELS = [
    "q4_0",
    "q8_0",
    "iq4_nl",
    "mxfp4",
    "nvfp4",
    "q1_0",
    "e4m3 rows",
    "iq2_s",
    "int8 rows",
]


@pytest.mark.parametrize("kind", KERNELS)
def test_kernels_of_every_network_are_unpacked(kind: str, fixture_a: Path, tmp_path: Path) -> None:
    file = open_checkpoint(fixture_a / "ltx-2.3-tiny.safetensors")
    prefixes = ("vae.", "audio_vae.", "vocoder.")
    drawn = {
        name: np.asarray(read_array(info), np.float32)
        for name, info in file.tensors.items()
        if name.startswith(prefixes)
    }
    chosen = [name for name in drawn if re.search(r"conv\w*\.weight|convs\d\.\d|ups\.", name)]
    choose: Choice = lambda name, shape: kind if name in chosen and len(shape) > 2 else None  # noqa: E731
    if kind in GGUF_TYPES:
        path = tmp_path / "packed.gguf"
        values = write_gguf_model(path, drawn, choose, strings=file.metadata)
    else:
        path = tmp_path / "packed.safetensors"
        values = write_packed_model(path, drawn, choose, file.metadata)
    assert sum(not np.array_equal(values[name], drawn[name]) for name in drawn) > 40
    plain = tmp_path / "plain.safetensors"
    write_packed_model(plain, values, lambda *_: None, file.metadata)
    for network, got, want in zip(
        ("video", "mel", "wave"), decoded(path), decoded(plain), strict=True
    ):
        compare(f"{kind}, {network}", got, want, tolerances.WAVE_F32)


def decoded(path: Path) -> list[Any]:
    """Decode a latent, a sound's and a mel spectrum."""
    models = resolve(ModelFiles(path))
    backend = Backend("cpu", "f32", 1, observer=None)  # type: ignore[arg-type]
    rng = np.random.default_rng(4)

    def draw(*shape: int) -> Floats:
        return rng.standard_normal(shape, dtype=np.float32)

    video = backend.claim(_core.VideoDecoder, models.require("video_decoder"))
    sound = backend.claim(_core.AudioDecoder, models.require("audio_decoder"))
    vocoder = backend.claim(_core.Vocoder, models.require("vocoder"))
    channels = models.require("video_decoder").config.latent_channels
    return [
        video.decode(draw(channels, 2, 2, 2)),
        sound.decode(draw(2, 5, 16)),
        vocoder.vocode(draw(2, 20, 64)),
    ]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("gguf iq2_xs", "iq2_xs"),
        ("e4m3 scalar", "f8_e4m3"),
        ("e4m3 rows", "f8_e4m3 by row"),
        ("e4m3 blocks", "f8_e4m3 by block"),
        ("mxfp8", "mxfp8"),
        ("nvfp4", "nvfp4"),
        ("int8 rows", "int8"),
        ("int8 rotated", "int8 rotated"),
    ],
)
def test_inspect_names_types_and_packings(
    kind: str, name: str, weights: dict[str, Floats], tmp_path: Path
) -> None:
    path, values = write(tmp_path, kind, weights)
    (part,) = inspect_file(path).components
    assert part.dtypes == {"f32": len(weights) - 34, name: 34}
    assert part.parameters == sum(weight.size for weight in values.values())


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_scales_that_are_no_sizes_are_refused(
    value: float, weights: dict[str, Floats], tmp_path: Path
) -> None:
    path, _ = write(tmp_path, "e4m3 rows", weights)
    part = component(path)
    name = "transformer_blocks.0.attn1.to_k.weight"
    scales = part.tensors[name].scales
    assert scales is not None
    with path.open("r+b") as stream:
        stream.seek(scales.info.offset + 4)
        stream.write(np.float32(value).tobytes())
    with pytest.raises(CheckpointError, match=rf"to_k.weight' has a scale of .*{value:.0f}"):
        velocities(component(path))
    with pytest.raises(CheckpointError, match="has a scale of"):
        convert(path, tmp_path / "out.gguf", "f32")
    assert not (tmp_path / "out.gguf").exists()
