"""Files of other tools are read, or refused with what they are and what to take instead."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from helpers.checkpoint_writers import (
    STRING,
    gguf_bytes,
    gguf_key,
    gguf_tensor,
    write_gguf,
    write_safetensors,
)
from helpers.lora_cases import apply_loras, make_model
from helpers.model_writers import (
    DIT,
    Tensors,
    released_part,
    released_transformer,
    write_model,
)

from ltx2cpp import LoraSpec
from ltx2cpp.cli.main import main
from ltx2cpp.errors import CheckpointError, UnsupportedError, WeightError
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.model.resolve import resolve

# -- the vocoder in a file of its own -------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.0", "2.3"])
@pytest.mark.parametrize("prefixed", [True, False])
def test_vocoder_in_a_file_of_its_own(version: str, prefixed: bool, tmp_path: Path) -> None:
    whole = released_part(version, "audio_vae.", "vocoder.")
    vocoder = {name: value for name, value in whole.items() if name.startswith("vocoder.")}
    vae = {name: value for name, value in whole.items() if name.startswith("audio_vae.")}
    if not prefixed:
        vocoder = {name.removeprefix("vocoder."): value for name, value in vocoder.items()}
    paths = [
        write_model(tmp_path / f"{name}.safetensors", part, version)
        for name, part in (("vae", vae), ("vocoder", vocoder), ("whole", whole))
    ]
    models = resolve(ModelFiles(audio_vae=paths[0], vocoder=paths[1]))
    assert models.require("vocoder").source == str(paths[1])
    assert models.require("audio_decoder").source == str(paths[0])
    wanted = resolve(ModelFiles(audio_vae=paths[2]))
    assert models.audio_config == wanted.audio_config
    # It wins over the one beside the audio VAE, as every component given by itself does.
    models = resolve(ModelFiles(audio_vae=paths[2], vocoder=paths[1]))
    assert models.require("vocoder").source == str(paths[1])


def test_vocoder_option_refuses_other_parts(tmp_path: Path) -> None:
    path = write_model(tmp_path / "vae.safetensors", released_part("2.3", "audio_vae."))
    with pytest.raises(CheckpointError, match="given as vocoder, but it holds no vocoder, only"):
        resolve(ModelFiles(vocoder=path))
    with pytest.raises(CheckpointError, match="vocoder="):
        resolve(ModelFiles(audio_vae=path)).require("vocoder")


def test_vocoder_option_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.safetensors"
    assert main(["generate", "a", "--vocoder", str(path), "-o", str(tmp_path / "a.mp4")]) == 3
    assert f"{path}: no such file" in capsys.readouterr().err


# -- a transformer without its audio stream -------------------------------------------------------

_AUDIO = ("audio_", ".audio", "av_ca", "a2v", "v2a")


def _video_only(version: str) -> Tensors:
    tensors = released_transformer(version)
    return {
        name: value for name, value in tensors.items() if not any(part in name for part in _AUDIO)
    }


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_transformer_without_audio_stream_is_no_ltx_video(version: str, tmp_path: Path) -> None:
    tensors = _video_only(version)
    assert f"{DIT}patchify_proj.weight" in tensors
    path = write_model(tmp_path / "video-dev.safetensors", tensors, None)
    models = resolve(ModelFiles(path))
    assert models.version == version and not models.require("transformer").config.audio_stream
    found = inspect_file(path)
    assert found.version == version and "silent clips only" in found.description
    transformer = next(part for part in found.components if part.name == "transformer")
    assert transformer.complete


def test_ltx_video_is_still_named(tmp_path: Path) -> None:
    tensors = _video_only("2.0")
    tensors[f"{DIT}caption_projection.linear_1.weight"] = ("BF16", (4096, 4096))
    path = write_safetensors(tmp_path / "ltxv-13b.safetensors", tensors)
    with pytest.raises(UnsupportedError, match="LTX-Video"):
        resolve(ModelFiles(path))


# -- weights packed by other runtimes -------------------------------------------------------------

_PACKINGS: dict[str, Tensors] = {
    "MLX": {"weight": ("U32", (64, 8)), "scales": ("BF16", (64, 2)), "biases": ("BF16", (64, 2))},
    "GPTQ,": {"qweight": ("I32", (8, 64)), "qzeros": ("I32", (1, 8)), "scales": ("F16", (1, 64))},
    "AWQ,": {"qweight": ("I32", (64, 8)), "qzeros": ("I32", (1, 8)), "scales": ("F16", (1, 64))},
    "GPTQ or AWQ": {"qweight": ("I32", (64, 8))},
    "Nunchaku": {"qweight": ("I8", (64, 8)), "wscales": ("BF16", (1, 64))},
    "compressed-tensors": {"weight_packed": ("I32", (64, 8)), "weight_shape": ("I64", (2,))},
    "compressed-tensors with zero points": {
        "weight": ("I8", (64, 64)),
        "weight_scale": ("F32", (64, 1)),
        "weight_zero_point": ("I8", (64, 1)),
    },
    "bitsandbytes": {"weight": ("U8", (2048, 1)), "weight.absmax": ("F32", (64,))},
    "bitsandbytes, INT8": {"weight": ("I8", (64, 64)), "SCB": ("F32", (64,))},
    "HQQ": {"W_q": ("U8", (32, 64)), "meta": ("U8", (9,))},
    "quanto": {"weight._data": ("I8", (64, 64)), "weight._scale": ("F32", (64, 1))},
    "EXL2": {"q_weight": ("I32", (8, 64)), "q_scale": ("I32", (1, 8))},
    "EXL3": {"trellis": ("I16", (4, 4, 64))},
}


@pytest.mark.parametrize("packing", _PACKINGS)
@pytest.mark.parametrize(
    "module", ["model.layers.0.self_attn.q_proj", f"{DIT}transformer_blocks.0.attn1.to_q"]
)
def test_packings_are_named_with_a_cure(packing: str, module: str, tmp_path: Path) -> None:
    tensors = {f"{module}.{name}": value for name, value in _PACKINGS[packing].items()}
    path = write_safetensors(tmp_path / "model.safetensors", tensors)
    for files in (ModelFiles(text_encoder=path), ModelFiles(path)):
        with pytest.raises(UnsupportedError, match=f"{packing}.*; use the bf16.*GGUF"):
            resolve(files)
    with pytest.raises(UnsupportedError, match=packing):
        inspect_file(path)


@pytest.mark.parametrize("dtype", ["U16", "U32", "U64", "I16", "I32", "I64"])
def test_weights_in_integers_are_refused(dtype: str, tmp_path: Path) -> None:
    tensors = released_transformer("2.3")
    name = "transformer_blocks.0.attn1.to_q.weight"
    tensors[DIT + name] = (dtype, (4096, 512))
    with pytest.raises(UnsupportedError, match=rf"'{name}' is stored as packed {dtype.lower()}, "):
        resolve(ModelFiles(write_model(tmp_path / "x-dev.safetensors", tensors)))


# -- LoRAs of the text encoder --------------------------------------------------------------------


def _lora(path: Path, *modules: str) -> Path:
    tensors: Tensors = {}
    for module in modules:
        tensors[f"{module}.lora_A.weight"] = ("BF16", (4, 4096))
        tensors[f"{module}.lora_B.weight"] = ("BF16", (4096, 4))
    return write_safetensors(path, tensors)


@pytest.mark.parametrize(
    "module",
    [
        "text_encoders.model.layers.0.self_attn.q_proj",
        "base_model.model.model.layers.47.mlp.down_proj",
        "language_model.model.layers.0.self_attn.o_proj",
        "lora_te_model_layers_0_self_attn_q_proj",
        "blk.0.attn_q",
    ],
)
def test_lora_of_the_text_encoder_is_named(module: str, tmp_path: Path) -> None:
    path = _lora(tmp_path / "lora.safetensors", module)
    with pytest.raises(WeightError, match=r"LoRA is for the text encoder .*leave the LoRA out"):
        apply_loras(make_model(tmp_path, "2.3"), [LoraSpec(path)])
    inspection = inspect_file(path)
    assert inspection.description.startswith("LoRA for 1 modules")
    assert inspection.components[0].problem == ""


def test_lora_that_changes_the_text_encoder_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _lora(
        tmp_path / "lora.safetensors",
        "diffusion_model.transformer_blocks.0.attn1.to_k",
        "text_encoders.model.layers.0.self_attn.q_proj",
    )
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        apply_loras(make_model(tmp_path, "2.3"), [LoraSpec(path)])
    assert "1 of its modules are of the text encoder" in caplog.text
    assert inspect_file(path).components[0].problem == ""


# -- models of other families ---------------------------------------------------------------------

_LANGUAGE: Tensors = {
    "token_embd.weight": ("F32", (64, 32)),
    "blk.0.attn_norm.weight": ("F32", (32,)),
    "blk.0.attn_q.weight": ("F32", (32, 32)),
}
_DIFFUSION: Tensors = {
    "blocks.0.self_attn.q.weight": ("F32", (32, 32)),
    "proj_out.weight": ("F32", (32, 32)),
}


@pytest.mark.parametrize(
    ("family", "tensors"),
    [
        ("llama", _LANGUAGE),
        ("gemma2", _LANGUAGE),
        ("gemma4", _LANGUAGE),
        ("qwen3", _LANGUAGE),
        ("wan", _DIFFUSION),
        ("flux", _DIFFUSION),
    ],
)
def test_other_families_are_told_by_their_metadata(
    family: str, tensors: Tensors, tmp_path: Path
) -> None:
    keys = [gguf_key("general.architecture", STRING, family)]
    path = write_gguf(tmp_path / "m.gguf", tensors, keys)
    for files in (ModelFiles(path), ModelFiles(text_encoder=path), ModelFiles(transformer=path)):
        with pytest.raises(UnsupportedError, match=f"family '{family}'"):
            resolve(files)
    with pytest.raises(UnsupportedError, match=f"family '{family}'"):
        inspect_file(path)


@pytest.mark.parametrize("family", ["ltxv", "pig", "any"])
def test_names_of_families_that_publishers_make_up_are_no_obstacle(
    family: str, tmp_path: Path
) -> None:
    tensors = {name.removeprefix(DIT): value for name, value in released_transformer("2.3").items()}
    keys = [gguf_key("general.architecture", STRING, family)]
    path = write_gguf(tmp_path / "ltx-dev.gguf", tensors, keys)
    assert resolve(ModelFiles(path)).version == "2.3"


@pytest.mark.parametrize(("kind", "name"), [(9, "Q8_1"), (15, "Q8_K"), (31, "Q4_0_4_4")])
def test_types_that_hold_no_weights_are_named(kind: int, name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes([], [gguf_tensor("a", [256], kind, 0)], 256))
    with pytest.raises(CheckpointError, match=rf"stored as {name} .*; use a file in another type"):
        inspect_file(path)
