"""Whole denoising runs and frames against the reference, from its own noise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare

from ltx2cpp import (
    AudioCondition,
    Guidance,
    ImageCondition,
    LTX2Pipeline,
    Modality,
    ModalityGuidance,
    ModelFiles,
    PromptEmbedding,
    ReferenceVideo,
    Retake,
    Sampling,
    Step,
    VideoCondition,
    media,
)
from ltx2cpp.conditioning import LatentState
from ltx2cpp.errors import ShapeError
from ltx2cpp.latents import (
    audio_positions,
    pack_audio,
    pack_video,
    unpack_audio,
    unpack_video,
    video_positions,
)
from ltx2cpp.sampling.denoising import denoise, in_turn
from ltx2cpp.sampling.schedulers import DISTILLED_STAGE_2_SIGMAS, ltx2_sigmas

GRID = (3, 2, 3)
AUDIO_FRAMES = 18


@pytest.fixture(scope="module")
def pipe(fixture_a: Path) -> Iterator[LTX2Pipeline]:
    files = ModelFiles(
        fixture_a / "ltx-2.3-tiny.safetensors",
        text_encoder=fixture_a / "gemma-3-tiny",
        spatial_upsampler=fixture_a / "ltx-2.3-tiny-spatial-upscaler-x2.safetensors",
    )
    with LTX2Pipeline(files, device="cpu", weight_type="f32", threads=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def golden(fixture_a: Path) -> dict[str, Any]:
    return dict(np.load(fixture_a / "ref" / "sampling.npz"))


@pytest.fixture(scope="module")
def run(fixture_a: Path) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((fixture_a / "manifest.json").read_text())["run"]
    return run


@pytest.fixture(scope="module")
def contexts(fixture_a: Path) -> PromptEmbedding:
    text = np.load(fixture_a / "ref" / "text.npz")
    return PromptEmbedding(text["P0.video_context"], text["P0.audio_context"])


def clip(run: dict[str, Any]) -> dict[str, Any]:
    e2e = run["e2e"]
    return {
        "width": e2e["width"],
        "height": e2e["height"],
        "num_frames": e2e["frames"],
        "frame_rate": e2e["fps"],
    }


def given_noise(golden: dict[str, Any]) -> tuple[Any, Any]:
    return golden["t2v.video.noise"][0], golden["t2v.audio.noise"][0]


def test_prompt_to_frames(pipe: LTX2Pipeline, golden: dict[str, Any], run: dict[str, Any]) -> None:
    steps: list[Step] = []
    out = pipe(
        run["e2e"]["prompt"],
        **clip(run),
        sigmas=golden["t2v.sigmas"].tolist(),
        guidance_scale=1.0,
        noise=given_noise(golden),
        on_step=steps.append,
    )
    bound = tolerances.RUN_F32
    compare("video latent", out.video_latent, golden["t2v.video.latent"][0], bound)
    compare("audio latent", out.audio_latent, golden["t2v.audio.latent"][0], bound)
    assert len(steps) == 8
    assert steps[-1].estimate is not None
    np.testing.assert_array_equal(steps[-1].estimate, out.video_latent)
    assert steps[-1].seconds == pytest.approx(17 / 24)
    assert out.video is not None
    difference = np.abs(out.video.astype(int) - golden["t2v.frames_u8"].astype(int))
    assert difference.max() <= 2
    assert out.video.shape == golden["t2v.frames_u8"].shape


def test_distilled_sigmas_are_the_models_default(
    pipe: LTX2Pipeline, golden: dict[str, Any], run: dict[str, Any], contexts: PromptEmbedding
) -> None:
    out = pipe(contexts, **clip(run), noise=given_noise(golden), output="latents")
    compare("latent", out.video_latent, golden["t2v.video.latent"][0], tolerances.RUN_F32)


def test_held_first_frame(
    pipe: LTX2Pipeline, golden: dict[str, Any], contexts: PromptEmbedding
) -> None:
    image = pack_video(golden["i2v.image_latent"][0])
    video_noise, audio_noise = given_noise(golden)
    video = LatentState.empty(18, 16, video_positions(*GRID, 24.0)).hold_frames(image, 0)
    audio = LatentState.empty(AUDIO_FRAMES, 32, audio_positions(AUDIO_FRAMES))
    video, after = denoise(
        in_turn(pipe.velocity),
        video.noised(video_noise),
        audio.noised(audio_noise),
        contexts,
        None,
        sigmas=golden["t2v.sigmas"],
        guidance=Guidance(),
    )
    bound = tolerances.RUN_F32
    compare("video", unpack_video(video.latent, *GRID), golden["i2v.video.latent"][0], bound)
    assert after is not None
    compare("audio", unpack_audio(after.latent), golden["i2v.audio.latent"][0], bound)
    np.testing.assert_array_equal(video.latent[:6], image)


def test_second_stage(
    pipe: LTX2Pipeline, golden: dict[str, Any], contexts: PromptEmbedding
) -> None:
    grid = (3, 4, 6)
    sigmas = np.float32(DISTILLED_STAGE_2_SIGMAS)
    video = LatentState.empty(72, 16, video_positions(*grid, 24.0))
    video = replace(video, latent=pack_video(golden["stage2.upsampled"][0]))
    audio = LatentState.empty(AUDIO_FRAMES, 32, audio_positions(AUDIO_FRAMES))
    audio = replace(audio, latent=pack_audio(golden["t2v.audio.latent"][0]))
    video, after = denoise(
        in_turn(pipe.velocity),
        video.noised(golden["stage2.video.noise"][0], float(sigmas[0])),
        audio.noised(golden["stage2.audio.noise"][0], float(sigmas[0])),
        contexts,
        None,
        sigmas=sigmas,
        guidance=Guidance(),
    )
    bound = tolerances.RUN_F32
    compare("video", unpack_video(video.latent, *grid), golden["stage2.video.latent"][0], bound)
    assert after is not None
    compare("audio", unpack_audio(after.latent), golden["stage2.audio.latent"][0], bound)


def test_picture_to_clip(
    pipe: LTX2Pipeline, golden: dict[str, Any], run: dict[str, Any], contexts: PromptEmbedding
) -> None:
    image = ImageCondition(golden["i2v.image_u8"], crf=0)
    encoded = pipe.encode_video(golden["i2v.image_u8"][None])
    compare("image", encoded, golden["i2v.image_latent"][0], tolerances.VIDEO_F32)
    out = pipe(contexts, **clip(run), images=[image], noise=given_noise(golden), output="latents")
    bound = tolerances.RUN_F32
    compare("video", out.video_latent, golden["i2v.video.latent"][0], bound)
    assert out.audio_latent is not None
    compare("audio", out.audio_latent, golden["i2v.audio.latent"][0], bound)
    np.testing.assert_array_equal(out.video_latent[:, :1], encoded)


def test_pictures_are_encoded_as_scaling_leaves_them(
    pipe: LTX2Pipeline, golden: dict[str, Any], run: dict[str, Any], contexts: PromptEmbedding
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 100, 90, 3), np.uint8)
    scaled = media.fit_frames(frames, 96, 64)
    assert not np.array_equal(scaled, np.rint(scaled))
    exact = pipe.encode_video(scaled)
    image = ImageCondition(frames[0], crf=0)
    out = pipe(contexts, **clip(run), images=[image], num_inference_steps=1, output="latents")
    np.testing.assert_array_equal(out.video_latent[:, :1], exact)
    whole = np.rint(scaled)
    np.testing.assert_array_equal(
        pipe.encode_video(whole), pipe.encode_video(whole.astype(np.uint8))
    )
    for levels in (scaled + 300, scaled - 300, scaled * np.nan):
        with pytest.raises(ShapeError, match=r"levels of 0 to 255"):
            pipe.encode_video(levels.astype(np.float32))


def test_two_stages(
    pipe: LTX2Pipeline, golden: dict[str, Any], run: dict[str, Any], contexts: PromptEmbedding
) -> None:
    e2e = clip(run)
    second = golden["stage2.video.noise"][0], golden["stage2.audio.noise"][0]
    out = pipe(
        contexts,
        **{**e2e, "width": 2 * e2e["width"], "height": 2 * e2e["height"]},
        two_stage=True,
        noise=(*given_noise(golden), *second),
        output="latents",
    )
    bound = tolerances.RUN_F32
    compare("video", out.video_latent, golden["stage2.video.latent"][0], bound)
    assert out.audio_latent is not None
    compare("audio", out.audio_latent, golden["stage2.audio.latent"][0], bound)


@pytest.mark.parametrize("sampler", ["gradient_estimation", "euler_ancestral", "res_2s"])
def test_every_sampler_walks_the_model(
    pipe: LTX2Pipeline, run: dict[str, Any], contexts: PromptEmbedding, sampler: str
) -> None:
    given = {**clip(run), "num_inference_steps": 2, "output": "latents"}
    given["sampling"] = Sampling(sampler)
    first, again, other = (pipe(contexts, **given, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.video_latent, again.video_latent)
    assert np.isfinite(first.video_latent).all()
    assert not np.array_equal(first.video_latent, other.video_latent)


def test_conditions_of_all_kinds_together(
    pipe: LTX2Pipeline, run: dict[str, Any], contexts: PromptEmbedding
) -> None:
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (17, 64, 96, 3), np.uint8)
    out = pipe(
        contexts,
        **clip(run),
        num_inference_steps=2,
        seed=1,
        conditions=[
            VideoCondition(frames[:9]),
            ImageCondition(frames[12], frame=12, strength=0.8),
            ImageCondition(frames[16], frame=-1),
            ReferenceVideo(frames[:9], attention=0.5),
            Retake(frames, start_s=0.2, new_audio=False),
        ],
        output="latents",
    )
    assert out.video_latent.shape == (16, 3, 2, 3)
    held = pipe.encode_video(frames[:9])
    np.testing.assert_array_equal(out.video_latent[:, :2], held)
    assert np.isfinite(out.video_latent).all()


def test_guided_run(pipe: LTX2Pipeline, golden: dict[str, Any], run: dict[str, Any]) -> None:
    used = run["guided"]
    video = ModalityGuidance(
        cfg=used["cfg_video"],
        stg=used["stg_scale"],
        modality=used["modality_scale"],
        rescale=used["rescale_scale"],
        skip_step=used["skip_step"],
    )
    guidance = Guidance(video, replace(video, cfg=used["cfg_audio"]), tuple(used["stg_blocks"]))
    out = pipe(
        run["e2e"]["prompt"],
        **clip(run),
        negative_prompt=used["negative_prompt"],
        sigmas=golden["guided.sigmas"].tolist(),
        guidance=guidance,
        noise=given_noise(golden),
        output="latents",
    )
    bound = tolerances.RUN_F32
    compare("video", out.video_latent, golden["guided.video.latent"][0], bound)
    compare("audio", out.audio_latent, golden["guided.audio.latent"][0], bound)
    np.testing.assert_allclose(
        ltx2_sigmas(4, tokens=18), golden["guided.sigmas"], atol=tolerances.SIGMA_ABSOLUTE
    )


def test_same_seed_gives_the_same_bits(
    pipe: LTX2Pipeline, run: dict[str, Any], contexts: PromptEmbedding
) -> None:
    given = {**clip(run), "seed": 5, "num_inference_steps": 2, "output": "latents"}
    first, second = pipe(contexts, **given), pipe(contexts, **given)
    np.testing.assert_array_equal(first.video_latent, second.video_latent)
    other = pipe(contexts, **{**given, "seed": 6})
    assert not np.array_equal(first.video_latent, other.video_latent)


def test_pictures_alone_leave_the_audio_stream_out(
    pipe: LTX2Pipeline, run: dict[str, Any], contexts: PromptEmbedding
) -> None:
    given = {**clip(run), "seed": 5, "num_inference_steps": 2, "output": "latents"}
    alone = pipe(contexts, **given, audio=False)
    assert alone.audio_latent is None
    assert not np.array_equal(alone.video_latent, pipe(contexts, **given).video_latent)


def test_embeddings_saved_and_loaded_give_the_same_clip(
    pipe: LTX2Pipeline, run: dict[str, Any], contexts: PromptEmbedding, tmp_path: Path
) -> None:
    contexts.save(tmp_path / "prompt.safetensors")
    loaded = PromptEmbedding.load(tmp_path / "prompt.safetensors")
    np.testing.assert_array_equal(loaded.video, contexts.video)
    np.testing.assert_array_equal(loaded.audio, contexts.audio)


def test_sound_alone_is_one_audio_only_call_per_step(
    pipe: LTX2Pipeline, contexts: PromptEmbedding
) -> None:
    noise = np.random.default_rng(0).standard_normal((26, 32)).astype(np.float32)
    given = {"width": 64, "height": 64, "num_frames": 25, "video": False}
    out = pipe(contexts, sigmas=[1.0, 0.0], noise=(None, noise), output="latents", **given)
    alone = Modality(noise, contexts.audio, 1.0, np.ones(26, np.float32), audio_positions(26))
    flow = pipe.velocity(None, alone).audio
    assert flow is not None and out.audio_latent is not None
    np.testing.assert_allclose(pack_audio(out.audio_latent), noise - flow, atol=1e-6)


def test_given_sound_is_seen_by_the_pictures_and_stays(
    pipe: LTX2Pipeline, contexts: PromptEmbedding
) -> None:
    wave = 0.4 * np.sin(2 * np.pi * 330 * np.arange(50_000) / 44_100).astype(np.float32)
    clip = {"width": 64, "height": 64, "num_frames": 25, "num_inference_steps": 2, "seed": 1}
    led = pipe(contexts, audio_condition=AudioCondition(wave, 44_100), **clip)
    free = pipe(contexts, output="latents", **clip)
    assert led.audio is not None and led.audio_latent is not None
    np.testing.assert_array_equal(led.audio, np.stack([wave[:45_938]] * 2))
    encoded = pipe.encode_audio(led.audio, 44_100)
    np.testing.assert_array_equal(led.audio_latent, encoded[:, :26])
    assert led.video_latent is not None and free.video_latent is not None
    assert np.abs(led.video_latent - free.video_latent).max() > 1e-2
