"""What the pipeline does around the networks, with networks of one line each."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any

import numpy as np
import pytest
from helpers import fake_core
from helpers.fake_core import (
    AUDIO_WIDTH,
    CHANNELS,
    EVENTS,
    WIDTH,
    FakeModels,
    Make,
    Recorder,
    pipelines,
)

from ltx2cpp import (
    Guidance,
    ModalityGuidance,
    PromptEmbedding,
    Step,
)
from ltx2cpp.errors import (
    ArgumentError,
    CheckpointError,
    ConfigError,
    ShapeError,
    UnsupportedError,
)

CLIP = {"width": 64, "height": 32, "num_frames": 17}


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return pipelines(monkeypatch)


def test_generation_gives_everything(make: Make) -> None:
    out = make()("a red boat", **CLIP, seed=4)
    assert out.video is not None
    assert out.video.shape == (17, 32, 64, 3)
    assert out.video.dtype == np.uint8
    assert out.video[0].max() == 127
    assert out.video[-1].max() == 153
    assert out.video_latent.shape == (CHANNELS, 3, 1, 2)
    assert out.audio_latent is not None
    assert out.audio_latent.shape == (2, 18, 16)
    assert out.audio is not None
    assert (out.audio.shape, out.sample_rate) == ((2, (4 * 18 - 3) * 480), 48000)
    assert out.info["seed"] == 4
    assert out.info["weight_type"] == "file"
    assert out.info["device"] == "cpu"


def test_nothing_is_opened_before_it_is_needed_and_the_encoder_is_freed(make: Make) -> None:
    pipe = make()
    assert EVENTS == []
    pipe("a red boat", **CLIP, output="latents")
    order = [event for event in EVENTS if event.startswith(("load", "free", "enc"))]
    assert order[0] == "load TextEncoder"
    assert order.index("free TextEncoder") < order.index("load Transformer")
    assert EVENTS.count("velocity") == 8
    assert "make VideoDecoder" not in EVENTS


def test_another_seed_encodes_no_prompt_again(make: Make) -> None:
    pipe = make()
    first = pipe("a red boat", **CLIP, seed=1, output="latents")
    second = pipe("a red boat", **CLIP, seed=2, output="latents")
    assert EVENTS.count("encode") == 1
    assert EVENTS.count("load Transformer") == 1
    assert not np.array_equal(first.video_latent, second.video_latent)


def test_same_seed_gives_the_same_bits(make: Make) -> None:
    results = [make()("a boat", **CLIP, seed=9) for _ in range(2)]
    np.testing.assert_array_equal(results[0].video_latent, results[1].video_latent)


def test_kept_contexts_are_few(make: Make) -> None:
    pipe = make()
    for index in range(7):
        pipe(f"prompt {index}", **CLIP, output="latents", num_inference_steps=1)
    pipe("prompt 6", **CLIP, output="latents", num_inference_steps=1)
    assert EVENTS.count("encode") == 7
    pipe("prompt 0", **CLIP, output="latents", num_inference_steps=1)
    assert EVENTS.count("encode") == 8


def test_release_frees_and_the_next_call_opens_again(make: Make) -> None:
    with make() as pipe:
        pipe("a boat", **CLIP)
    gc.collect()
    assert {e[5:] for e in EVENTS if e.startswith("free")} >= {"Transformer", "VideoDecoder"}
    pipe("a boat", **CLIP)
    assert EVENTS.count("load Transformer") == 2
    pipe.release()
    pipe.release()


def test_stream_decodes_while_it_is_iterated(make: Make) -> None:
    stream = make().stream("a boat", **CLIP, frame_rate=25.0)
    assert "decode chunk" not in EVENTS
    assert (stream.width, stream.height, stream.num_frames, stream.frame_rate) == (64, 32, 17, 25.0)
    iterator = iter(stream)
    assert next(iterator).shape == (1, 32, 64, 3)
    assert EVENTS.count("decode chunk") == 1
    assert sum(len(chunk) for chunk in iterator) == 16


def test_observer_hears_phases_steps_and_progress(make: Make) -> None:
    recorder = Recorder()
    make(observer=recorder)("a boat", **CLIP)
    steps = [event for event in recorder.events if isinstance(event, Step)]
    phases = [event for event in recorder.events if isinstance(event, tuple)]
    assert [step.index for step in steps] == list(range(1, 9))
    assert phases.count(("progress", "decode video", 17, 17)) == 1
    started = [event[1] for event in phases if event[0] == "start"]
    assert [name for name in started if not name.startswith("load")] == [
        "encode prompt",
        "connect prompt",
        "denoise",
        "decode audio",
        "decode video",
    ]
    # Phases never overlap: each start is followed by its own end.
    edges = [event[:2] for event in phases if event[0] != "progress"]
    assert edges == [(edge, name) for name in started for edge in ("start", "end")]


def test_callback_exception_stops_at_its_step(make: Make) -> None:
    def stop(step: Step) -> None:
        if step.index == 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        make()("a boat", **CLIP, on_step=stop)
    assert EVENTS.count("velocity") == 3


def test_pictures_alone_need_and_decode_no_sound(make: Make) -> None:
    out = make(FakeModels(vocoder=None, audio_decoder=None))("a boat", **CLIP, audio=False)
    assert (out.audio_latent, out.audio, out.sample_rate) == (None, None, None)
    assert not [event for event in EVENTS if "Audio" in event or "Vocoder" in event]


def test_sound_is_decoded_when_it_is_read(make: Make) -> None:
    stream = make().stream("a boat", **CLIP)
    assert sum(len(chunk) for chunk in stream) == 17
    assert not [event for event in EVENTS if "Vocoder" in event]
    assert stream.audio is not None
    assert (stream.audio.shape, stream.sample_rate) == ((2, (4 * 18 - 3) * 480), 48000)
    assert stream.audio is stream.audio


def test_latents_need_no_vocoder(make: Make) -> None:
    out = make(FakeModels(vocoder=None))("a boat", **CLIP, output="latents")
    assert (out.audio, out.sample_rate) == (None, None)
    assert out.audio_latent is not None


def test_sound_is_freed_before_pictures_are_decoded(make: Make) -> None:
    make()("a boat", **CLIP)
    for name in ("AudioDecoder", "Vocoder"):
        assert EVENTS.index(f"free {name}") < EVENTS.index("load VideoDecoder")


@pytest.mark.parametrize(
    ("models", "given", "error"),
    [
        (FakeModels(), {"width": 65}, ArgumentError),
        (FakeModels(), {"num_frames": 489}, ArgumentError),
        (FakeModels(), {"images": ["nothing.png"]}, ArgumentError),
        (
            FakeModels(video_encoder=None),
            {"images": [np.zeros((8, 8, 3), np.uint8)]},
            CheckpointError,
        ),
        (FakeModels(), {"two_stage": True, "height": 64}, CheckpointError),
        (
            FakeModels(spatial_upsampler=fake_core.component(fake_core.Config(spatial_scale=1.5))),
            {"two_stage": True, "height": 64},
            ConfigError,
        ),
        (
            FakeModels(),
            {"guidance": Guidance(ModalityGuidance(stg=1.0), stg_blocks=(3,))},
            ArgumentError,
        ),
        (FakeModels(), {"prompt": PromptEmbedding(np.zeros((2, 9)), np.zeros((2, 9)))}, ShapeError),
        (FakeModels(text_encoder=None), {}, CheckpointError),
        (FakeModels(audio_connector=None), {}, CheckpointError),
        (FakeModels(video_decoder=None), {}, CheckpointError),
        (FakeModels(audio_decoder=None), {}, CheckpointError),
        (FakeModels(vocoder=None), {}, CheckpointError),
        (
            FakeModels(
                audio_decoder=fake_core.component(
                    dataclasses.replace(fake_core.AUDIO_VAE, latent_channels=8)
                )
            ),
            {},
            ConfigError,
        ),
        (FakeModels(transformer=None), {}, CheckpointError),
        (FakeModels(version="1.0"), {}, ConfigError),
        (
            FakeModels(video_decoder=fake_core.component(fake_core.Config(latent_channels=5))),
            {},
            ConfigError,
        ),
        (
            FakeModels(video_decoder=fake_core.component(fake_core.Config(patch_size=2))),
            {},
            UnsupportedError,
        ),
    ],
)
def test_bad_requests_are_refused_before_any_weight_is_opened(
    make: Make, models: FakeModels, given: dict[str, Any], error: type[Exception]
) -> None:
    pipe = make(models)
    with pytest.raises(error):
        pipe(**{"prompt": "a boat", **CLIP, **given})
    assert EVENTS == []


def test_latents_need_no_decoder(make: Make) -> None:
    out = make(FakeModels(video_decoder=None))("a boat", **CLIP, output="latents")
    assert out.video is None


def test_given_contexts_need_no_text_encoder(make: Make) -> None:
    contexts = PromptEmbedding(np.zeros((1024, WIDTH)), np.zeros((1024, AUDIO_WIDTH)))
    out = make(FakeModels(text_encoder=None, text_projection=None))(
        contexts, **CLIP, output="latents"
    )
    assert out.info["prompt"] is None


def test_guided_models_encode_both_prompts_and_run_all_passes(make: Make) -> None:
    pipe = make(FakeModels(variant="dev"))
    out = pipe("a boat", **CLIP, num_inference_steps=2, output="latents")
    assert EVENTS.count("encode") == 2
    assert EVENTS.count("velocity") == 8
    assert out.info["guidance"]["stg_blocks"] == [1]


def test_weight_type_sets_the_types_that_load(make: Make) -> None:
    for weight_type, want in (("file", None), ("bf16", "bf16"), ("q4_k", "bf16")):
        pipe = make(weight_type=weight_type)
        table = pipe.networks.backend.table(FakeModels().transformer)
        (row,) = table.rows
        assert row[:3] == ("proj.weight", "f32", (64, 64))
        assert row[4:6] == (64, 4 * 64 * 64)
        assert row[6] == want, weight_type


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight_type": "q2_k"}, "weight_type: expected one of file, f32"),
        ({"threads": 0}, "threads: expected 1 to 1024"),
        ({"threads": True}, "threads: expected 1 to 1024"),
        ({"threads": 2.5}, "threads: expected 1 to 1024"),
    ],
)
def test_pipeline_options_are_checked(make: Make, arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make(**arguments)


def test_an_unknown_argument_is_named_with_the_nearest(make: Make) -> None:
    with pytest.raises(TypeError, match="unexpected argument 'heigth'; did you mean 'height'"):
        make()("a boat", heigth=64)
    with pytest.raises(TypeError, match="unexpected argument 'devise'; did you mean 'device'"):
        make(devise="cpu")
