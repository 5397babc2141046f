"""Every known dialect of tensor names ends in the official names, sorted into components."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from helpers.checkpoint_writers import write_gguf, write_safetensors
from released.diffusers_names import TRANSFORMER_PARTS, rename_parts
from released.layouts import released_gemma_tensors, released_tensors

from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.errors import CheckpointError, UnsupportedError
from ltx2cpp.model.names import SortedTensors, sort_tensors

Tensors = dict[str, tuple[str, tuple[int, ...]]]


def _sort(folder: Path, tensors: Tensors) -> SortedTensors:
    return sort_tensors(open_checkpoint(write_safetensors(folder / "m.safetensors", tensors)))


def _small(version: str, *prefixes: str) -> Tensors:
    """The released names of some components, two blocks deep, without their sizes' weight."""
    return {
        name: value
        for name, value in released_tensors(version, 2).items()
        if name.startswith(prefixes)
    }


def _part(tensors: Iterable[str], prefix: str) -> set[str]:
    return {name[len(prefix) :] for name in tensors if name.startswith(prefix)}


_DIT = "model.diffusion_model."


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_official_monolith(version: str, tmp_path: Path) -> None:
    tensors = released_tensors(version, 2)
    found = _sort(tmp_path, tensors)
    assert not found.unclaimed and not found.ignored
    assert set(found.layouts.values()) == {"official"}
    connectors = {
        f"{kind}_connector": _part(tensors, f"{_DIT}{kind}_embeddings_connector.")
        for kind in ("video", "audio")
    }
    inside = {name for name in _part(tensors, _DIT) if "_embeddings_connector." not in name}
    expected = {
        "transformer": inside,
        **connectors,
        "text_projection": _part(tensors, "text_embedding_projection."),
        "video_vae": _part(tensors, "vae."),
        "audio_vae": _part(tensors, "audio_vae."),
        "vocoder": _part(tensors, "vocoder."),
    }
    assert {group: set(members) for group, members in found.groups.items()} == expected
    assert sum(map(len, found.groups.values())) == len(tensors)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
def test_transformer_prefixes(prefix: str, tmp_path: Path) -> None:
    tensors = _small("2.3", _DIT)
    renamed = {prefix + name[len(_DIT) :]: value for name, value in tensors.items()}
    found = _sort(tmp_path, renamed)
    assert not found.unclaimed
    assert set(found.groups) == {"transformer", "video_connector", "audio_connector"}
    assert "transformer_blocks.1.audio_ff.net.2.weight" in found.groups["transformer"]
    assert "learnable_registers" in found.groups["audio_connector"]


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_diffusers_transformer(version: str, tmp_path: Path) -> None:
    official = {
        name[len(_DIT) :]: value
        for name, value in _small(version, _DIT).items()
        if "_embeddings_connector." not in name
    }
    renamed = {rename_parts(name, TRANSFORMER_PARTS): value for name, value in official.items()}
    assert len(renamed) == len(official) and set(renamed) != set(official)
    found = _sort(tmp_path, renamed)
    assert set(found.groups["transformer"]) == set(official)
    assert found.layouts == {"transformer": "diffusers"} and not found.unclaimed


