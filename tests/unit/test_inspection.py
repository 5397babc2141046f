"""What inspect says of files of every kind."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path

import pytest
from helpers.checkpoint_writers import write_safetensors
from synthetic.checkpoints import choose_tensors

from ltx2cpp.cli.main import main
from ltx2cpp.errors import CheckpointError, UnsupportedError
from ltx2cpp.model.adapter_keys import adapter_kind
from ltx2cpp.model.inspection import inspect_file, summarise_metadata


def test_inspect_describes_a_whole_checkpoint(fixture_a: Path) -> None:
    found = inspect_file(fixture_a / "ltx-2.3-tiny.safetensors")
    assert (found.family, found.version, found.model_version) == ("ltx-2", "2.3", "2.3.0")
    assert (found.kind, found.tensors, found.num_blocks) == ("safetensors", 1737, 4)
    assert found.description == "LTX-2.3, whole checkpoint"
    assert found.variant == ""
    assert [part.name for part in found.components] == [
        "text_projection",
        "video_connector",
        "audio_connector",
        "transformer",
        "video_decoder",
        "audio_decoder",
        "vocoder",
        "video_encoder",
        "audio_encoder",
    ]
    assert all(part.complete and not part.problem for part in found.components)
    assert set(found.missing) == {"text_encoder", "tokenizer"}
    assert "text_encoder=" in found.missing["text_encoder"]
    transformer = found.components[3]
    assert transformer.dtypes == {"bf16": 402}
    assert transformer.size_bytes == 2 * transformer.parameters
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["components"][3]["name"] == "transformer"
    assert plain["metadata"]["model_version"] == "2.3.0"


def test_inspect_describes_a_text_encoder(fixture_a: Path) -> None:
    found = inspect_file(fixture_a / "gemma-3-tiny")
    assert (found.family, found.kind) == ("gemma-3", "sharded")
    assert found.description == "Gemma 3 text encoder"
    assert [(part.name, part.tensors, part.complete) for part in found.components] == [
        ("text_encoder", 106, True)
    ]
    assert found.missing == {}
    assert len(found.ignored) == 23


def test_inspect_names_parts_and_does_not_blame_them_for_being_parts(fixture_a: Path) -> None:
    found = inspect_file(fixture_a / "ltx-2.3-tiny-temporal-upscaler-x2.safetensors")
    assert found.description == "LTX-2: temporal upsampler"
    assert found.missing == {}
    assert found.components[0].complete


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_inspect_reads_headers_only(
    tmp_path: Path, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = choose_tensors(version, 48, ("transformer", "connectors"), 1)
    # A sparse file of 40 GB: reading its weights would take minutes.
    path = write_safetensors(tmp_path / "ltx-2-dev.safetensors", tensors)
    found = inspect_file(path)
    assert (found.version, found.variant, found.num_blocks) == (version, "dev", 48)
    assert found.size_bytes > 38e9
    assert found.unknown == ()
    assert set(found.missing) >= {"text_encoder", "text_projection", "video_decoder"}
    transformer = next(part for part in found.components if part.name == "transformer")
    assert transformer.complete, transformer.problem
    assert 18.5e9 < transformer.parameters < 19.1e9
    assert caplog.text == ""


def test_inspect_lists_what_one_block_lacks(tmp_path: Path) -> None:
    tensors = choose_tensors("2.3", 6, ("transformer",), 1)
    lost = "transformer_blocks.4.ff.net.2.weight"
    del tensors[f"model.diffusion_model.{lost}"]
    found = inspect_file(write_safetensors(tmp_path / "ltx-dev.safetensors", tensors))
    (transformer,) = found.components
    assert not transformer.complete
    assert transformer.missing == (lost,)
    assert transformer.problem == f"1 tensors are missing, such as '{lost}'"


def test_inspect_says_why_a_component_cannot_be_used(tmp_path: Path) -> None:
    tensors = choose_tensors("2.3", 2, ("transformer",), 1)
    config = {"transformer": {"rope_type": "spiral"}}
    path = tmp_path / "ltx-dev.safetensors"
    found = inspect_file(write_safetensors(path, tensors, {"config": json.dumps(config)}))
    (transformer,) = found.components
    assert not transformer.complete
    assert "rope_type is 'spiral'" in transformer.problem


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["diffusion_model.a.lora_A.weight", "diffusion_model.a.lora_B.weight"], "LoRA"),
        (["a.lora_A.default.weight"], "LoRA"),
        (["lora_unet_a.alpha", "lora_unet_a.lora_down.weight"], "LoRA"),
        (["a.lokr_w1", "a.lokr_w2"], "LoKr"),
        (["a.hada_w1_a"], "LoHa"),
        (["a.lora_down.weight", "a.lora_up.weight", "a.dora_scale"], "DoRA"),
        (["a.hada_w1_a", "a.dora_scale"], "LoHa with DoRA"),
        (["a.oft_R.weight"], "OFT adapter"),
        (["a.b1.weight", "a.a1.weight", "a.b2.weight", "a.a2.weight"], "GLoRA adapter"),
        (["a.a1.weight", "a.b1.weight"], None),
        (["a.weight", "a.weight_scale"], None),
        (["transformer_blocks.0.attn1.to_q.weight", "explored.weight"], None),
    ],
)
def test_adapter_kind_goes_by_names(names: list[str], kind: str | None) -> None:
    assert adapter_kind(names) == kind


def test_inspect_says_that_a_lora_is_no_model(tmp_path: Path) -> None:
    stem = "diffusion_model.transformer_blocks.0.attn1."
    tensors = {
        f"{stem}{layer}.lora_{half}.weight": ("BF16", (4, 4))
        for layer in ("to_q", "to_k")
        for half in "AB"
    }
    found = inspect_file(write_safetensors(tmp_path / "lora.safetensors", tensors))
    assert found.family == "lora"
    assert found.description == "LoRA for 2 modules: it changes a model but is none"
    assert [(part.name, part.tensors) for part in found.components] == [("lora", 4)]
    assert found.lora is not None
    assert (found.lora.modules, found.lora.ranks, found.lora.factors) == (2, (4, 4), (1.0, 1.0))


def test_inspect_tells_what_an_ic_lora_wants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stem = "diffusion_model.transformer_blocks.0.attn1.to_gate_logits"
    tensors = {
        f"{stem}.lora_A.weight": ("BF16", (2, 64)),
        f"{stem}.lora_B.weight": ("BF16", (32, 2)),
        "stray.bias": ("BF16", (4,)),
    }
    metadata = {"reference_downscale_factor": "2"}
    path = write_safetensors(tmp_path / "pose.safetensors", tensors, metadata)
    assert inspect_file(path).version == "2.3"
    assert main(["inspect", str(path)]) == 0
    told = capsys.readouterr().out
    assert "LoRA for 1 modules of LTX-2.3" in told and "rank 2, alpha / rank 1" in told
    assert "its reference video is 2 times smaller and 1 times slower" in told
    assert "unknown: stray.bias" in told


def test_inspect_admits_what_it_does_not_know(tmp_path: Path) -> None:
    tensors = {"unet.conv.weight": ("F32", (4, 4))}
    found = inspect_file(write_safetensors(tmp_path / "a.safetensors", tensors))
    assert (found.family, found.components) == ("unknown", ())
    assert found.unknown == ("unet.conv.weight",)


def test_inspect_refuses_what_is_no_model_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    with pytest.raises(CheckpointError, match="announces a header"):
        inspect_file(path)
    marker = "adaln_single.emb.timestep_embedder.linear_1.bias"
    old = write_safetensors(tmp_path / "old.safetensors", {marker: ("BF16", (4,))})
    with pytest.raises(UnsupportedError, match="LTX-Video"):
        inspect_file(old)


def test_summarise_metadata_cuts_long_values() -> None:
    summary = summarise_metadata(
        {"config": "x" * 250, "tokens": ["a"] * 9, "short": [1, 2], "n": 3}
    )
    assert summary["config"] == "x" * 200 + "... (50 more characters)"
    assert (summary["tokens"], summary["short"], summary["n"]) == ("9 values", "[1, 2]", "3")


@pytest.mark.parametrize(
    "stem",
    [
        "model.diffusion_model.transformer_blocks.9999",
        "model.diffusion_model.video_embeddings_connector.transformer_1d_blocks.9999",
        "model.layers.9999",
        "model.layers.9999999999",
        "model.language_model.layers.9999",
        "vae.decoder.up_blocks.9999999999",
        "vae.encoder.down_blocks.9999.resnets.0",
        "audio_vae.decoder.up.9999999999.block",
        "audio_vae.encoder.down.0.block.9999999999",
        "vocoder.ups.9999999999",
        "vocoder.resblocks.9999999999",
        "res_blocks.9999999999",
    ],
)
def test_inspect_costs_no_more_than_the_file_is_large(stem: str, tmp_path: Path) -> None:
    names = [f"{stem}.x{number}.weight" for number in range(1000)]
    names += [f"{stem}.self_attn.q_proj.weight", f"{stem.replace('9999', '0')}.x0.weight"]
    path = write_safetensors(
        tmp_path / "m.safetensors", {name: ("U8", (1,)) for name in dict.fromkeys(names)}
    )
    tracemalloc.start()
    try:
        found = inspect_file(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * path.stat().st_size + (4 << 20)
    assert all(len(part.missing) <= part.tensors for part in found.components)
    assert not any(part.complete for part in found.components)


def test_inspect_counts_gaps_that_it_does_not_list(tmp_path: Path) -> None:
    names = [
        f"transformer_blocks.{block}.x{number}.weight" for block in (7, 99) for number in (1, 2)
    ]
    names.append("transformer_blocks.99.stranger.weight")
    found = inspect_file(
        write_safetensors(tmp_path / "m.safetensors", {name: ("F32", (1,)) for name in names})
    )
    missing = found.components[0].missing
    assert len(missing) == 5 and missing[0] == "transformer_blocks.0.x1.weight"
