"""LoRAs applied to the tiny reference model, against weights that numpy added them to."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare, nrmse
from helpers.transformer_cases import make_modality, random_weights
from helpers.transformer_configs import TINY_23
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ltx2cpp import LoraSpec, LTX2Pipeline, Modality, ModelFiles, Velocity
from ltx2cpp.checkpoint import open_checkpoint, read_array
from ltx2cpp.convert import convert
from ltx2cpp.errors import CheckpointError

Weights = dict[str, NDArray[np.float32]]

PREFIX = "model.diffusion_model."
STRENGTHS = (0.7, -0.4)
CONNECTOR = "video_embeddings_connector."


def read_weights(path: Path) -> Weights:
    return {
        name: np.ascontiguousarray(read_array(info), np.float32)
        for name, info in open_checkpoint(path).tensors.items()
        if info.dtype.is_float
    }


def make_lora(weights: Weights, rank: int, seed: int, *, change: float = 0.3) -> Weights:
    """Return factors for every linear of the transformer, under the official keys."""
    rng = np.random.default_rng(seed)
    factors = {}
    for name, weight in weights.items():
        module = name.removeprefix(PREFIX).removesuffix(".weight")
        if not name.startswith(PREFIX) or "connector" in name or weight.ndim != 2:
            continue
        if not name.endswith(".weight"):
            continue
        out, columns = weight.shape
        down = rng.standard_normal((rank, columns)) * columns**-0.5
        up = rng.standard_normal((out, rank)) * change * rank**-0.5
        factors[f"diffusion_model.{module}.lora_A.weight"] = down.astype(np.float32)
        factors[f"diffusion_model.{module}.lora_B.weight"] = up.astype(np.float32)
    return factors


def add_loras(weights: Weights, loras: Mapping[float, Weights]) -> Weights:
    """Return the weights with the products added in float64."""
    merged = dict(weights)
    for name, weight in weights.items():
        stem = f"diffusion_model.{name.removeprefix(PREFIX).removesuffix('.weight')}"
        total = weight.astype(np.float64)
        for strength, factors in loras.items():
            if f"{stem}.lora_A.weight" in factors:
                down, up = (factors[f"{stem}.lora_{half}.weight"] for half in "AB")
                total += strength * (up.astype(np.float64) @ down)
        merged[name] = total.astype(np.float32)
    return merged


class Case:
    """The tiny model, two LoRAs for it, and the model with both merged by numpy."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.source = source
        self.weights = read_weights(source)
        factors = [make_lora(self.weights, rank, seed) for rank, seed in ((5, 1), (8, 2))]
        self.specs = []
        for index, (strength, tensors) in enumerate(zip(STRENGTHS, factors, strict=True)):
            save_file(tensors, folder / f"{index}.safetensors")
            self.specs.append(LoraSpec(folder / f"{index}.safetensors", strength))
        merged = add_loras(self.weights, dict(zip(STRENGTHS, factors, strict=True)))
        metadata = {k: str(v) for k, v in open_checkpoint(source).metadata.items()}
        self.merged = folder / "merged-distilled.safetensors"
        save_file(merged, self.merged, metadata=metadata)
        with self.open(loras=()) as pipe:
            self.widths = pipe.networks.transformer.config
        rng = np.random.default_rng(3)
        self.video = make_modality(self.widths, "video", rng, sigma=0.7, denoise=(0.0, 1.0))
        self.audio = make_modality(self.widths, "audio", rng, sigma=0.6)

    def open(self, weight_type: str = "f32", **given: Any) -> LTX2Pipeline:
        path = given.pop("path", self.source)
        return open_pipe(path, weight_type, **{"loras": self.specs, **given})

    def velocity(self, weight_type: str = "f32", **given: Any) -> Velocity:
        with self.open(weight_type, **given) as pipe:
            return pipe.velocity(self.video, self.audio)


