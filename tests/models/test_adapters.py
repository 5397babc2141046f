"""LoHa, LoKr and DoRA merged into weights of every stored type, against numpy in float64."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tolerances
from harness import compare, nrmse
from helpers.adapter_cases import ADAPTERS, AdapterCase, Array
from helpers.checkpoint_writers import write_safetensors
from helpers.stored_types import GGUF_TYPES, PACKINGS, decode_gguf, encode_gguf, pack
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ltx2cpp import LoraSpec, LTX2Pipeline, ModelFiles, _core
from ltx2cpp.checkpoint import (
    DType,
    LowRankPair,
    TensorInfo,
    WeightRef,
    open_checkpoint,
    read_array,
)
from ltx2cpp.errors import ArgumentError, CheckpointError
from ltx2cpp.model.components import Component
from ltx2cpp.model.lora_file import open_lora_file
from ltx2cpp.model.weight_scales import attach_scales, unpack_pairs
from ltx2cpp.networks.backend import Backend
from ltx2cpp.observing import Observer

# Whole blocks of every type, and rows that neither threads nor blocks of rows divide.
OUT, COLUMNS = 88, 512
NAME = "attn1.to_q.weight"

PLAIN = {"f32": "<f4", "f16": "<f2", "f64": "<f8"}
STORED = [*PLAIN, *(f"gguf {kind}" for kind in GGUF_TYPES), *PACKINGS]


class Base:
    """A weight in a file, and the values that it stands for.

    Args:
        folder: where the file is written.
        stored: one of STORED.
    """

    def __init__(self, folder: Path, stored: str) -> None:
        rng = np.random.default_rng(1)
        values = (rng.standard_normal((OUT, COLUMNS)) * 0.1).astype(np.float32)
        path = folder / "weight.safetensors"
        if stored in PACKINGS:
            packed, exact = pack(stored, values)
            stem = NAME.removesuffix("weight")
            described = {stem + end: (dtype, shape) for end, (dtype, shape, _) in packed.items()}
            data = {stem + end: payload for end, (_, _, payload) in packed.items()}
            write_safetensors(path, described, None, data)
            tensors = open_checkpoint(path).tensors
            unpacked = {name: unpack_pairs(name, info, tensors) for name, info in tensors.items()}
            self.ref = attach_scales(unpacked, str(path))[NAME]
            self.values: Array = exact.astype(np.float64)
            return
        kind = stored.removeprefix("gguf ")
        payload = (
            values.astype(PLAIN[stored]).tobytes() if stored in PLAIN else encode_gguf(kind, values)
        )
        path.write_bytes(payload)
        info = TensorInfo(NAME, DType(kind), (OUT, COLUMNS), path, 0, len(payload))
        self.ref = WeightRef(info)
        self.values = (
            values.astype(PLAIN[stored]).astype(np.float64)
            if stored in PLAIN
            else decode_gguf(kind, payload, (OUT, COLUMNS)).astype(np.float64)
        )


def adapter(name: str, seed: int = 2) -> AdapterCase:
    return ADAPTERS[name](np.random.default_rng(seed), OUT, COLUMNS)


def load(
    base: Base,
    folder: Path,
    adapters: Sequence[tuple[AdapterCase, float]],
    *,
    weight_type: str = "f32",
    lora_mode: str = "auto",
    threads: int = 1,
) -> tuple[str, NDArray[np.float32]]:
    """Return the type that a weight with adapters is held in, and its values."""
    pairs, changes = [], []
    for index, (case, strength) in enumerate(adapters):
        path = folder / f"adapter-{index}.safetensors"
        save_file(case.under("diffusion_model.attn1.to_q"), path)
        (change,) = open_lora_file(path).changes
        scaled = change.scaled(strength)
        (pairs if isinstance(scaled, LowRankPair) else changes).append(scaled)
    ref = dataclasses.replace(base.ref, low_rank=tuple(pairs), changes=tuple(changes))
    backend = Backend("cpu", weight_type, threads, Observer(), lora_mode)
    table = backend.table(Component({NAME: ref}, None, str(ref.info.path)))
    held, values = _core._testing.load_matrix(table, NAME, threads)
    return held, values


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_merge_into_every_stored_type(tmp_path: Path, name: str, stored: str) -> None:
    base, case = Base(tmp_path, stored), adapter(name)
    _, values = load(base, tmp_path, [(case, 1.0)])
    compare(name, values, base.values + case.change(base.values), tolerances.ADAPTER_F32)
    assert nrmse(values, base.values) > 0.1


@pytest.mark.parametrize("threads", [1, 3])
def test_several_adapters_with_strengths_sum_up(tmp_path: Path, threads: int) -> None:
    base = Base(tmp_path, "gguf q8_0")
    strengths = {"lora": 0.7, "loha": -0.4, "lokr half": 2.0, "dora of outputs": 0.5}
    strengths["dora of inputs"] = -1.5
    cases = [(adapter(name, seed), s) for seed, (name, s) in enumerate(strengths.items())]
    want = base.values + sum(s * case.change(base.values) for case, s in cases)
    _, values = load(base, tmp_path, cases, threads=threads)
    compare("sum", values, want, tolerances.ADAPTER_F32)
    # Each is reckoned from the stored weight, so their order changes only the last bits.
    _, reordered = load(base, tmp_path, cases[::-1], threads=threads)
    compare("reordered", reordered, want, tolerances.ADAPTER_F32)


def test_threads_change_no_bit(tmp_path: Path) -> None:
    base, case = Base(tmp_path, "gguf bf16"), adapter("lokr with dora")
    _, one = load(base, tmp_path, [(case, 0.8)])
    _, several = load(base, tmp_path, [(case, 0.8)], threads=5)
    np.testing.assert_array_equal(one, several)


@pytest.mark.parametrize(
    ("stored", "mode", "held"),
    [
        ("gguf q4_k", "auto", "q8_0"),
        ("gguf mxfp4", "auto", "q8_0"),
        ("gguf iq2_xs", "auto", "q8_0"),
        ("gguf q4_k", "merge", "q4_K"),
        # A type that cannot be made from values makes room too.
        ("gguf iq2_xs", "merge", "bf16"),
        ("gguf q8_0", "auto", "q8_0"),
        ("f16", "auto", "f16"),
        ("gguf bf16", "auto", "bf16"),
        ("nvfp4", "auto", "q8_0"),
    ],
)
def test_few_bits_make_room_for_what_is_merged(
    tmp_path: Path, stored: str, mode: str, held: str
) -> None:
    base, case = Base(tmp_path, stored), adapter("loha")
    found, values = load(base, tmp_path, [(case, 0.05)], weight_type="file", lora_mode=mode)
    assert found == held
    change = 0.05 * case.change(base.values)
    if held != "q4_K":
        kept = values - base.values
        assert 0.9 < float(np.vdot(kept, change) / np.vdot(change, change)) < 1.1


def test_a_row_without_direction_stays_zero(tmp_path: Path) -> None:
    base, case = Base(tmp_path, "f32"), adapter("dora of outputs")
    values = base.values.astype(np.float32)
    values[5] = 0
    case.tensors["lora_up.weight"][5] = 0
    base.ref.info.path.write_bytes(values.tobytes())
    _, loaded = load(base, tmp_path, [(case, 1.0)])
    assert not loaded[5].any()
    assert np.isfinite(loaded).all()


@pytest.mark.parametrize("name", ["loha", "lokr half", "dora of inputs"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, name: str) -> None:
    for end in adapter(name).tensors:
        case = adapter(name)
        case.tensors[end][...] = np.nan
        with pytest.raises(CheckpointError, match=r"not finite|alpha nan"):
            load(Base(tmp_path, "f32"), tmp_path, [(case, 1.0)])


# -- through a whole model ------------------------------------------------------------------------


TEXT_MODULES = {
    "kohya": "lora_te_model_layers_1_self_attn_q_proj",
    "comfy": "text_encoders.gemma3_12b.transformer.model.layers.1.self_attn.q_proj",
    "diffusers": "text_encoder.model.language_model.layers.1.self_attn.q_proj",
    "llama.cpp": "text_encoder.blk.1.attn_q",
}


class TextCase:
    """The tiny model, a LoKr of its text encoder, and an encoder with that merged by numpy."""

    def __init__(self, fixture: Path, folder: Path) -> None:
        rng = np.random.default_rng(3)
        self.factors = [
            rng.standard_normal(shape).astype(np.float32) for shape in ((8, 4), (16, 24))
        ]
        self.checkpoint = fixture / "ltx-2.3-tiny.safetensors"
        self.encoder = fixture / "gemma-3-tiny"
        self.merged = folder / "merged"
        shutil.copytree(self.encoder, self.merged, copy_function=shutil.copyfile)
        self.merged.chmod(0o755)
        # The shard with the first layers.
        weights = self.merged / "model-00001-of-00002.safetensors"
        tensors = {
            name: np.ascontiguousarray(read_array(info), np.float32)
            for name, info in open_checkpoint(weights).tensors.items()
        }
        (name,) = (name for name in tensors if name.endswith("layers.1.self_attn.q_proj.weight"))
        tensors[name] += np.kron(*self.factors)
        save_file(tensors, weights)

    def write(self, path: Path, module: str) -> Path:
        first, second = self.factors
        save_file({f"{module}.lokr_w1": first, f"{module}.lokr_w2": second}, path)
        return path

    def encode(self, encoder: Path, loras: Sequence[LoraSpec] = ()) -> NDArray[np.float32]:
        files = ModelFiles(self.checkpoint, text_encoder=encoder, variant="distilled")
        with LTX2Pipeline(files, device="cpu", weight_type="f32", threads=1, loras=loras) as pipe:
            return pipe.encode_prompt("a red fox").video


@pytest.fixture(scope="module")
def text(fixture_a: Path, tmp_path_factory: pytest.TempPathFactory) -> TextCase:
    return TextCase(fixture_a, tmp_path_factory.mktemp("text"))


@pytest.mark.parametrize("form", TEXT_MODULES)
def test_the_text_encoder_is_changed_too(text: TextCase, tmp_path: Path, form: str) -> None:
    path = text.write(tmp_path / "lora.safetensors", TEXT_MODULES[form])
    want = text.encode(text.merged)
    compare("context", text.encode(text.encoder, [LoraSpec(path)]), want, tolerances.TEXT_F32)
    assert nrmse(text.encode(text.encoder), want) > 1e-3


def test_only_pairs_run_beside_the_weights(text: TextCase, tmp_path: Path) -> None:
    path = text.write(tmp_path / "lora.safetensors", TEXT_MODULES["comfy"])
    files = ModelFiles(text.checkpoint, text_encoder=text.encoder, variant="distilled")
    with pytest.raises(ArgumentError, match=r"'runtime' .*lora.safetensors is a LoKr"):
        LTX2Pipeline(files, device="cpu", loras=[LoraSpec(path)], lora_mode="runtime")
    with LTX2Pipeline(files, device="cpu", loras=[LoraSpec(path)]) as pipe:
        assert pipe.loras[0].kind == "LoKr"
        with pytest.raises(ArgumentError, match="merged into them"):
            pipe.set_loras([LoraSpec(path)], lora_mode="runtime")
