"""Stages of LTX-2.5 against the reference, on the tiny model of fixtures C."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare

from ltx2cpp import ImageCondition, LTX2Pipeline, Modality, ModelFiles, Sampling
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.networks.canvas_noise import DrawnNoise, GivenNoise
from ltx2cpp.sampling.noise import NoiseSource

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def pipe(fixture_c: Path) -> Iterator[LTX2Pipeline]:
    files = ModelFiles(
        transformer=fixture_c / "ltx-2.5-tiny-transformer.safetensors",
        text_encoder=fixture_c / "gemma4-tiny-with-proj.safetensors",
        variant="distilled",
    )
    with LTX2Pipeline(files, device="cpu", weight_type="f32", threads=2) as opened:
        yield opened


def load(folder: Path, name: str) -> Arrays:
    with np.load(folder / "ref" / f"{name}.npz") as arrays:
        return dict(arrays)


def test_tokens(pipe: LTX2Pipeline, fixture_c: Path) -> None:
    for row in json.loads((fixture_c / "ref" / "tokenizer.json").read_text())["prompts"]:
        assert pipe.tokenize(row["text"]).tolist() == row["ids"], row["text"][:60]


def test_text_encoder_and_connectors(pipe: LTX2Pipeline, fixture_c: Path) -> None:
    arrays = load(fixture_c, "text")
    for key, prompt in json.loads(str(arrays["prompts"])).items():
        ids = arrays[f"{key}.ids"].astype(np.int32)
        assert pipe.tokenize(prompt).tolist() == ids.tolist()
        states = pipe.hidden_states(ids)
        for index, want in enumerate(arrays[f"{key}.hidden"]):
            compare(f"{key} state {index}", states[index], want, tolerances.TEXT_F32)
        embedding = pipe.encode_prompt(prompt)
        for stream in ("video", "audio"):
            name = f"{key}.{stream}_context"
            want = arrays.get(name, arrays.get(f"{name}_first96"))
            assert want is not None
            got = getattr(embedding, stream)[: len(want)]
            compare(f"{key} {stream} context", got, want, tolerances.TEXT_F32)


def modality(arrays: Arrays, case: str, stream: str, *, marks: bool = True) -> Modality:
    prefix = f"{case}.in.{stream}."
    mask = arrays.get(f"{prefix}keyframes_mask") if marks else None
    return Modality(
        latent=arrays[f"{prefix}latent"][0],
        context=arrays[f"in.{stream}.context"][0],
        sigma=float(arrays[f"{prefix}sigma"].reshape(-1)[0]),
        timesteps=arrays[f"{prefix}timesteps"][0, :, 0],
        positions=arrays[f"{prefix}positions"][0],
        keyframes_mask=None if mask is None else mask[0, :, 0],
    )


# A clip alone, one with generated keyframes, one with pictures and a reference too.
@pytest.mark.parametrize("case", ["t2v", "slots", "all"])
def test_velocity(pipe: LTX2Pipeline, fixture_c: Path, case: str) -> None:
    arrays = load(fixture_c, "transformer")
    velocity = pipe.velocity(modality(arrays, case, "video"), modality(arrays, case, "audio"))
    for stream in ("video", "audio"):
        want = arrays[f"{case}.out.{stream}.velocity"][0]
        compare(f"{case} {stream}", getattr(velocity, stream), want, tolerances.TRANSFORMER_F32)


def test_velocity_without_marks(pipe: LTX2Pipeline, fixture_c: Path) -> None:
    arrays = load(fixture_c, "transformer")
    video = modality(arrays, "t2v", "video", marks=False)
    velocity = pipe.velocity(video, modality(arrays, "t2v", "audio"))
    want = arrays["t2v.unmarked.video.velocity"][0]
    compare("video", velocity.video, want, tolerances.TRANSFORMER_F32)


# -- video decoders -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def decoders(fixture_c: Path) -> Iterator[LTX2Pipeline]:
    files = ModelFiles(
        video_vae=fixture_c / "ltx-2.5-tiny-video-vae-conv.safetensors",
        video_decoder=fixture_c / "ltx-2.5-tiny-video-vae.safetensors",
        variant="distilled",
    )
    with LTX2Pipeline(files, device="cpu", weight_type="f32", threads=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def manifest(fixture_c: Path) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((fixture_c / "manifest.json").read_text())["run"]
    return run


def noise_of(arrays: Arrays, canvas: tuple[int, ...]) -> np.ndarray:
    """The recorded noise, eighths in bytes, cut to a canvas."""
    part = arrays["noise_i8"][: canvas[0], : canvas[1], : canvas[2]]
    return part.astype(np.float32) / np.float32(8)


# Whole; with copied borders; enlarged to the windows; in two steps.
@pytest.mark.parametrize(
    ("case", "kind", "options"),
    [
        ("decode", "shift", {}),
        ("decode", "replicate", {"edges": "replicate"}),
        ("small", "shift", {}),
        ("two_steps", "shift", {"steps": 2}),
        ("tiled", "shift", {"tiling": True}),
    ],
)
def test_diffusion_decoder(
    decoders: LTX2Pipeline,
    fixture_c: Path,
    manifest: dict[str, Any],
    case: str,
    kind: str,
    options: dict[str, Any],
) -> None:
    arrays = load(fixture_c, "diffusion_decoder")
    latent = arrays[f"{case}.latent"][0]
    canvas = decoders.decoder_canvas(latent.shape)
    assert list(canvas) == manifest["results"]["decoder"][case]["canvas"]
    if options.get("tiling"):
        options = {"tiling": {name: tuple(pair) for name, pair in manifest["dec_tiles"].items()}}
    noise = noise_of(arrays, canvas)
    chunks = list(decoders.stream_video(latent, noise=noise, **options))
    if "tiling" in options:
        assert [len(chunk) for chunk in chunks] == manifest["results"]["decoder"][case]["chunks"]
    frames = np.concatenate(chunks)
    want = arrays[f"{case}.{kind}.frames"]
    index = arrays[f"{case}.{kind}.frame_index"]
    compare("frames", frames[index], want, tolerances.VIDEO_F32)
    whole = decoders.decode_video(latent, decoder="diffusion", noise=noise, **options)
    np.testing.assert_array_equal(whole, frames)


def test_convolutional_decoder_and_encoder(decoders: LTX2Pipeline, fixture_c: Path) -> None:
    arrays = load(fixture_c, "video_vae")
    frames = decoders.decode_video(arrays["decode.latent"][0], decoder="conv")
    index = arrays["decode.frame_index"]
    compare("frames", frames[index], arrays["decode.frames"], tolerances.VIDEO_F32)
    latent = decoders.encode_video(arrays["encode.frames_u8"])
    compare("latent", latent, arrays["encode.latent"][0], tolerances.VIDEO_F32)


def test_a_seed_draws_the_noise(decoders: LTX2Pipeline, fixture_c: Path) -> None:
    latent = load(fixture_c, "diffusion_decoder")["small.latent"][0]
    one, same, other = (decoders.decode_video(latent, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    canvas = decoders.decoder_canvas(latent.shape)
    drawn = NoiseSource(1).normal((*canvas, 3))
    np.testing.assert_array_equal(one, decoders.decode_video(latent, noise=drawn))


def test_noise_of_a_seed_is_one_canvas_however_it_is_cut() -> None:
    canvas = (3, 8, 10)
    whole = GivenNoise(NoiseSource(4).normal((*canvas, 3)))
    for part in (((0, 3), (0, 8), (0, 10)), ((1, 2), (3, 7), (2, 9)), ((2, 3), (7, 8), (9, 10))):
        np.testing.assert_array_equal(DrawnNoise(4, canvas).part(part), whole.part(part))


def test_decoders_that_the_files_lack(fixture_c: Path) -> None:
    conv = fixture_c / "ltx-2.5-tiny-video-vae-conv.safetensors"
    diffusion = fixture_c / "ltx-2.5-tiny-video-vae.safetensors"
    latent = load(fixture_c, "diffusion_decoder")["small.latent"][0]
    with (
        LTX2Pipeline(ModelFiles(video_vae=conv, variant="distilled"), device="cpu") as pipe,
        pytest.raises(ArgumentError, match="the files hold the conv video decoder only"),
    ):
        pipe.decode_video(latent, decoder="diffusion")
    with LTX2Pipeline(ModelFiles(video_vae=diffusion, variant="distilled"), device="cpu") as pipe:
        with pytest.raises(ArgumentError, match="the files hold the diffusion video decoder only"):
            pipe.decode_video(latent, decoder="conv")
        assert pipe.decode_video(latent).shape == (1, 64, 128, 3)


@pytest.mark.parametrize(("free_bytes", "choice"), [(1 << 40, 0), (0, 0), (1, -1)])
def test_tiles_for_the_memory_that_is_free(
    decoders: LTX2Pipeline,
    fixture_c: Path,
    monkeypatch: pytest.MonkeyPatch,
    free_bytes: int,
    choice: int,
) -> None:
    """A machine that does not tell is taken for a usual one."""
    latent = load(fixture_c, "diffusion_decoder")["tiled.latent"][0]
    decoder, seen = decoders.networks.diffusion_decoder, []
    monkeypatch.setattr(decoders.networks.backend, "free_bytes", lambda: free_bytes)
    monkeypatch.setattr(decoder, "stream", lambda *_, tiling, **__: seen.append(tiling))
    decoders.stream_video(latent, tiling="auto")
    assert seen == [decoder.tilings(latent.shape)[choice]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "fast"}, "expected one of conv, diffusion"),
        ({"edges": "wrap"}, "expected one of shift, replicate"),
        ({"steps": 0}, "steps: expected 1 to"),
        ({"noise": np.zeros((1, 2, 2, 3), np.float32)}, "noise: expected"),
        ({"noise": np.zeros((1, 2, 2, 3), np.float32), "seed": 1}, "seed: noise is given"),
        ({"seed": -1}, "seed: expected 0 to"),
        ({"decoder": "conv", "steps": 2}, "steps: is for the diffusion decoder"),
        ({"tiling": {"frames": (16, 0)}}, "frames needs an overlap of at least 8"),
        ({"tiling": {"height": (64, 8)}}, "height needs an overlap of at least 64"),
        ({"tiling": {"width": (90, 64)}}, "multiples of 8"),
        ({"tiling": {"depth": (64, 64)}}, "expected a mapping from frames, height, width"),
        ({"tiling": 64}, "expected a mapping from frames, height, width"),
        ({"tiling": {"width": 128}}, r"width expects \(size, overlap\), found 128"),
        ({"tiling": {"width": (128.5, 64)}}, "tiling: width: expected a whole number"),
        ({"decoder": "conv", "tiling": {}}, "tiling: is for the diffusion decoder"),
    ],
)
def test_options_out_of_range(
    decoders: LTX2Pipeline, fixture_c: Path, options: dict[str, Any], message: str
) -> None:
    latent = load(fixture_c, "diffusion_decoder")["small.latent"][0]
    with pytest.raises((ArgumentError, ShapeError), match=message):
        decoders.stream_video(latent, **options)


# -- whole runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(fixture_c: Path) -> Iterator[LTX2Pipeline]:
    files = ModelFiles(
        transformer=fixture_c / "ltx-2.5-tiny-transformer.safetensors",
        text_encoder=fixture_c / "gemma4-tiny-with-proj.safetensors",
        video_vae=fixture_c / "ltx-2.5-tiny-video-vae-conv.safetensors",
        audio_vae=fixture_c / "ltx-2.5-tiny-audio-vae.safetensors",
        spatial_upsampler=fixture_c / "ltx-2.5-tiny-latent-spatial-upscaler-x2.safetensors",
        variant="distilled",
    )
    with LTX2Pipeline(files, device="cpu", weight_type="f32", threads=2) as opened:
        yield opened


def step_noise(arrays: Arrays, case: str) -> list[tuple[np.ndarray, np.ndarray]]:
    names = (f"{case}.video.step_noise", f"{case}.audio.step_noise")
    return list(zip(*(arrays[name] for name in names), strict=True))


# A clip alone, one with generated keyframes, one with these and a picture at strength 0.8.
@pytest.mark.parametrize("case", ["t2v", "slots", "held"])
def test_one_stage_run(
    whole: LTX2Pipeline, fixture_c: Path, manifest: dict[str, Any], case: str
) -> None:
    arrays, size = load(fixture_c, "sampling"), manifest["e2e"]
    options: dict[str, Any] = {}
    if case != "t2v":
        options["generated_keyframes"] = manifest["slots"]["positions"]
    if case == "held":
        options["images"] = [ImageCondition(arrays["held.image_u8"], strength=0.8, crf=0)]
    output = whole(
        size["prompt"],
        width=size["width"],
        height=size["height"],
        num_frames=size["frames"],
        frame_rate=size["fps"],
        sigmas=arrays[f"{case}.sigmas"].tolist(),
        noise=(arrays[f"{case}.video.noise"], arrays[f"{case}.audio.noise"]),
        sampling=Sampling(step_noise=step_noise(arrays, case)),
        two_stage=False,
        output="latents",
        **options,
    )
    compare("video", output.video_latent, arrays[f"{case}.video.latent"], tolerances.RUN_F32)
    compare("audio", output.audio_latent, arrays[f"{case}.audio.latent"], tolerances.RUN_F32)
    if case == "t2v":
        assert output.keyframe_latents is None
    else:
        want = arrays[f"{case}.keyframes"]
        compare("keyframes", output.keyframe_latents, want, tolerances.RUN_F32)


def test_two_stage_run(whole: LTX2Pipeline, fixture_c: Path, manifest: dict[str, Any]) -> None:
    """The first stage is ancestral, the second plain."""
    arrays, size = load(fixture_c, "sampling"), manifest["two_stage"]
    streams = [(stage, stream) for stage in (1, 2) for stream in ("video", "audio")]
    output = whole(
        manifest["e2e"]["prompt"],
        width=size["width"],
        height=size["height"],
        num_frames=size["frames"],
        frame_rate=manifest["e2e"]["fps"],
        noise=tuple(arrays[f"two_stage.{stage}.{stream}.noise"] for stage, stream in streams),
        sampling=Sampling(step_noise=step_noise(arrays, "two_stage.1")),
        two_stage=True,
        output="latents",
    )
    compare("video", output.video_latent, arrays["two_stage.2.video.latent"], tolerances.RUN_F32)
    compare("audio", output.audio_latent, arrays["two_stage.2.audio.latent"], tolerances.RUN_F32)


def test_a_clip_from_a_seed(whole: LTX2Pipeline) -> None:
    output = whole("a boat", width=64, height=64, num_frames=9, seed=3, num_inference_steps=2)
    assert output.video.shape == (9, 64, 64, 3)
    assert "ancestral" in json.dumps(output.info, default=str)


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (Sampling(sampler="euler", step_noise=[]), "the sampler euler adds no such noise"),
        (Sampling(step_noise=[]), "step_noise: expected 1 pairs .* for each of 2 steps"),
    ],
)
def test_step_noise_that_does_not_fit(
    whole: LTX2Pipeline, sampling: Sampling, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        whole("a", width=64, height=64, num_frames=9, sigmas=[1, 0.5, 0], sampling=sampling)
