"""Components are told by their own names, whatever a publisher puts before them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from helpers.checkpoint_writers import write_safetensors
from helpers.model_writers import DIT, Tensors, released_part
from released.layouts import released_gemma_tensors, released_tensors

from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.errors import CheckpointError
from ltx2cpp.model.names import SortedTensors, sort_tensors
from ltx2cpp.model.source import Source
from ltx2cpp.model.tokenizer_source import find_tokenizer
from ltx2cpp.model.wrappers import find_wrappers


def _sorted(path: Path, tensors: Tensors) -> SortedTensors:
    return sort_tensors(open_checkpoint(write_safetensors(path, tensors)))


def _names(tensors: SortedTensors) -> dict[str, set[str]]:
    return {str(group): set(members) for group, members in tensors.groups.items()}


@pytest.mark.parametrize("version", ["2.0", "2.3"])
@pytest.mark.parametrize("prefix", ["first_stage_model.", "net.", "a.b.c.", "vae.", ""])
@pytest.mark.parametrize("component", [DIT, "vae.", "audio_vae.", "vocoder."])
def test_any_prefix_before_a_component(
    component: str, prefix: str, version: str, tmp_path: Path
) -> None:
    tensors = released_part(version, component)
    wanted = _sorted(tmp_path / "official.safetensors", tensors)
    other = {prefix + name.removeprefix(component): value for name, value in tensors.items()}
    found = _sorted(tmp_path / "other.safetensors", other)
    assert _names(found) == _names(wanted) and not found.unclaimed


@pytest.mark.parametrize("half", ["encoder.", "decoder."])
@pytest.mark.parametrize("component", ["vae.", "audio_vae."])
@pytest.mark.parametrize("prefix", ["", "net."])
def test_half_an_autoencoder(component: str, half: str, prefix: str, tmp_path: Path) -> None:
    statistics = f"{component}per_channel_statistics."
    tensors = released_part("2.3", component + half, statistics)
    wanted = _sorted(tmp_path / "official.safetensors", tensors)
    other = {
        prefix + name.removeprefix(component).removeprefix(half): value
        for name, value in tensors.items()
    }
    found = _sorted(tmp_path / "other.safetensors", other)
    assert _names(found) == _names(wanted) and not found.unclaimed


def test_whole_checkpoint_behind_a_wrapper(tmp_path: Path) -> None:
    tensors = released_tensors("2.3", 2)
    wanted = _sorted(tmp_path / "official.safetensors", dict(tensors))
    other = {f"module.{name}": value for name, value in tensors.items()}
    assert _names(_sorted(tmp_path / "other.safetensors", other)) == _names(wanted)


@pytest.mark.parametrize(
    "prefix",
    ["text_encoders.gemma3_12b.transformer.model.", "text_encoder.", "cond_stage_model.language."],
)
def test_text_encoder_inside_a_checkpoint(prefix: str, tmp_path: Path) -> None:
    gemma = released_gemma_tensors(2, 64)
    wanted = _sorted(tmp_path / "gemma.safetensors", gemma)
    inside: Tensors = {
        prefix + name.removeprefix("language_model.model."): value
        for name, value in gemma.items()
        if name.startswith("language_model.model.")
    }
    inside[f"{prefix}spiece_model"] = ("U8", (64,))
    tensors = {**released_tensors("2.3", 2), **inside}
    path = write_safetensors(tmp_path / "all-dev.safetensors", tensors)
    source = Source("checkpoint", open_checkpoint(path))
    assert source.group("text_encoder").keys() == wanted.groups["text_encoder"].keys()
    assert source.group("transformer") and not source.tensors.unclaimed
    tokenizer = find_tokenizer(None, {"checkpoint": source})
    assert tokenizer is not None and tokenizer.kind == "sentencepiece"


def test_copies_beside_the_official_names_are_strangers(tmp_path: Path) -> None:
    tensors = released_part("2.3", DIT)
    copies = {f"model_ema.{name.removeprefix(DIT)}": value for name, value in tensors.items()}
    found = _sorted(tmp_path / "ema.safetensors", {**tensors, **copies})
    assert set(found.unclaimed) == set(copies)
    twice = {
        **{f"a.{name.removeprefix(DIT)}": value for name, value in tensors.items()},
        **{f"b.{name.removeprefix(DIT)}": value for name, value in tensors.items()},
    }
    with pytest.raises(CheckpointError, match=r"'a\..*' and 'b\..*' both name"):
        _sorted(tmp_path / "twice.safetensors", twice)


def test_other_networks_are_no_autoencoders(tmp_path: Path) -> None:
    tensors: Tensors = {
        "first_stage_model.decoder.up.0.block.0.conv1.weight": ("F16", (4, 4, 3, 3)),
        "first_stage_model.encoder.conv_in.weight": ("F16", (4, 3, 3, 3)),
        "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight": (
            "F16",
            (4, 4),
        ),
        "unet.down_blocks.0.attentions.0.proj_in.weight": ("F16", (4, 4)),
    }
    found = _sorted(tmp_path / "m.safetensors", tensors)
    assert not found.groups and set(found.unclaimed) == set(tensors)


def test_long_names_take_no_time() -> None:
    name = "up_blocks.0." * 5000 + "a.conv.weight"
    started = time.process_time()
    assert find_wrappers([name])(name) == name
    many = [f"{'up_blocks.0.' * 40}{number}.conv.weight" for number in range(1000)]
    find_wrappers(many)
    assert time.process_time() - started < 2.0
