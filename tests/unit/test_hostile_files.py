"""Damaged and malicious files are refused in one sentence, quickly, whatever is wrong with them."""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from pathlib import Path

import pytest
from helpers.checkpoint_writers import (
    STRING as GGUF_STRING,
    gguf_key,
    safetensors_bytes,
    safetensors_header,
    write_gguf,
)
from helpers.hostile_cases import (
    SEED,
    Case,
    flipped,
    gguf_cases,
    safetensors_cases,
    valid_gguf,
    valid_safetensors,
)
from helpers.hostile_folders import folder_cases, stranger_cases

from ltx2cpp.checkpoint import CheckpointFile, open_checkpoint
from ltx2cpp.errors import CheckpointError, Error
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.resolve import resolve

CASES = [*safetensors_cases(), *gguf_cases(), *folder_cases(), *stranger_cases()]
# Processor time, so that a busy machine does not fail the test.
MAX_SECONDS = 0.05


def _is_one_sentence(error: BaseException) -> bool:
    text = str(error)
    return 20 <= len(text) < 700 and "\n" not in text and text.isprintable()


def test_there_are_at_least_250_distinct_cases() -> None:
    assert len({label for label, _ in CASES}) == len(CASES) >= 250


@pytest.mark.parametrize("case", CASES, ids=[label for label, _ in CASES])
def test_hostile_file_is_refused(case: Case, tmp_path: Path) -> None:
    path = case[1](tmp_path)
    started = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert time.process_time() - started < MAX_SECONDS
    assert type(caught.value) is CheckpointError
    assert _is_one_sentence(caught.value), str(caught.value)
    assert path.name.partition("\0")[0] in str(caught.value)


