"""What the pipeline does around the networks, with networks of one line each."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from typing import Any

import fake_core
import numpy as np
import pytest
from fake_core import AUDIO_CHANNELS, AUDIO_WIDTH, CHANNELS, EVENTS, WIDTH, FakeModels

from ltx2cpp import (
    AudioCondition,
    Guidance,
    LTX2Pipeline,
    Modality,
    ModalityGuidance,
    ModelFiles,
    Observer,
    PromptEmbedding,
    ReferenceVideo,
    Retake,
    Step,
    audio_stages,
    model,
    stages,
    text_stages,
)
from ltx2cpp.errors import (
    ArgumentError,
    CheckpointError,
    ConfigError,
    ShapeError,
    UnsupportedError,
)

CLIP = {"width": 64, "height": 32, "num_frames": 17}

Make = Callable[..., LTX2Pipeline]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    def build(models: FakeModels | None = None, **arguments: Any) -> LTX2Pipeline:
        core = fake_core.make_core()
        monkeypatch.setattr(stages, "_core", core)
        monkeypatch.setattr(audio_stages, "_core", core)
        monkeypatch.setattr(text_stages, "_core", core)
        monkeypatch.setattr(model, "resolve", lambda files: models or FakeModels())
        gc.collect()
        EVENTS.clear()
        return LTX2Pipeline(ModelFiles("model.safetensors"), device="cpu", **arguments)

    return build


class Recorder(Observer):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def phase_started(self, name: str, total: int | None = None) -> None:
        self.events.append(("start", name, total))

    def phase_progress(self, name: str, done: int, total: int) -> None:
        self.events.append(("progress", name, done, total))

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        assert seconds >= 0
        assert peak_bytes >= 0
        self.events.append(("end", name))

    def step(self, step: Step) -> None:
        self.events.append(step)


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
        (FakeModels(gemma=None), {}, CheckpointError),
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
    out = make(FakeModels(gemma=None, text_projection=None))(contexts, **CLIP, output="latents")
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
        table = pipe._backend.table(FakeModels().transformer)
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
        ({"latent": np.ones((3, 7))}, r"video latent: expected \(tokens, 4\)"),
        ({"context": np.ones((3, 7))}, r"video context: expected \(rows, 6\)"),
        ({"context": np.ones((0, 6))}, r"video context: expected \(rows, 6\)"),
        ({"positions": np.ones((1, 3, 2))}, r"video positions: expected 3 axes"),
    ],
)
def test_velocity_refuses_arrays_of_another_model(
    make: Make, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        make().velocity(modality(**changes), None)


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
    monkeypatch.setattr(stages.Upsampler, "_statistics", lambda *_: (0 * ones, ones))
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


def test_references_reach_the_network_with_their_attention(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[Any] = []
    answer = fake_core.Transformer.velocity

    def velocity(self: Any, video: Any, *rest: Any) -> Any:
        masks.append(video.get("attention_mask"))
        return answer(self, video, *rest)

    monkeypatch.setattr(fake_core.Transformer, "velocity", velocity)
    reference = ReferenceVideo(np.zeros((9, 32, 64, 3), np.uint8), attention=0.5)
    make()("a boat", **CLIP, images=[reference], output="latents")
    assert masks[0].shape == (10, 10) and masks[0][0, 9] == 0.5
    masks.clear()
    make()("a boat", **CLIP, output="latents")
    assert masks[0] is None


def test_retaken_clips_keep_the_rest(make: Make) -> None:
    source = np.full((17, 32, 64, 3), 100, np.uint8)
    out = make()("a boat", **CLIP, images=[Retake(source, start_s=0.4)], output="latents")
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
    assert ("start", "encode audio", None) in recorder.events
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