def test_diffusers_connectors(tmp_path: Path) -> None:
    official = _small("2.3", f"{_DIT}video_emb", f"{_DIT}audio_emb", "text_embedding_projection.")
    renamed = {}
    for name, value in official.items():
        new = name.removeprefix(_DIT).removeprefix("text_embedding_projection.")
        new = new.replace("_embeddings_connector.", "_connector.")
        new = new.replace("transformer_1d_blocks", "transformer_blocks")
        new = new.replace("q_norm", "norm_q").replace("k_norm", "norm_k")
        renamed[new.replace("aggregate_embed", "text_proj_in")] = value
    found = _sort(tmp_path, renamed)
    assert {group: len(members) for group, members in found.groups.items()} == {
        "video_connector": 129,
        "audio_connector": 129,
        "text_projection": 4,
    }
    assert "transformer_1d_blocks.7.attn1.q_norm.weight" in found.groups["video_connector"]
    assert "audio_aggregate_embed.bias" in found.groups["text_projection"]


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_diffusers_video_vae(version: str, tmp_path: Path) -> None:
    official = {name[4:]: value for name, value in _small(version, "vae.").items()}
    last = max(
        int(m[1]) for m in map(re.compile(r"encoder\.down_blocks\.(\d+)").match, official) if m
    )
    renamed = {}
    for name, value in official.items():
        match = re.match(r"(encoder|decoder)\.(?:down|up)_blocks\.(\d+)\.(.+)", name)
        if match is None:
            name = name.replace("per_channel_statistics.mean-of-means", "latents_mean")
            renamed[name.replace("per_channel_statistics.std-of-means", "latents_std")] = value
            continue
        half, number, tail = match[1], int(match[2]), match[3].replace("res_blocks", "resnets")
        if half == "encoder":
            outer = "mid_block" if number == last else f"down_blocks.{number // 2}"
            sampler = "downsamplers"
        else:
            outer = "mid_block" if number == 0 else f"up_blocks.{(number - 1) // 2}"
            sampler = "upsamplers"
        inner = tail if tail.startswith("resnets") else f"{sampler}.0.{tail}"
        renamed[f"{half}.{outer}.{inner}"] = value
    found = _sort(tmp_path, renamed)
    assert set(found.groups["video_vae"]) == set(official)
    assert found.layouts["video_vae"] == "diffusers" and not found.unclaimed
    assert {n: i.shape for n, i in found.groups["video_vae"].items()} == {
        name: shape for name, (_, shape) in official.items()
    }


@pytest.mark.parametrize("group", ["video_vae", "audio_vae"])
def test_bare_autoencoders_are_told_apart(group: str, tmp_path: Path) -> None:
    prefix = "vae." if group == "video_vae" else "audio_vae."
    bare = {name[len(prefix) :]: value for name, value in _small("2.3", prefix).items()}
    found = _sort(tmp_path, bare)
    assert set(found.groups) == {group} and set(found.groups[group]) == set(bare)


@pytest.mark.parametrize("version", ["2.0", "2.3"])
@pytest.mark.parametrize("stripped", [False, True])
def test_vocoder_prefix_is_stripped_once(version: str, stripped: bool, tmp_path: Path) -> None:
    tensors = _small(version, "vocoder.")
    names = {
        name[len("vocoder.") :] if stripped else name: value for name, value in tensors.items()
    }
    found = _sort(tmp_path, names)
    assert set(found.groups["vocoder"]) == _part(tensors, "vocoder.")
    first = "vocoder.conv_pre.weight" if version == "2.3" else "conv_pre.weight"
    assert first in found.groups["vocoder"]


def test_diffusers_vocoder(tmp_path: Path) -> None:
    official = _small("2.0", "vocoder.")
    table = {"ups.": "upsamplers.", "resblocks.": "resnets.", "conv_pre": "conv_in"}
    renamed = {}
    for name, value in official.items():
        new = name.removeprefix("vocoder.").replace("conv_post", "conv_out")
        for old, changed in table.items():
            new = new.replace(old, changed)
        renamed[new] = value
    found = _sort(tmp_path, renamed)
    assert set(found.groups["vocoder"]) == _part(official, "vocoder.")


def test_extra_statistics_are_ignored(tmp_path: Path) -> None:
    tensors = _small("2.0", "vae.")
    extra = "vae.per_channel_statistics.mean-of-stds_over_std-of-means"
    found = _sort(tmp_path, {**tensors, extra: ("BF16", (128,))})
    assert found.ignored == (extra,) and not found.unclaimed
    assert len(found.groups["video_vae"]) == len(tensors) == 184


_HF = "language_model.model."


@pytest.mark.parametrize("prefix", [_HF, "model.language_model.", "model.", ""])
def test_gemma_prefixes(prefix: str, tmp_path: Path) -> None:
    official = {name[len(_HF) :]: value for name, value in released_gemma_tensors(2, 64).items()}
    tensors = {prefix + name: value for name, value in official.items()}
    vision = prefix.replace("language_model", "vision_tower") + "encoder.layers.0.mlp.fc1.bias"
    extra: Tensors = {
        "lm_head.weight": ("BF16", (64, 4)),
        "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight": ("BF16", (4, 4)),
        "multi_modal_projector.mm_soft_emb_norm.weight": ("BF16", (4,)),
    }
    if "vision" in vision:
        extra[vision] = ("BF16", (4,))
    found = _sort(tmp_path, {**tensors, **extra})
    assert set(found.groups) == {"text_encoder"} and set(found.groups["text_encoder"]) == set(
        official
    )
    assert set(found.ignored) == set(extra) and not found.unclaimed