@pytest.mark.parametrize("content", [valid_safetensors(), valid_gguf()], ids=["st", "gguf"])
def test_the_files_they_are_made_from_are_valid(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    _assert_sound(open_checkpoint(path))


def _assert_sound(file: CheckpointFile) -> None:
    """Everything that the core relies on, computed again."""
    size = file.path.stat().st_size
    spans = []
    for name, info in file.tensors.items():
        assert info.name == name and 1 <= len(name.encode()) <= 256 and name.isprintable()
        assert all(extent >= 1 for extent in info.shape) and len(info.shape) <= 8
        blocks, rest = divmod(math.prod(info.shape), info.dtype.block_elements)
        assert rest == 0 and info.size_bytes == blocks * info.dtype.block_bytes
        assert info.offset > 0 and info.offset + info.size_bytes <= size
        spans.append((info.offset, info.offset + info.size_bytes))
    spans.sort()
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_random_damage_is_refused_or_harmless(kind: str, tmp_path: Path) -> None:
    content = valid_safetensors() if kind == "safetensors" else valid_gguf()
    rng = random.Random(SEED + 3)
    path = tmp_path / f"model.{kind}"
    refused = 0
    for _ in range(400):
        path.write_bytes(flipped(content, rng, len(content) - 200))
        try:
            _assert_sound(open_checkpoint(path))
        except CheckpointError as error:
            assert _is_one_sentence(error), str(error)
            refused += 1
    assert refused >= 100


def _tiny_model(fixture_a: Path) -> dict[str, object]:
    path = fixture_a / "ltx-2.3-tiny.safetensors"
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header: dict[str, object] = json.loads(stream.read(length))
    return header


def test_resolve_survives_damaged_headers(fixture_a: Path, tmp_path: Path) -> None:
    """Damage inside names, shapes and the config reaches the code behind the header checks."""
    header = _tiny_model(fixture_a)
    kept = {
        name: (entry["dtype"], entry["shape"])  # type: ignore[index]
        for name, entry in header.items()
        if name != "__metadata__" and "resblocks" not in name and ".1." not in name
    }
    metadata = header["__metadata__"]
    rng = random.Random(SEED + 4)
    path = tmp_path / "model.safetensors"
    refused = 0
    for _ in range(60):
        tensors = dict(kept)
        for name in rng.sample(sorted(tensors), 3):
            dtype, shape = tensors.pop(name)
            if rng.random() < 0.3:
                continue
            changed = [max(1, extent + rng.choice((-1, 0, 1, 3))) for extent in shape]
            if rng.random() < 0.2:
                changed = changed[:-1]
            renamed = name if rng.random() < 0.6 else name.replace(".0.", ".99999999999.", 1)
            tensors[renamed] = (dtype, changed)
        config = metadata["config"]  # type: ignore[index]
        damaged = flipped(config.encode(), rng, len(config)).decode("utf-8", "replace")
        chosen = damaged if rng.random() < 0.7 else config
        plain, size = safetensors_header(tensors, {**metadata, "config": chosen})  # type: ignore[dict-item]
        path.write_bytes(safetensors_bytes(plain, bytes(size)))
        try:
            resolve(ModelFiles(path, text_encoder=fixture_a / "gemma-3-tiny"))
        except Error as error:
            assert error.exit_code == 3
            assert _is_one_sentence(error), str(error)
            refused += 1
    assert refused >= 10


@pytest.mark.parametrize(
    "config",
    [
        "",
        "null",
        "[]",
        "{",
        "3",
        "[" * 50000,
        '{"a":' * 50000,
        '{"transformer": []}',
        '{"transformer": {"num_layers": -1}}',
        '{"transformer": {"num_layers": 1e999}}',
        '{"transformer": {"num_layers": 99999999}}',
        '{"transformer": {"num_layers": true}}',
        '{"transformer": {"num_layers": "4"}}',
        '{"transformer": {"num_attention_heads": 0}}',
        '{"transformer": {"attention_head_dim": 31}}',
        '{"transformer": {"attention_head_dim": 64}}',
        '{"transformer": {"norm_eps": -1}}',
        '{"transformer": {"norm_eps": NaN}}',
        '{"transformer": {"positional_embedding_max_pos": [20, 2048]}}',
        '{"transformer": {"positional_embedding_max_pos": [20, 2048, 0]}}',
        '{"transformer": {"positional_embedding_theta": Infinity}}',
        '{"transformer": {"timestep_scale_multiplier": 0}}',
        '{"transformer": {}, "transformer": {}}',
        '{"vae": {"encoder_blocks": {}}}',
        '{"vae": {"decoder_blocks": [["res_x"]]}}',
        '{"vae": {"decoder_blocks": [["res_x", {"num_layers": 0}]]}}',
        '{"vae": {"decoder_blocks": [["res_x", {"num_layers": 100000}]]}}',
        '{"vae": {"decoder_blocks": [["res_x", true]]}}',
        '{"vae": {"patch_size": -4}}',
        '{"audio_vae": {"model": 3}}',
        '{"audio_vae": {"model": {"params": {"ddconfig": {"ch_mult": []}}}}}',
        '{"audio_vae": {"model": {"params": {"ddconfig": {"ch_mult": [1, -1]}}}}}',
        '{"vocoder": {"vocoder": {"upsample_rates": [5, 4]}}}',
        '{"vocoder": {"vocoder": {"upsample_rates": [0, 4, 2, 2, 2]}}}',
        '{"vocoder": {"bwe": {"output_sampling_rate": 48001}}}',
    ],
)
def test_hostile_config_is_refused(config: str, fixture_a: Path, tmp_path: Path) -> None:
    header = _tiny_model(fixture_a)
    tensors = {
        name: (entry["dtype"], entry["shape"])  # type: ignore[index]
        for name, entry in header.items()
        if name != "__metadata__"
    }
    plain, size = safetensors_header(tensors, {"config": config})  # type: ignore[arg-type]
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(plain, bytes(size)))
    with pytest.raises(Error) as caught:
        resolve(ModelFiles(path))
    assert caught.value.exit_code == 3
    assert _is_one_sentence(caught.value)


@pytest.mark.parametrize("architecture", ["llama", "clip", "pig", "\x1b[31mred"])
def test_other_models_are_refused_by_name(architecture: str, tmp_path: Path) -> None:
    keys = [gguf_key("general.architecture", GGUF_STRING, architecture)]
    path = write_gguf(tmp_path / "other.gguf", {"some.weight": ("F32", (4,))}, keys)
    with pytest.raises(CheckpointError, match=r"no tensor of LTX-2 or Gemma") as caught:
        resolve(ModelFiles(path))
    assert _is_one_sentence(caught.value)
