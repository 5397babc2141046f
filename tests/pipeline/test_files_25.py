"""Files of LTX-2.5 as people publish and convert them give the numbers of the official ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from helpers.checkpoint_writers import ARRAY, BOOL, F32, I32, STRING, U32, gguf_key, write_gguf
from helpers.element_types import in_type, plain, values_of
from helpers.stored_models import DIT, Model, Stored, read_stored, renamed, write_stored
from helpers.stored_types import pack
from helpers.transformer_cases import make_modality

from ltx2cpp import LoraSpec, LTX2Pipeline, ModelFiles
from ltx2cpp.checkpoint import open_checkpoint, read_bytes
from ltx2cpp.convert import convert
from ltx2cpp.errors import ConfigError, UnsupportedError, WeightError
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.model.llama_cpp import gguf_name

PROMPT = "A ship, <|image|> and <bos> in the text, sails home."
# llama.cpp's keys do not say the ids of placeholders, which are others in a tiny vocabulary.
PLAIN_PROMPT = "A ship sails home."
PROJECTION = "text_embedding_projection."


@pytest.fixture(scope="module")
def official(fixture_c: Path) -> dict[str, Path]:
    return {
        "transformer": fixture_c / "ltx-2.5-tiny-transformer.safetensors",
        "text_encoder": fixture_c / "gemma4-tiny-with-proj.safetensors",
    }


def open_files(files: dict[str, Path], *loras: LoraSpec) -> LTX2Pipeline:
    return LTX2Pipeline(
        ModelFiles(**files, variant="distilled"),
        device="cpu",
        weight_type="f32",
        threads=1,
        loras=loras,
    )


def results(
    files: dict[str, Path], prompt: str = PROMPT, loras: tuple[LoraSpec, ...] = ()
) -> dict[str, np.ndarray]:
    with open_files(files, *loras) as pipe:
        ids = pipe.tokenize(prompt)
        embedding = pipe.encode_prompt(prompt)
        rng = np.random.default_rng(3)
        config = pipe.networks.transformer.config
        video = make_modality(config, "video", rng, sigma=0.6, grid=(2, 2, 3), context_rows=8)
        audio = make_modality(config, "audio", rng, sigma=0.6, audio_tokens=5, context_rows=8)
        velocity = pipe.velocity(dataclasses.replace(video, keyframes_mask=MARKS), audio)
        return {
            "ids": ids,
            "states": pipe.hidden_states(ids),
            "video context": embedding.video,
            "audio context": embedding.audio,
            "video velocity": velocity.video,
            "audio velocity": velocity.audio,
        }


MARKS = np.repeat(np.float32([1, 0]), 6)


@pytest.fixture(scope="module")
def wanted(official: dict[str, Path]) -> dict[str, np.ndarray]:
    return results(official)


def check(files: dict[str, Path], wanted: dict[str, np.ndarray], prompt: str = PROMPT) -> None:
    for name, values in results(files, prompt).items():
        compare(name, values, wanted[name], tolerances.TRANSFORMER_F32)


# -- converted ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted(official: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("converted")
    files = {role: folder / f"{role}.gguf" for role in official}
    for role, path in files.items():
        convert(official[role], path, "bf16")
    yield files


def test_converted_files_give_the_same_numbers(
    converted: dict[str, Path], wanted: dict[str, np.ndarray]
) -> None:
    for name, values in results(converted).items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)


def test_a_converted_text_encoder_keeps_tokenizer_and_version(
    converted: dict[str, Path], official: dict[str, Path]
) -> None:
    source, target = (open_checkpoint(files["text_encoder"]) for files in (official, converted))
    assert target.metadata["general.architecture"] == "gemma4"
    assert target.metadata["gemma_config"] == source.metadata["gemma_config"]
    assert target.metadata["gemma4.attention.head_count_kv"].tolist() == [2] * 5 + [1, 2, 1]
    sides = [name for name in source.tensors if name.startswith(("tokenizer_json", "hf_asset__"))]
    assert len(sides) == 5
    for name in sides:
        assert read_bytes(target.tensors[name]) == read_bytes(source.tensors[name]), name
    found = inspect_file(converted["text_encoder"])
    assert found.description == "Gemma 4 text encoder with the projection of LTX-2.5"
    assert all(part.complete for part in found.components) and not found.missing
    with open_files(official | {"tokenizer": converted["text_encoder"]}) as pipe:
        assert pipe.tokenize("a").tolist() == [2, *pipe.tokenize("<bos>a").tolist()[1:]]


def test_a_folder_of_hugging_face_converts_with_its_tokenizer(
    official: dict[str, Path], wanted: dict[str, np.ndarray], tmp_path: Path
) -> None:
    stored, metadata = read_stored(official["text_encoder"])
    folder = tmp_path / "gemma"
    folder.mkdir()
    (folder / "config.json").write_text(metadata["gemma_config"])
    (folder / "tokenizer.json").write_bytes(stored["tokenizer_json"].data)
    nested = {
        name.replace("model.", "model.language_model.", 1): tensor
        for name, tensor in stored.items()
        if name.startswith("model.")
    }
    write_stored(folder / "model.safetensors", nested)
    convert(folder, tmp_path / "gemma.gguf", "f32")
    assert open_checkpoint(tmp_path / "gemma.gguf").metadata["tokenizer.ggml.model"] == "gemma4"
    projection = write_stored(tmp_path / "projection.safetensors", only(stored, PROJECTION))
    files = {"text_encoder": tmp_path / "gemma.gguf", "text_projection": projection}
    check(official | files, wanted)


def test_every_part_converts_and_is_found_again(fixture_c: Path, tmp_path: Path) -> None:
    for path in sorted(fixture_c.glob("ltx-2.5-*.safetensors")):
        target = tmp_path / f"{path.stem}.gguf"
        report = convert(path, target, "q8_0")
        before, after = inspect_file(path), inspect_file(target)
        assert after.description == before.description
        assert [part.name for part in after.components] == [p.name for p in before.components]
        assert all(part.complete for part in after.components), path.name
        assert set(report.dropped) == set(before.ignored)


# -- as llama.cpp and community converters write them ----------------------------------------------


def llama_cpp(path: Path, source: Path, name: str, *extra: bytes) -> Path:
    """Write the text model alone, as llama.cpp does: without projection, tokenizer and version."""
    stored, _ = read_stored(source)
    model = {
        gguf_name(key.removeprefix("model.")): plain("f32", values_of(tensor))
        for key, tensor in stored.items()
        if key.startswith("model.")
    }
    model["rope_freqs.weight"] = plain("f32", np.ones(20, np.float32))
    keys = [
        gguf_key("general.architecture", STRING, "gemma4"),
        gguf_key("general.name", STRING, name),
        gguf_key("gemma4.block_count", U32, 8),
        gguf_key("gemma4.embedding_length_per_layer_input", U32, 0),
        gguf_key("gemma4.attention.head_count_kv", ARRAY, (I32, [2, 2, 2, 2, 2, 1, 2, 1])),
        gguf_key("gemma4.attention.layer_norm_rms_epsilon", F32, 1e-6),
        gguf_key("gemma4.attention.sliding_window", U32, 12),
        gguf_key(
            "gemma4.attention.sliding_window_pattern", ARRAY, (BOOL, [1, 1, 1, 1, 1, 0, 1, 0])
        ),
        gguf_key("gemma4.rope.freq_base", F32, 1e6),
        gguf_key("gemma4.rope.freq_base_swa", F32, 1e4),
        *extra,
    ]
    described = {key: (tensor.dtype, tensor.shape) for key, tensor in model.items()}
    return write_gguf(path, described, keys, {key: each.data for key, each in model.items()})


def only(model: Model, prefix: str) -> Model:
    return {name: tensor for name, tensor in model.items() if name.startswith(prefix)}


@pytest.fixture
def beside(official: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Projection and tokenizer in files of their own."""
    stored, _ = read_stored(official["text_encoder"])
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_bytes(stored["tokenizer_json"].data)
    projection = write_stored(tmp_path / "projection.safetensors", only(stored, PROJECTION))
    return {"tokenizer": tokenizer, "text_projection": projection}