@pytest.fixture(scope="module")
def case(fixture_a: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(fixture_a / "ltx-2.3-tiny.safetensors", tmp_path_factory.mktemp("lora"))


@pytest.fixture(scope="module")
def reference(case: Case) -> Velocity:
    return case.velocity(path=case.merged, loras=())


def compare_streams(got: Velocity, want: Velocity, tolerance: float) -> None:
    assert got.video is not None and want.video is not None
    assert got.audio is not None and want.audio is not None
    compare("video", got.video, want.video, tolerance)
    compare("audio", got.audio, want.audio, tolerance)


@pytest.mark.parametrize("mode", ["merge", "runtime", "auto"])
def test_loras_equal_weights_changed_by_numpy(case: Case, reference: Velocity, mode: str) -> None:
    compare_streams(case.velocity(lora_mode=mode), reference, tolerances.TRANSFORMER_F32)
    bare = case.velocity(loras=())
    assert bare.video is not None and reference.video is not None
    assert nrmse(bare.video, reference.video) > 0.1


@pytest.mark.parametrize("mode", ["merge", "runtime"])
@pytest.mark.parametrize(
    ("weight_type", "tolerance"),
    [("bf16", tolerances.TRANSFORMER_BF16), ("q8_0", tolerances.LORA_Q8_0)],
)
def test_loras_on_coarser_weights(
    case: Case, reference: Velocity, mode: str, weight_type: str, tolerance: float
) -> None:
    compare_streams(case.velocity(weight_type, lora_mode=mode), reference, tolerance)


def test_merging_rounds_once(case: Case) -> None:
    """Merged on load is what converting merged weights gives, to the bit where no sum differs."""
    loaded = case.velocity("q8_0", lora_mode="merge")
    converted = case.velocity("q8_0", path=case.merged, loras=())
    compare_streams(loaded, converted, tolerances.LORA_ROUNDED_ONCE)


@pytest.fixture(scope="module")
def few_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose attention and feed-forward weights fill whole blocks of q4_k."""
    folder = tmp_path_factory.mktemp("few-bits")
    config = dataclasses.replace(
        TINY_23,
        num_layers=1,
        head_dim=128,
        cross_attention_dim=256,
        audio_head_dim=128,
        audio_cross_attention_dim=256,
    )
    weights = {PREFIX + name: w for name, w in random_weights(config, seed=5).items()}
    save_file(weights, folder / "model.safetensors")
    factors = make_lora(weights, 4, 7, change=0.01)
    quantised = re.compile(r"transformer_blocks\..*(attn\d?\.to_(q|k|v|out)|ff\.net)\b")
    factors = {name: values for name, values in factors.items() if quantised.search(name)}
    save_file(factors, folder / "lora.safetensors")
    convert(folder / "model.safetensors", folder / "model-distilled.gguf", "q4_k_m", threads=1)
    return folder


@pytest.mark.parametrize(
    ("mode", "low", "high"), [("merge", -0.5, 0.5), ("runtime", 0.8, 1.2), ("auto", 0.8, 1.2)]
)
def test_small_lora_on_few_bits(few_bits: Path, mode: str, low: float, high: float) -> None:
    """Added to 4-bit weights, a change below their steps is lost; beside them it is not."""
    spec = LoraSpec(few_bits / "lora.safetensors")
    with open_pipe(few_bits / "model.safetensors", "f32") as pipe:
        config = pipe.networks.transformer.config
        rng = np.random.default_rng(6)
        streams = [make_modality(config, kind, rng, sigma=0.7) for kind in ("video", "audio")]
        before = pipe.velocity(*streams)
        pipe.set_loras([spec])
        exact = change(pipe.velocity(*streams), before)
    with open_pipe(few_bits / "model-distilled.gguf", "file", lora_mode=mode) as pipe:
        before = pipe.velocity(*streams)
        pipe.set_loras([spec])
        got = change(pipe.velocity(*streams), before)
    share = float(np.vdot(got, exact) / np.vdot(exact, exact))
    assert low < share < high, share


def open_pipe(path: Path, weight_type: str, **given: Any) -> LTX2Pipeline:
    files = ModelFiles(path, variant="distilled")
    return LTX2Pipeline(files, device="cpu", weight_type=weight_type, threads=1, **given)


def change(after: Velocity, before: Velocity) -> NDArray[np.float32]:
    assert after.video is not None and before.video is not None
    return after.video - before.video


def test_set_loras_changes_and_restores(case: Case, reference: Velocity) -> None:
    with case.open(loras=()) as pipe:
        bare = pipe.velocity(case.video, case.audio)
        pipe.set_loras(case.specs)
        assert [lora.spec for lora in pipe.loras] == case.specs
        compare_streams(
            pipe.velocity(case.video, case.audio), reference, tolerances.TRANSFORMER_F32
        )
        pipe.set_loras([])
        again = pipe.velocity(case.video, case.audio)
    np.testing.assert_array_equal(again.video, bare.video)


def test_a_refused_lora_leaves_the_old_ones(case: Case, tmp_path: Path) -> None:
    with case.open() as pipe:
        before = pipe.velocity(case.video, case.audio)
        with pytest.raises(CheckpointError, match="no such file"):
            pipe.set_loras([LoraSpec(tmp_path / "absent.safetensors")])
        np.testing.assert_array_equal(pipe.velocity(case.video, case.audio).video, before.video)
        assert len(pipe.loras) == 2


@pytest.mark.parametrize("mode", ["merge", "runtime"])
def test_values_that_are_not_finite_are_refused(case: Case, tmp_path: Path, mode: str) -> None:
    factors = make_lora(case.weights, 2, 1)
    name = "diffusion_model.transformer_blocks.1.attn1.to_q.lora_A.weight"
    factors[name][1, 3] = np.inf
    save_file(factors, tmp_path / "inf.safetensors")
    with (
        case.open(loras=[LoraSpec(tmp_path / "inf.safetensors")], lora_mode=mode) as pipe,
        pytest.raises(CheckpointError, match=r"inf.safetensors: .*attn1.to_q.*not finite"),
    ):
        pipe.velocity(case.video, case.audio)


@pytest.mark.parametrize("stored", ["bf16", "f16"])
def test_factors_stored_in_16_bits(case: Case, tmp_path: Path, stored: str) -> None:
    factors = make_lora(case.weights, 6, 9)
    halves = {name: values.astype(np.float16) for name, values in factors.items()}
    if stored == "bf16":
        torch = pytest.importorskip("torch")
        from safetensors.torch import save_file as save_torch

        tensors = {n: torch.from_numpy(v).to(torch.bfloat16) for n, v in factors.items()}
        save_torch(tensors, tmp_path / "half.safetensors")
        exact = {name: value.float().numpy() for name, value in tensors.items()}
    else:
        save_file(halves, tmp_path / "half.safetensors")
        exact = {name: value.astype(np.float32) for name, value in halves.items()}
    save_file(exact, tmp_path / "exact.safetensors")
    got = case.velocity(loras=[LoraSpec(tmp_path / "half.safetensors")])
    want = case.velocity(loras=[LoraSpec(tmp_path / "exact.safetensors")])
    np.testing.assert_array_equal(got.video, want.video)


@pytest.mark.parametrize("mode", ["merge", "runtime"])
def test_loras_change_the_prompt_side(fixture_a: Path, tmp_path: Path, mode: str) -> None:
    """Connectors and text projections equal weights changed by numpy."""
    source = fixture_a / "ltx-2.3-tiny.safetensors"
    weights = read_weights(source)
    rng = np.random.default_rng(4)
    factors: Weights = {}
    merged = dict(weights)
    for name, key in (
        (f"{PREFIX}{CONNECTOR}transformer_1d_blocks.0.attn1.to_q.weight", "diffusion_model."),
        ("text_embedding_projection.video_aggregate_embed.weight", ""),
    ):
        out, columns = weights[name].shape
        down = (rng.standard_normal((3, columns)) * columns**-0.5).astype(np.float32)
        up = rng.standard_normal((out, 3)).astype(np.float32)
        stem = key + name.removeprefix(PREFIX).removesuffix(".weight")
        factors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
        merged[name] = (weights[name] + up.astype(np.float64) @ down).astype(np.float32)
    save_file(factors, tmp_path / "lora.safetensors")
    metadata = {k: str(v) for k, v in open_checkpoint(source).metadata.items()}
    save_file(merged, tmp_path / "merged-distilled.safetensors", metadata=metadata)

    def encode(path: Path, loras: list[LoraSpec]) -> NDArray[np.float32]:
        files = ModelFiles(path, text_encoder=fixture_a / "gemma-3-tiny", variant="distilled")
        with LTX2Pipeline(
            files, device="cpu", weight_type="f32", threads=1, loras=loras, lora_mode=mode
        ) as pipe:
            return pipe.encode_prompt("a red fox").video

    want = encode(tmp_path / "merged-distilled.safetensors", [])
    compare(
        "context",
        encode(source, [LoraSpec(tmp_path / "lora.safetensors")]),
        want,
        tolerances.TEXT_F32,
    )
    assert nrmse(encode(source, []), want) > 0.01


def test_streams_alone(case: Case) -> None:
    """Graphs of one stream take the low-rank path too."""

    def alone(modality: Modality, **given: Any) -> Velocity:
        with case.open(**given) as pipe:
            return pipe.velocity(modality, None)

    got = alone(case.video, lora_mode="runtime").video
    want = alone(case.video, path=case.merged, loras=()).video
    assert got is not None and want is not None
    compare("video", got, want, tolerances.TRANSFORMER_F32)
