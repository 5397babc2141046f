"""The synthetic checkpoints: right names and shapes, repeatable, sane scales."""

from __future__ import annotations

import json
from pathlib import Path

import make_synthetic
import numpy as np
import pytest
from released.layouts import released_gemma_tensors, released_tensors
from safetensors import safe_open
from synthetic import checkpoints
from synthetic.checkpoints import choose_tensors, random_values, to_bfloat16, write_checkpoint

from ltx2cpp.checkpoint import open_checkpoint, read_array

LAYOUT = {
    "transformer_blocks.0.attn1.to_q.weight": ("BF16", (64, 128)),
    "transformer_blocks.0.attn1.q_norm.weight": ("BF16", (128,)),
    "transformer_blocks.0.scale_shift_table": ("BF16", (9, 128)),
    "vocoder.act_post.upsample.filter": ("BF16", (1, 1, 12)),
    "vae.per_channel_statistics.std-of-means": ("BF16", (300,)),
}


def values_of(name: str, seed: int = 0) -> np.ndarray:
    shape = LAYOUT[name][1]
    return np.concatenate(list(random_values(name, shape, seed))).reshape(shape)


@pytest.mark.parametrize("version", make_synthetic.VERSIONS)
def test_components_together_are_the_released_layout(version: str) -> None:
    parts = [name for name in make_synthetic.COMPONENTS if name != "gemma"]
    assert choose_tensors(version, 48, parts, 1) == released_tensors(version)
    split = [choose_tensors(version, 2, [part], 1) for part in parts]
    assert sum(map(len, split)) == len(released_tensors(version, 2))
    assert all(split)


def test_transformer_alone_has_no_connectors() -> None:
    names = choose_tensors("2.3", 2, ["transformer"], 1)
    assert not any("connector" in name for name in names)
    assert any("transformer_blocks.1." in name for name in names)
    assert not any("transformer_blocks.2." in name for name in names)


def test_gemma_has_the_layers_and_rows_asked_for() -> None:
    assert choose_tensors("2.3", 1, ["gemma"], 512) == released_gemma_tensors(1, 512)


def test_projection_takes_the_states_of_the_layers_made_with_it() -> None:
    tensors = choose_tensors("2.3", 2, ["gemma", "text_projection"], 512)
    weight = tensors["text_embedding_projection.audio_aggregate_embed.weight"]
    assert weight == ("BF16", (2048, 3 * 3840))


def test_written_file_holds_the_values_rounded_to_bfloat16(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    size_bytes = write_checkpoint(path, LAYOUT, {"model_version": "2.3.0"}, 3)
    assert path.stat().st_size == size_bytes
    file = open_checkpoint(path)
    assert file.metadata["model_version"] == "2.3.0"
    for name, info in file.tensors.items():
        stored = read_array(info)
        exact = values_of(name, 3)
        assert stored.shape == exact.shape
        np.testing.assert_allclose(stored, exact, rtol=2**-8)
    with safe_open(path, "np") as reader:
        assert set(reader.keys()) == set(LAYOUT)


def test_values_depend_on_seed_and_name_but_not_on_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "transformer_blocks.0.attn1.to_q.weight"
    first = values_of(name)
    assert not np.array_equal(first, values_of(name, 1))
    other = np.concatenate(list(random_values("x", (64, 128), 0))).reshape(64, 128)
    assert not np.array_equal(first, other)
    monkeypatch.setattr(checkpoints, "_PIECE_ELEMENTS", 1000)
    np.testing.assert_array_equal(values_of(name), first)


def test_values_have_scales_that_keep_activations_sane() -> None:
    assert values_of("transformer_blocks.0.attn1.to_q.weight").std() == pytest.approx(
        128**-0.5, rel=0.05
    )
    assert values_of("transformer_blocks.0.attn1.q_norm.weight").mean() == pytest.approx(
        1, abs=0.02
    )
    assert values_of("transformer_blocks.0.scale_shift_table").std() < 0.05
    assert values_of("vocoder.act_post.upsample.filter").sum() == pytest.approx(1)
    assert values_of("vae.per_channel_statistics.std-of-means").min() > 0.5


def test_to_bfloat16_rounds_to_nearest_even() -> None:
    values = np.asarray([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-16, -2.5], np.float32)
    bits = to_bfloat16(values).astype(np.uint32) << 16
    assert bits.view(np.float32).tolist() == [1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -2.5]


def test_command_writes_metadata_and_refuses_unknown_components(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_synthetic, "choose_tensors", lambda *_: LAYOUT)
    path = tmp_path / "a.safetensors"
    assert make_synthetic.main([str(path), "--version", "2.0", "--components", "transformer"]) == 0
    metadata = open_checkpoint(path).metadata
    assert metadata["model_version"] == "2.0.0"
    assert json.loads(metadata["config"])["transformer"]["num_layers"] == 2
    assert "5 tensors" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        make_synthetic.main([str(path), "--components", "transformer,vea"])
    assert "unknown vea" in capsys.readouterr().err
    assert make_synthetic.main([str(tmp_path / "no" / "a.safetensors")]) == 2
