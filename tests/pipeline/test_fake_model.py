"""What a model checks around single networks, with networks of one line each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.fake_core import (
    AUDIO_CHANNELS,
    AUDIO_WIDTH,
    CHANNELS,
    EVENTS,
    WIDTH,
    Make,
    pipelines,
)

from ltx2cpp import (
    Modality,
)
from ltx2cpp.errors import (
    ArgumentError,
    ShapeError,
)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return pipelines(monkeypatch)


def modality(tokens: int = 3, kind: str = "video", **changes: Any) -> Modality:
    video = kind == "video"
    given: dict[str, Any] = {
        "latent": np.ones((tokens, CHANNELS if video else AUDIO_CHANNELS)),
        "context": np.zeros((4, WIDTH if video else AUDIO_WIDTH)),
        "sigma": 0.5,
        "timesteps": np.full(tokens, 0.5),
        "positions": np.zeros((3 if video else 1, tokens, 2)),
    }
    return Modality(**{**given, **changes})


def test_velocity_runs_one_stream_or_both(make: Make) -> None:
    pipe = make()
    both = pipe.velocity(modality(), modality(2, "audio"))
    assert both.video is not None
    assert both.audio is not None
    assert (both.video.shape, both.audio.shape) == ((3, CHANNELS), (2, AUDIO_CHANNELS))
    alone = pipe.velocity(None, modality(2, "audio"))
    assert alone.video is None
    with pytest.raises(ArgumentError, match="found neither"):
        pipe.velocity(None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": np.ones((3, 9))}, r"video latent: expected \(tokens, 4\).*another model"),
        ({"context": np.ones((4, 9))}, r"video context: expected \(rows, 6\).*another model"),
        ({"positions": np.zeros((1, 3, 2))}, r"video positions: expected \(3, tokens, 2\)"),
    ],
)
def test_arrays_of_another_model_are_refused_before_weights_are_read(
    make: Make, changes: dict[str, Any], message: str
) -> None:
    pipe = make()
    with pytest.raises(ShapeError, match=message):
        pipe.velocity(modality(**changes), None)
    assert "load Transformer" not in EVENTS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": np.ones((3, 4, 1))}, "expected 2 axes"),
        ({"latent": np.ones((0, 4))}, "at least one token"),
        ({"latent": np.full((3, 4), np.inf)}, "not finite"),
        ({"latent": np.full((3, 4), 1e300)}, "not finite"),
        ({"latent": [["a"]]}, "expected real numbers"),
        ({"timesteps": np.ones(4)}, "expected 3 values"),
        ({"timesteps": np.full(3, 500.0)}, r"expected values in 0\.\.1"),
        ({"sigma": 1.5}, r"expected a value in 0\.\.1"),
        ({"positions": np.ones((2, 3, 2))}, "3 axes for video or 1 for audio"),
    ],
)
def test_modality_checks_itself(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        modality(**changes)


def test_probes_take_globs_and_name_near_matches(make: Make) -> None:
    pipe = make()
    found = pipe.velocity(modality(), None, probes=("transformer_blocks.*.attn1",)).probes
    assert list(found) == [f"transformer_blocks.{i}.attn1" for i in range(3)]
    with pytest.raises(ArgumentError, match=r"matches no probe; near: transformer_blocks\.\d"):
        pipe.velocity(modality(), None, probes=("transformer_block.1",))


def test_stg_blocks_have_to_exist(make: Make) -> None:
    with pytest.raises(ArgumentError, match="stg_blocks: expected 0 to 2"):
        make().velocity(modality(), None, stg_blocks=(3,))


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ([], ShapeError),
        ([[1, 2]], ShapeError),
        ([0.5], ShapeError),
        (np.zeros(1025, np.int32), ShapeError),
        ([2, 50], ArgumentError),
        ([-1], ArgumentError),
    ],
)
def test_ids_are_checked(make: Make, ids: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^ids: expected"):
        make().hidden_states(ids)


def test_video_latents_are_checked_before_iteration(make: Make) -> None:
    pipe = make()
    for call in (pipe.decode_video, pipe.stream_video):
        with pytest.raises(ShapeError, match=r"video latent: expected \(4, F, h, w\)"):
            call(np.zeros((5, 1, 1, 1), np.float32))
    assert EVENTS == []
    assert pipe.decode_video(np.zeros((4, 2, 1, 1))).shape == (9, 32, 32, 3)


def test_sound_goes_both_ways(make: Make) -> None:
    pipe = make()
    sound = pipe.decode_audio(np.zeros((2, 3, 16)))
    assert (sound.samples.shape, sound.sample_rate) == ((2, 9 * 480), pipe.audio_sample_rate)
    assert pipe.decode_mel(np.zeros((2, 1, 16))).shape == (2, 1, 64)
    assert pipe.encode_audio(sound.samples, 48000).shape == (2, 3, 16)
    assert pipe.encode_audio(sound.samples[0], 48000).shape == (2, 3, 16)


@pytest.mark.parametrize(
    ("samples", "rate", "error", "message"),
    [
        (np.zeros((3, 2000)), 16000, ShapeError, "one or two channels"),
        (np.zeros((2, 0)), 16000, ShapeError, "at least one sample"),
        (np.full((2, 2000), np.nan), 16000, ShapeError, "not finite"),
        (np.zeros((2, 2000)), 0, ArgumentError, "sample_rate"),
        (np.zeros((2, 2000)), 44100.5, ArgumentError, "sample_rate"),
        (np.zeros((2, 512)), 16000, ArgumentError, "too few"),
    ],
)
def test_sounds_are_checked(
    make: Make, samples: Any, rate: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make().encode_audio(samples, rate)
    assert EVENTS == []


def test_audio_latents_and_spectra_are_checked(make: Make) -> None:
    pipe = make()
    for latent in (np.zeros((3, 4, 16)), np.zeros((2, 0, 16)), np.zeros((2, 16))):
        with pytest.raises(ShapeError, match="audio latent: expected"):
            pipe.decode_audio(latent)
    with pytest.raises(ShapeError, match=r"mel: expected \(2, steps, 64\)"):
        pipe.vocode(np.zeros((2, 4, 63)))
