"""The DFR pipeline on the tiny LTX-2.5 of fixtures C: the reference's numbers, and the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tolerances
from harness import compare, nrmse
from helpers.lora_writers import write_lora
from helpers.plain_dfr import PlainDfr
from PIL import Image
from safetensors.numpy import load_file

from ltx2cpp import LTX2Pipeline, ModelFiles, Sampling, Step, media
from ltx2cpp.cli.main import main
from ltx2cpp.errors import CheckpointError
from ltx2cpp.generation.phases import phases_of
from ltx2cpp.media import fit_frames
from ltx2cpp.memory.plan import WHOLE

FILES = {
    "transformer": "ltx-2.5-tiny-transformer.safetensors",
    "text_encoder": "gemma4-tiny-with-proj.safetensors",
    "video_vae": "ltx-2.5-tiny-video-vae-conv.safetensors",
    "audio_vae": "ltx-2.5-tiny-audio-vae.safetensors",
    "spatial_upsampler": "ltx-2.5-tiny-latent-spatial-upscaler-x2.safetensors",
    "temporal_upsampler": "ltx-2.5-tiny-latent-temporal-upscaler-x2.safetensors",
}


SMALL: dict[str, Any] = {"pipeline": "dfr", "width": 64, "height": 64, "num_frames": 25}


@pytest.fixture(scope="module")
def files(fixture_c: Path) -> dict[str, Path]:
    return {name: fixture_c / file for name, file in FILES.items()}


@pytest.fixture(scope="module")
def pipe(files: dict[str, Path]) -> Iterator[LTX2Pipeline]:
    given = ModelFiles(variant="distilled", **files)
    with LTX2Pipeline(given, device="cpu", weight_type="f32", threads=2) as opened:
        yield opened


def test_the_run_is_the_reference(pipe: LTX2Pipeline, fixture_c: Path) -> None:
    """Both stages, a half-size reference without a LoRA, two tiles; keyframes are carried on."""
    with np.load(fixture_c / "ref" / "dfr.npz") as arrays:
        ref = dict(arrays)
    run = json.loads((fixture_c / "manifest.json").read_text())["run"]
    stages = [
        f"{stage}.{stream}" for stage in ("stage1", "stage2") for stream in ("video", "audio")
    ]
    names = [*stages, "tile0.video", "tile1.video"]
    steps = [(step, None) for tile in (0, 1) for step in ref[f"tile{tile}.video.step_noise"]]
    output = pipe(
        run["e2e"]["prompt"],
        pipeline="dfr",
        width=run["dfr"]["width"],
        height=run["dfr"]["height"],
        num_frames=run["dfr"]["frames"],
        frame_rate=run["dfr"]["fps"],
        temporal_rounds=run["dfr"]["rounds"],
        detail_reference=True,
        noise=[ref[f"{name}.noise"] for name in names],
        sampling=Sampling(step_noise=steps),
        output="latents",
    )
    compare("video", output.video_latent, ref["final.video.latent"], tolerances.RUN_F32)
    compare("audio", output.audio_latent, ref["stage1.audio.latent"], tolerances.RUN_F32)
    compare("keyframes", output.keyframe_latents, ref["final.anchors"], tolerances.RUN_F32)
    assert output.info["keyframes"] == ref["final.anchor_frames"].tolist()


def test_two_rounds_with_pictures_are_the_plain_definition(pipe: LTX2Pipeline) -> None:
    """17 frames at 36 per second in a canvas of 25; positions stop at 60 frames per second."""
    random = np.random.default_rng(7)
    pictures = [(0, 0.9), (12, 0.5), (16, 0.7)]
    pixels = random.integers(0, 256, (3, 64, 64, 3), np.uint8)
    small, large = (
        [
            (frame, strength, pipe.encode_video(fit_frames(pixels[i : i + 1], side, side)))
            for i, (frame, strength) in enumerate(pictures)
        ]
        for side in (32, 64)
    )
    plain = PlainDfr(pipe, pipe.encode_prompt("a boat"), random)
    latent, keyframes = plain.run((8, 2, 2), 36.0, 2, small, large)
    output = pipe(
        plain.prompt,
        **{**SMALL, "num_frames": 17},
        frame_rate=36.0,
        temporal_rounds=2,
        detail_reference=True,
        images=[(pixels[i], frame, strength, 0) for i, (frame, strength) in enumerate(pictures)],
        noise=plain.noise,
        sampling=Sampling(step_noise=plain.step_noise),
        audio=False,
        output="latents",
    )
    compare("video", output.video_latent, latent, tolerances.RUN_F32)
    assert output.info["keyframes"] == sorted(keyframes) == [24, 48, 72, 96]
    joined = np.concatenate([keyframes[frame] for frame in sorted(keyframes)], axis=1)
    compare("keyframes", output.keyframe_latents, joined, tolerances.RUN_F32)


def test_the_plan_counts_every_phase_once(pipe: LTX2Pipeline) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    arguments: Any = {**SMALL, "temporal_rounds": 2, "images": [picture]}
    phases = {phase.name: phase for phase in pipe._prepare("a ship", arguments).phases(WHOLE)}
    assert [name for name in phases if name != "connect prompt"] == [
        *("encode prompt", "encode pictures", "denoise, stage 1", "upsample", "denoise, stage 2"),
        *("upscale frames, round 1", "denoise, round 1, tile 1"),
        *("upscale frames, round 2", "denoise, round 2, tile 1", "denoise, round 2, tile 2"),
        *("decode audio", "decode video"),
    ]
    one, two = (phases[f"denoise, round 2, tile {tile}"] for tile in (1, 2))
    assert two.networks[0].activation_bytes > one.networks[0].activation_bytes > 0
    assert two.flop > one.flop and two.host_bytes > one.host_bytes


def test_an_upsampler_that_is_missing_is_said_before_anything_runs(files: dict[str, Path]) -> None:
    given = {name: file for name, file in files.items() if name != "temporal_upsampler"}
    with (
        LTX2Pipeline(ModelFiles(variant="distilled", **given), device="cpu", threads=2) as opened,
        pytest.raises(CheckpointError, match="temporal"),
    ):
        opened("a boat", **SMALL, temporal_rounds=1)


def test_a_padded_clip_is_cut_in_pictures_and_sound(pipe: LTX2Pipeline) -> None:
    """17 frames are generated as 25; a round makes 33 of the 17, for 33 / 48 seconds."""
    output = pipe("a boat", **{**SMALL, "num_frames": 17}, temporal_rounds=1, seed=3)
    assert output.video is not None and output.video.shape == (33, 64, 64, 3)
    assert output.frame_rate == 48.0
    assert output.video_latent is not None and output.video_latent.shape[1] == 5
    assert output.audio is not None
    assert output.audio.shape[1] == round(33 / 48 * output.sample_rate)
    assert output.keyframe_latents is not None and output.keyframe_latents.shape[1] == 2
    assert output.info["keyframes"] == [24, 48]


def test_keyframes_are_pictures_of_their_own(pipe: LTX2Pipeline, fixture_c: Path) -> None:
    """Each is decoded alone, as one latent frame; as frames of a clip they would blend."""
    with np.load(fixture_c / "ref" / "dfr.npz") as arrays:
        keyframes = arrays["final.anchors"][:, :2]
    clip = pipe.decode_video(keyframes, decoder="conv")
    assert clip.shape == (9, 64, 128, 3)
    for index, frame in enumerate((0, 8)):
        alone = pipe.decode_video(keyframes[:, index : index + 1], decoder="conv")
        assert alone.shape == (1, 64, 128, 3)
        assert nrmse(clip[frame], alone[0]) > 0.02


def test_each_picture_is_encoded_once_a_size(pipe: LTX2Pipeline) -> None:
    pictures = [(np.zeros((8, 8, 3), np.uint8), frame, 1.0, 18) for frame in (0, 8)]
    needs = pipe._prepare("a boat", {**SMALL, "images": pictures, "temporal_rounds": 2})
    phases = phases_of(needs.plan, pipe.networks, {"a boat"})
    assert phases[0].name == "encode pictures" and phases[0].units == 4


def test_a_full_model_by_the_command_line(files: dict[str, Path], tmp_path: Path) -> None:
    write_lora(tmp_path / "distilled.safetensors", files["transformer"], rank=2, seed=1)
    factor = {"reference_downscale_factor": "2"}
    write_lora(
        tmp_path / "detail.safetensors", files["transformer"], rank=2, seed=2, metadata=factor
    )
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    models = [
        word for name, file in files.items() for word in (f"--{name.replace('_', '-')}", file)
    ]
    loras = ["--distilled-lora", tmp_path / "distilled.safetensors"]
    loras += ["--lora", tmp_path / "detail.safetensors"]
    words = ["generate", "-q", "--device", "cpu", "-t", 2, *models, *loras, "--variant", "dev"]
    asked = ["--pipeline", "dfr", "--temporal-rounds", 1, "-W", 64, "-H", 64, "--num-frames", 9]
    asked += ["-p", "boat", "-s", 7, "--image", f"{tmp_path / 'a.png'}@-1:0.5"]
    asked += ["--latents-out", tmp_path / "a.safetensors"]
    clip = tmp_path / "a.mp4"
    assert main([str(word) for word in (*words, *asked, "-o", clip)]) == 0
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.average_rate) == (64, 48)
        assert sum(1 for _ in container.decode(stream)) == 17
    latents = load_file(tmp_path / "a.safetensors")
    told = media.read_parameters(clip)
    assert latents["keyframe_latents"].shape[1] == len(told["keyframes"])
    assert (told["num_frames"], told["frame_rate"], told["padded_frames"]) == (9, 24.0, 25)
    assert told["detail_reference"] is True
    assert told["loras"] == [
        {"file": "distilled.safetensors", "strength": 1.0, "stages": [1, 2]},
        {"file": "detail.safetensors", "strength": 1.0, "stages": [2]},
    ]


def test_a_round_is_gone_on_with_from_its_journal(
    pipe: LTX2Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the last tile: those before it and their keyframes are in the journal."""
    arguments: dict[str, Any] = {**SMALL, "temporal_rounds": 2, "seed": 5, "output": "latents"}
    expected = pipe("a red fox", **arguments)

    def kill(step: Step) -> None:
        if step.index == step.total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe("a red fox", **arguments, on_step=kill, journal=tmp_path)
    steps: list[Step] = []
    output = pipe("a red fox", **arguments, on_step=steps.append, journal=tmp_path)
    assert [step.total - step.index for step in steps] == [3, 2, 1, 0]
    for name in ("video_latent", "audio_latent", "keyframe_latents"):
        np.testing.assert_array_equal(getattr(output, name), getattr(expected, name), strict=True)