def test_embedded_tokenizers(tmp_path: Path) -> None:
    tensors = {
        **released_gemma_tensors(1, 64),
        "spiece_model": ("U8", (9,)),
        "hf_asset__tokenizer_config.json": ("U8", (9,)),
    }
    found = _sort(tmp_path, tensors)
    assert set(found.groups["tokenizer"]) == {"spiece_model", "hf_asset__tokenizer_config.json"}


def test_llama_cpp_gemma(tmp_path: Path) -> None:
    layer = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
        "attn_output": "self_attn.o_proj",
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
        "post_ffw_norm": "post_feedforward_layernorm",
    }
    names = {f"blk.11.{old}.weight": f"layers.11.{new}.weight" for old, new in layer.items()}
    names |= {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}
    ignored = ("output.weight", "rope_freqs.weight", "v.blk.0.attn_q.weight", "mm.x.weight")
    tensors = {name: ("F32", (4,)) for name in (*names, *ignored)}
    found = sort_tensors(open_checkpoint(write_gguf(tmp_path / "m.gguf", tensors)))
    assert {info.name: name for name, info in found.groups["text_encoder"].items()} == names
    assert set(found.ignored) == set(ignored)
    assert found.layouts == {"text_encoder": "llama.cpp"} and not found.unclaimed


def test_flattened_kernels_get_their_shape_back(tmp_path: Path) -> None:
    tensors: Tensors = {
        "vae.decoder.conv_in.conv.weight": ("F16", (64 * 16, 3, 3, 3)),
        "vae.decoder.conv_in.conv.bias": ("F32", (64,)),
        "vae.decoder.up_blocks.0.res_blocks.0.conv1.conv.weight": ("F16", (64 * 64, 3, 3, 3)),
        "vae.decoder.up_blocks.0.res_blocks.0.conv1.conv.bias": ("F32", (64,)),
    }
    found = sort_tensors(open_checkpoint(write_gguf(tmp_path / "m.gguf", tensors)))
    kernel = found.groups["video_vae"]["decoder.conv_in.conv.weight"]
    assert kernel.shape == (64, 16, 3, 3, 3)


def test_two_dimensional_kernels_stay(tmp_path: Path) -> None:
    tensors: Tensors = {
        "initial_conv.weight": ("BF16", (8, 4, 3, 3, 3)),
        "upsampler.0.weight": ("BF16", (32, 8, 3, 3)),
        "upsampler.0.bias": ("BF16", (32,)),
    }
    found = _sort(tmp_path, tensors)
    assert found.groups["upsampler"]["upsampler.0.weight"].shape == (32, 8, 3, 3)


def test_duration_head_and_unknown_names(tmp_path: Path) -> None:
    tensors: Tensors = {
        "duration_head.attention_pooler.query_tokens": ("BF16", (1, 4)),
        "mlp_out.bias": ("BF16", (1,)),
        "something.else": ("BF16", (4,)),
        "scaled_fp8": ("F8_E4M3", (2,)),
    }
    found = _sort(tmp_path, tensors)
    assert set(found.groups) == {"duration_head"}
    assert found.unclaimed == ("something.else",) and found.ignored == ("scaled_fp8",)


def test_one_canonical_name_twice(tmp_path: Path) -> None:
    tensors: Tensors = {
        "model.diffusion_model.proj_out.bias": ("BF16", (4,)),
        "proj_out.bias": ("BF16", (4,)),
    }
    with pytest.raises(CheckpointError, match=r"'proj_out.bias' and 'model\.diffusion_model"):
        _sort(tmp_path, tensors)


def test_ltx_video_is_refused(tmp_path: Path) -> None:
    names = (
        "adaln_single.emb.timestep_embedder.linear_1.bias",
        "transformer_blocks.0.attn1.to_q.weight",
    )
    with pytest.raises(UnsupportedError, match="LTX-Video"):
        _sort(tmp_path, {f"model.diffusion_model.{name}": ("BF16", (4,)) for name in names})
