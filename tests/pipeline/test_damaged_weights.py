"""One number of a model file that is none: whatever reads it, the caller is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltx2cpp import LTX2Pipeline, Modality, ModelFiles
from ltx2cpp.checkpoint import DType
from ltx2cpp.errors import CheckpointError, NonFiniteError

Call = Callable[[LTX2Pipeline], object]


def draw(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def modality(channels: int, width: int, axes: int) -> Modality:
    positions = np.abs(draw(axes, 14, 2)).cumsum(axis=2)
    return Modality(draw(14, channels), draw(20, width), 0.5, np.full(14, 0.5), positions)


def velocity(pipe: LTX2Pipeline) -> object:
    config = pipe.models.require("transformer").config
    widths = config.context_widths
    return pipe.velocity(
        modality(config.in_channels, widths["video"], 3),
        modality(config.audio_in_channels, widths["audio"], 1),
    )


def decode_mel(pipe: LTX2Pipeline) -> object:
    return pipe.decode_mel(draw(pipe.models.require("audio_decoder").config.latent_channels, 4, 16))


def decode_video(pipe: LTX2Pipeline) -> object:
    channels = pipe.models.require("video_decoder").config.latent_channels
    return pipe.decode_video(draw(channels, 2, 2, 2))


def encode_prompt(pipe: LTX2Pipeline) -> object:
    return pipe.encode_prompt("a red fox in the snow")


def opened(file: Path, encoder: Path, weight_type: str) -> LTX2Pipeline:
    files = ModelFiles(file, text_encoder=encoder)
    return LTX2Pipeline(files, device="cpu", threads=1, weight_type=weight_type)


@pytest.mark.parametrize("weight_type", ["file", "f16", "q8_0"])
@pytest.mark.parametrize(
    ("component", "ending", "call"),
    [
        ("transformer", ".1.attn1.to_q.weight", velocity),
        ("transformer", ".1.attn1.q_norm.weight", velocity),
        ("transformer", ".2.attn2.to_k.weight", velocity),
        ("transformer", ".2.attn2.to_v.weight", velocity),
        ("transformer", ".2.attn2.to_gate_logits.weight", velocity),
        ("transformer", ".0.audio_attn1.to_out.0.weight", velocity),
        ("transformer", ".0.ff.net.0.proj.weight", velocity),
        ("transformer", ".0.ff.net.0.proj.bias", velocity),
        ("transformer", ".0.audio_ff.net.2.weight", velocity),
        ("video_connector", ".0.ff.net.0.proj.weight", encode_prompt),
        ("text_projection", "video_aggregate_embed.weight", encode_prompt),
        ("video_decoder", "conv_in.conv.weight", decode_video),
        ("audio_decoder", "conv_out.conv.weight", decode_mel),
        ("vocoder", "conv_post.weight", lambda pipe: pipe.vocode(draw(2, 12, 64))),
        ("vocoder", "ups.1.weight", lambda pipe: pipe.vocode(draw(2, 12, 64))),
    ],
)
def test_a_single_number_is_enough(
    fixture_a: Path, tmp_path: Path, component: str, ending: str, call: Call, weight_type: str
) -> None:
    file = tmp_path / "m.safetensors"
    shutil.copyfile(fixture_a / "ltx-2.3-tiny.safetensors", file)
    with opened(file, fixture_a / "gemma-3-tiny", weight_type) as pipe:
        tensors = pipe.models.require(component).tensors
    info = next(ref.info for name, ref in tensors.items() if name.endswith(ending))
    nan = {DType.F32: b"\x00\x00\xc0\x7f", DType.BF16: b"\xc0\x7f"}[info.dtype]
    with file.open("r+b") as stream:
        stream.seek(info.offset + info.size_bytes // 2 // len(nan) * len(nan))
        stream.write(nan)
    with (
        opened(file, fixture_a / "gemma-3-tiny", weight_type) as pipe,
        pytest.raises((NonFiniteError, CheckpointError), match="not finite") as caught,
    ):
        call(pipe)
    assert caught.value.exit_code == 3
    assert str(file) in str(caught.value)
