"""Graphs that are kept, memory that is counted, and threads that share a device."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import transformer_cases
from helpers.transformer_cases import make_modality, random_weights, write_weights
from helpers.transformer_configs import TINY_23

from ltx2cpp import _core

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    not getattr(testing, "HAS_EMULATED_CUDA", False),
    reason="the extension was built without LTX2CPP_TESTING, with CUDA or not for Linux",
)

CONFIG = dataclasses.replace(
    TINY_23,
    num_layers=4,
    in_channels=32,
    audio_in_channels=32,
    head_dim=64,
    cross_attention_dim=128,
    audio_head_dim=32,
    audio_cross_attention_dim=64,
)


def open_transformer(folder: Path, device: Any, dtype: str = "bf16") -> Any:
    path = folder / "transformer.safetensors"
    if not path.exists():
        write_weights(path, random_weights(CONFIG, seed=1))
    return transformer_cases.open_transformer(path, CONFIG, dtype=dtype, device=device)


def inputs() -> list[Any]:
    rng = np.random.default_rng(2)
    return [make_modality(CONFIG, kind, rng, sigma=0.7) for kind in ("video", "audio")]


# A plain pass, one that leaves attention out, one with isolated streams.
PASSES: tuple[tuple[list[int], bool], ...] = (([], False), ([2], False), ([], True))


@pytest.mark.parametrize("streams", [False, True])
def test_passes_that_alternate_keep_their_graphs(streams: bool, tmp_path: Path) -> None:
    """With weights in slots too, whose places have to stay for that."""
    given = inputs()
    wanted = []
    for stg_blocks, isolated in PASSES:
        fresh = open_transformer(tmp_path, testing.open_device("cpu", 1, emulated_cuda=True))
        wanted.append(fresh.velocity(*given, stg_blocks, isolated, []))
    device = testing.open_device("cpu", 1, emulated_cuda=True, weight_slots=2 if streams else None)
    network = open_transformer(tmp_path, device)
    if streams:
        network.stream_weights()
    # The second round may build anew what the first one had no room for.
    for turn in range(4):
        testing.exchanged_kernels()
        for (stg_blocks, isolated), want in zip(PASSES, wanted, strict=True):
            got = network.velocity(*given, stg_blocks, isolated, [])
            for kind in ("video", "audio"):
                np.testing.assert_array_equal(got[kind], want[kind])
        assert turn < 2 or testing.exchanged_kernels() == 0


@pytest.mark.parametrize("dtype", ["bf16", "q8_0"])
def test_scratch_memory_of_kernels_is_counted(dtype: str, tmp_path: Path) -> None:
    network = open_transformer(tmp_path, testing.open_device("cpu", 1, emulated_cuda=True), dtype)
    given = inputs()
    testing.most_emulated_scratch()
    network.velocity(*given, [], False, [])
    shapes = [_core.StreamShape(len(each.latent), len(each.context)) for each in given]
    assert 0 < testing.most_emulated_scratch() <= network.measure(*shapes)["scratch_bytes"]


def test_a_part_keeps_the_device_while_its_weights_move() -> None:
    """What is enqueued for a part must not fall into a graph that another thread records."""
    assert testing.intrusions() == 0
