"""What is said when a network gives numbers that are not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import fake_core
from helpers.fake_core import CHANNELS, EVENTS, FakeModels, Make, component, pipelines

from ltx2cpp import ImageCondition, LTX2Pipeline
from ltx2cpp.checkpoint import DType
from ltx2cpp.errors import NonFiniteError

CLIP = {"width": 64, "height": 64, "num_frames": 9, "seed": 1}


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return pipelines(monkeypatch)


def damage(monkeypatch: pytest.MonkeyPatch, network: str, method: str) -> None:
    """Put a NaN into everything that a method of the core gives."""
    whole = getattr(getattr(fake_core, network), method)

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoil(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return tuple(spoil(item) for item in value)
        if not isinstance(value, np.ndarray):
            return value if value is None else map(spoil, value)
        value = value.copy()
        value.flat[-1] = np.nan
        return value

    monkeypatch.setattr(
        getattr(fake_core, network), method, lambda *given, **named: spoil(whole(*given, **named))
    )


@pytest.mark.parametrize(
    ("network", "method", "said"),
    [
        ("TextEncoder", "encode", "encode prompt: the text encoder with its projection in"),
        ("TextConnector", "run", "connect prompt: the video connector in"),
        ("VideoEncoder", "encode", "encode pictures: the video encoder in"),
        ("Transformer", "velocity", "denoise: the transformer in"),
        ("AudioDecoder", "decode", "decode audio: the audio decoder in"),
        ("Vocoder", "vocode", "decode audio: the vocoder in"),
        ("VideoDecoder", "stream", "decode video: the video decoder in"),
    ],
)
def test_phase_component_and_file_are_named(
    make: Make, monkeypatch: pytest.MonkeyPatch, network: str, method: str, said: str
) -> None:
    damage(monkeypatch, network, method)
    pipe, picture = make(), np.zeros((64, 64, 3), np.uint8)
    for _ in range(2):  # nothing of it is kept for the next call
        with pytest.raises(NonFiniteError) as caught:
            pipe("a red boat", images=[ImageCondition(picture)], **CLIP)
        assert str(caught.value).startswith(f"{said} model.safetensors gives values that are not")
        assert "fetch it again" in str(caught.value)
        assert caught.value.exit_code == 3


def test_denoising_stops_at_the_first_estimate_that_is_none(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(monkeypatch, "Transformer", "velocity")
    with pytest.raises(NonFiniteError):
        make()("a red boat", **CLIP)
    assert EVENTS.count("velocity") == 1


Call = Callable[[LTX2Pipeline], object]


@pytest.mark.parametrize(
    ("network", "method", "call", "said"),
    [
        (
            "TextEncoder",
            "hidden_states",
            lambda pipe: pipe.hidden_states([2, 3]),
            "the text encoder",
        ),
        (
            "VideoDecoder",
            "decode",
            lambda pipe: pipe.decode_video(np.zeros((CHANNELS, 2, 1, 1))),
            "the video decoder",
        ),
        (
            "AudioEncoder",
            "encode",
            lambda pipe: pipe.encode_audio(np.zeros((2, 9600), np.float32), 16000),
            "the audio encoder",
        ),
        (
            "Upsampler",
            "upsample",
            lambda pipe: pipe.upsample(np.zeros((CHANNELS, 1, 1, 1))),
            "the spatial upsampler",
        ),
    ],
)
def test_single_networks_say_it_too(
    make: Make, monkeypatch: pytest.MonkeyPatch, network: str, method: str, call: Call, said: str
) -> None:
    damage(monkeypatch, network, method)
    statistics = component(
        **{
            "per_channel_statistics__mean-of-means": (CHANNELS,),
            "per_channel_statistics__std-of-means": (CHANNELS,),
        }
    )
    monkeypatch.setattr(
        "ltx2cpp.networks.video.read_array", lambda info: np.ones(info.shape, np.float32)
    )
    models = FakeModels(spatial_upsampler=component(), video_encoder=statistics)
    with pytest.raises(NonFiniteError, match=f"^{said} in model.safetensors gives values"):
        call(make(models))


@pytest.mark.parametrize(("weight_type", "stored"), [("f16", DType.F32), ("file", DType.F16)])
def test_sixteen_bits_that_overflow_are_a_likely_cause(
    make: Make, monkeypatch: pytest.MonkeyPatch, weight_type: str, stored: DType
) -> None:
    damage(monkeypatch, "Transformer", "velocity")
    models = FakeModels()
    for ref in models.transformer.tensors.values():
        object.__setattr__(ref.info, "dtype", stored)
    with pytest.raises(NonFiniteError, match="past 65504 overflow, so take bf16"):
        make(models, weight_type=weight_type)("a red boat", **CLIP)
