"""Pictures, clips and sounds that a pipeline is given, with networks of one line each."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from helpers import fake_core
from helpers.fake_core import (
    AUDIO_CHANNELS,
    CHANNELS,
    EVENTS,
    FakeModels,
    Make,
    Recorder,
    pipelines,
)

from ltx2cpp import (
    AudioCondition,
    Foley,
    ImageCondition,
    ReferenceVideo,
    Retake,
    Step,
)
from ltx2cpp.errors import (
    ArgumentError,
    CheckpointError,
    ConfigError,
)
from ltx2cpp.networks.video import Upsampler

CLIP = {"width": 64, "height": 32, "num_frames": 17}


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return pipelines(monkeypatch)


PICTURE = np.full((40, 70, 3), 50, np.uint8)


def test_pictures_are_held_and_the_encoder_is_freed(make: Make) -> None:
    out = make()("a boat", **CLIP, images=[(PICTURE, 0, 1.0, 0)], output="latents")
    np.testing.assert_array_equal(out.video_latent[:, 0], np.float32(0.5))
    assert np.ptp(out.video_latent[:, 1:]) > 0
    order = [event for event in EVENTS if "VideoEncoder" in event or "Transformer" in event]
    assert order[:4] == [
        "make VideoEncoder",
        "load VideoEncoder",
        "free VideoEncoder",
        "make Transformer",
    ]


def test_appended_pictures_leave_the_clip_its_size(make: Make) -> None:
    images = [(PICTURE, 0), (PICTURE, 8), (PICTURE, -1, 0.5)]
    out = make()("a boat", **CLIP, images=images, output="latents")
    assert out.video_latent.shape == (CHANNELS, 3, 1, 2)
    assert EVENTS.count("encode pictures") == 3


def two_stage_models(monkeypatch: pytest.MonkeyPatch) -> FakeModels:
    ones = np.ones((CHANNELS, 1, 1, 1), np.float32)
    monkeypatch.setattr(Upsampler, "_statistics", lambda *_: (0 * ones, ones))
    return FakeModels(spatial_upsampler=fake_core.component())


def test_two_stages_enlarge_between_two_runs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, steps = Recorder(), list[Step]()
    pipe = make(two_stage_models(monkeypatch), observer=recorder)
    out = pipe(
        "a boat",
        width=128,
        height=64,
        num_frames=17,
        two_stage=True,
        images=[(PICTURE, 0, 1.0, 0)],
        output="latents",
        on_step=steps.append,
    )
    assert out.video_latent.shape == (CHANNELS, 3, 2, 4)
    assert [(step.index, step.total) for step in steps] == [(i, 11) for i in range(1, 12)]
    # Encoded at both sizes at once, so that the encoder is opened once.
    assert EVENTS.count("encode pictures") == 2 and EVENTS.count("load VideoEncoder") == 1
    assert EVENTS.count("velocity") == 11 and EVENTS.count("upsample") == 1
    names = [event[1] for event in recorder.events if isinstance(event, tuple)]
    order = [name for name in dict.fromkeys(names) if not name.startswith("load")]
    assert order == [
        "encode prompt",
        "connect prompt",
        "encode pictures",
        "denoise, stage 1",
        "upsample",
        "denoise, stage 2",
    ]
    np.testing.assert_array_equal(out.video_latent[:, 0], np.float32(0.5))


def test_an_upsampler_of_another_factor_is_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = make(two_stage_models(monkeypatch))
    monkeypatch.setattr(fake_core.Upsampler, "upsample", lambda self, latent: latent)
    with pytest.raises(ConfigError, match="use the one that doubles the size"):
        pipe("a boat", width=128, height=64, num_frames=17, two_stage=True)


def test_steps_show_the_clip_alone_and_cannot_change_it(make: Make) -> None:
    """Tokens of a picture that is shown beside the clip are cut off."""
    steps: list[Step] = []
    condition = ImageCondition(PICTURE, 8, append=True)
    arguments: dict[str, Any] = {
        **CLIP,
        "conditions": [condition],
        "output": "latents",
        "seed": 4,
    }
    out = make()("a boat", **arguments, on_step=steps.append)
    assert {step.estimate.shape for step in steps if step.estimate is not None} == {
        out.video_latent.shape
    }
    with pytest.raises(ValueError, match="read-only"):
        steps[0].estimate[:] = 0  # type: ignore[index]
    np.testing.assert_array_equal(out.video_latent, make()("a boat", **arguments).video_latent)


def test_references_reach_the_network_with_their_attention(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[Any] = []
    answer = fake_core.Transformer.velocity

    def velocity(self: Any, video: Any, *rest: Any) -> Any:
        masks.append(video.attention_mask)
        return answer(self, video, *rest)

    monkeypatch.setattr(fake_core.Transformer, "velocity", velocity)
    reference = ReferenceVideo(np.zeros((9, 32, 64, 3), np.uint8), attention=0.5)
    make()("a boat", **CLIP, conditions=[reference], output="latents")
    assert masks[0].shape == (10, 10) and masks[0][0, 9] == 0.5
    masks.clear()
    make()("a boat", **CLIP, output="latents")
    assert masks[0] is None


def test_retaken_clips_keep_the_rest(make: Make) -> None:
    source = np.full((17, 32, 64, 3), 100, np.uint8)
    out = make()("a boat", **CLIP, conditions=[Retake(source, start_s=0.4)], output="latents")
    np.testing.assert_array_equal(out.video_latent[:, :2], 1.0)
    assert np.ptp(out.video_latent[:, 2]) > 0


def test_given_sound_is_held_and_kept(make: Make) -> None:
    wave = np.linspace(-0.5, 0.5, 2 * 48000, dtype=np.float32)[None].repeat(2, axis=0)
    lead = AudioCondition(wave, 48000, start_s=0.5)
    recorder = Recorder()
    # The fake models lack nothing but what decodes sound, which is not needed.
    models = FakeModels(vocoder=None, audio_decoder=None)
    out = make(models, observer=recorder)("a boat", **CLIP, audio_condition=lead)
    assert out.audio is not None and out.audio_latent is not None
    np.testing.assert_array_equal(out.audio, wave[:, 24000 : 24000 + round(17 / 24 * 48000)])
    assert out.sample_rate == 48000
    held = make().encode_audio(out.audio, 48000)
    shared = min(held.shape[1], 18)
    np.testing.assert_array_equal(out.audio_latent[:, :shared], held[:, :shared])
    assert not out.audio_latent[:, shared:].any()
    assert ("start", "encode audio", 1) in recorder.events
    assert not [event for event in EVENTS if "Vocoder" in event]
    assert out.info["audio_condition"]["start_s"] == 0.5


def test_given_sound_needs_the_audio_encoder(make: Make) -> None:
    lead = AudioCondition(np.zeros(48000, np.float32), 48000)
    with pytest.raises(CheckpointError):
        make(FakeModels(audio_encoder=None))("a boat", **CLIP, audio_condition=lead)
    assert "velocity" not in EVENTS


def test_sound_alone_opens_no_network_of_pictures(make: Make) -> None:
    models = FakeModels(video_decoder=None, video_encoder=None)
    out = make(models)("a bell", **CLIP, video=False)
    assert (out.video, out.video_latent) == (None, None)
    assert out.audio is not None and out.audio_latent is not None
    assert (out.audio.shape, out.audio_latent.shape) == ((2, (4 * 18 - 3) * 480), (2, 18, 16))
    assert EVENTS.count("velocity") == 8
    assert not [event for event in EVENTS if "Video" in event]
    assert out.info["video"] is False
    noise = np.ones((18, AUDIO_CHANNELS), np.float32)
    again = make(models)("a bell", **CLIP, video=False, noise=(None, noise), output="latents")
    assert again.audio_latent is not None and again.audio is None
    with pytest.raises(ArgumentError, match="has no pictures"):
        list(make(models).stream("a bell", **CLIP, video=False))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"audio": False}, "audio=False"),
        ({"images": [np.zeros((32, 64, 3), np.uint8)]}, "images"),
        ({"two_stage": True}, "two_stage"),
        ({"audio_condition": AudioCondition("a.wav")}, "audio_condition"),
    ],
)
def test_sound_alone_refuses_what_pictures_need(
    make: Make, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(ArgumentError, match=f"does not go with {named}"):
        make()("a bell", **CLIP, video=False, **given)
    assert "velocity" not in EVENTS


def test_nothing_is_freed_with_offload_none(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = make(two_stage_models(monkeypatch), offload="none")
    large = {"width": 128, "height": 64, "num_frames": 17}
    picture = np.zeros((32, 64, 3), np.uint8)
    pipe("a boat", **large, images=[picture], two_stage=True)
    gc.collect()
    assert "load VideoEncoder" in EVENTS and "load Upsampler" in EVENTS
    assert not [event for event in EVENTS if event.startswith("free")]


def test_temporal_upscale_doubles_the_frame_rate(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = two_stage_models(monkeypatch)
    models.temporal_upsampler = models.spatial_upsampler
    doubled = lambda self, latent: latent.repeat(2, axis=1)[:, 1:]  # noqa: E731
    monkeypatch.setattr(fake_core.Upsampler, "upsample", doubled)
    recorder = Recorder()
    out = make(models, observer=recorder)("a boat", **CLIP, temporal_upscale=True)
    assert out.video_latent.shape[1] == 5
    assert out.video is not None and len(out.video) == 33
    assert out.frame_rate == 48.0
    # What a call needs to make the clip again.
    assert (out.info["num_frames"], out.info["frame_rate"]) == (17, 24.0)
    assert out.info["temporal_upscale"] is True
    assert ("start", "upscale frames", None) in recorder.events
    assert ("progress", "decode video", 33, 33) in recorder.events


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"video": False}, "there are no pictures with video=False"),
        ({"conditions": Foley(np.zeros((17, 32, 64, 3), np.uint8))}, "keeps its frame rate"),
    ],
)
def test_temporal_upscale_needs_pictures_of_its_own(
    make: Make, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()("a boat", **CLIP, **given, temporal_upscale=True)


def test_temporal_upscale_needs_its_upsampler(make: Make) -> None:
    with pytest.raises(CheckpointError, match="temporal_upsampler"):
        make()("a boat", **CLIP, temporal_upscale=True)
    assert EVENTS == []