def test_a_text_encoder_from_llama_cpp(
    official: dict[str, Path], beside: dict[str, Path], tmp_path: Path
) -> None:
    path = llama_cpp(tmp_path / "g.gguf", official["text_encoder"], "Gemma4 LTX 2.5")
    files = official | beside | {"text_encoder": path}
    check(files, results(official, PLAIN_PROMPT), PLAIN_PROMPT)


@pytest.mark.parametrize(
    ("name", "extra", "error", "message"),
    [
        ("Gemma 4 12B It", (), ConfigError, "has no gemma_version, as stock Gemma 4 has"),
        (
            "Gemma 4 E2B LTX",
            (gguf_key("gemma4.attention.shared_kv_layers", U32, 2),),
            UnsupportedError,
            "shared_kv_layers is 2",
        ),
    ],
)
def test_other_gemma_4_from_llama_cpp_is_refused(
    official: dict[str, Path],
    tmp_path: Path,
    name: str,
    extra: tuple[bytes, ...],
    error: type[Exception],
    message: str,
) -> None:
    path = llama_cpp(tmp_path / "g.gguf", official["text_encoder"], name, *extra)
    with pytest.raises(error, match=message):
        open_files(official | {"text_encoder": path})


def test_a_transformer_without_connectors(
    official: dict[str, Path], wanted: dict[str, np.ndarray], tmp_path: Path
) -> None:
    stored, metadata = read_stored(official["transformer"])
    connectors = {name: each for name, each in stored.items() if "_embeddings_connector." in name}
    rest = {name: each for name, each in stored.items() if name not in connectors}
    bare = renamed(rest, lambda name: name.removeprefix(DIT))
    path = write_stored(tmp_path / "ltx.gguf", bare, metadata | {"general.architecture": "ltxv"})
    found = inspect_file(path)
    assert found.version == "2.5" and "video_connector" in found.missing
    halves = {
        name: plain("f16", values_of(each)) if name.endswith("learnable_registers") else each
        for name, each in renamed(connectors, lambda name: name.removeprefix(DIT)).items()
    }
    other = write_stored(tmp_path / "connectors.safetensors", halves)
    check(official | {"transformer": path, "connectors": other}, wanted)


# -- packed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["int8 rotated", "nvfp4", "e4m3 scalar"])
def test_packed_files(official: dict[str, Path], tmp_path: Path, kind: str) -> None:
    files, exact = {}, {}
    for role, path in official.items():
        stored, metadata = read_stored(path)
        packed, values = in_type(stored, kind) if role == "transformer" else pack_gemma(stored)
        assert len(packed) > len(stored)
        files[role] = write_stored(tmp_path / f"{role}-packed.safetensors", packed, metadata)
        exact[role] = write_stored(tmp_path / f"{role}.safetensors", values, metadata)
    check(files, results(exact))


def pack_gemma(stored: Model) -> tuple[Model, Model]:
    """The text encoder's matrices in INT8, a scale for each row."""
    packed, exact = dict(stored), dict(stored)
    for name, tensor in stored.items():
        if name.startswith("model.layers.") and name.endswith("_proj.weight"):
            parts, values = pack("int8 rows", values_of(tensor))
            stem = name.removesuffix("weight")
            packed |= {stem + end: Stored(*part) for end, part in parts.items()}
            exact[name] = plain("f32", values)
    return packed, exact


# -- LoRAs ----------------------------------------------------------------------------------------

# Stored weight -> the module as a LoRA names it, one of every component.
_BLOCK, _CONNECTOR = "transformer_blocks.", "video_embeddings_connector.transformer_1d_blocks."
LORA_MODULES = {
    f"{DIT}{name}": f"diffusion_model.{name}"
    for name in (
        f"{_BLOCK}1.ff.net.0.proj",
        f"{_BLOCK}0.audio_to_video_attn.to_k",
        f"{_CONNECTOR}1.attn1.to_q",
    )
} | {
    f"{PROJECTION}audio_aggregate_embed": f"{PROJECTION}audio_aggregate_embed",
    "model.layers.5.self_attn.k_proj": "text_encoder.model.layers.5.self_attn.k_proj",
    "model.layers.2.mlp.down_proj": "model.language_model.layers.2.mlp.down_proj",
}


def test_a_lora_changes_every_component(official: dict[str, Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    factors: Model = {}
    merged = {}
    for role, path in official.items():
        stored, metadata = read_stored(path)
        for name, module in LORA_MODULES.items():
            if f"{name}.weight" not in stored:
                continue
            values = values_of(stored[f"{name}.weight"])
            down = 0.1 * rng.standard_normal((3, values.shape[1]), np.float32)
            up = 0.1 * rng.standard_normal((len(values), 3), np.float32)
            factors[f"{module}.lora_A.weight"] = plain("f32", down)
            factors[f"{module}.lora_B.weight"] = plain("f32", up)
            stored[f"{name}.weight"] = plain("f32", values + 0.5 * up @ down)
        merged[role] = write_stored(tmp_path / f"{role}.safetensors", stored, metadata)
    assert len(factors) == 2 * len(LORA_MODULES)
    path = write_stored(
        tmp_path / "ltx-2.5-22b-ic-lora-detail.safetensors",
        factors,
        {"reference_downscale_factor": "2"},
    )
    found = inspect_file(path)
    assert found.lora is not None and found.lora.reference_downscale_factor == 2
    assert found.description == "LoRA for 6 modules of LTX-2.5: it changes a model but is none"
    want = results(merged)
    for name, values in results(official, loras=(LoraSpec(path, 0.5),)).items():
        compare(name, values, want[name], tolerances.TRANSFORMER_F32)


def test_a_global_layer_has_no_values_to_change(official: dict[str, Path], tmp_path: Path) -> None:
    stem = "text_encoder.model.layers.5.self_attn.v_proj"
    path = write_stored(
        tmp_path / "lora.safetensors",
        {
            f"{stem}.lora_A.weight": plain("f32", np.ones((2, 72), np.float32)),
            f"{stem}.lora_B.weight": plain("f32", np.ones((40, 2), np.float32)),
        },
    )
    with pytest.raises(WeightError, match=r"layers\.5\.self_attn\.v_proj"):
        open_files(official, LoraSpec(path))
