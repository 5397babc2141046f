"""``ltx2cpp-cli`` from a prompt to a file, with the tiny reference checkpoint."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ltx2cpp import media
from ltx2cpp.cli.main import main

PROMPT = "A small red boat crosses the quiet lake at dawn, and a bell rings twice."


@pytest.fixture
def model(fixture_a: Path) -> list[str]:
    checkpoint, encoder = fixture_a / "ltx-2.3-tiny.safetensors", fixture_a / "gemma-3-tiny"
    return ["--model", str(checkpoint), "--text-encoder", str(encoder), "--device", "cpu"]


def generate(model: list[str], out: Path | str, *words: object) -> int:
    clip = ["--width", 96, "--height", 64, "--num-frames", 17, "--seed", 7, "--threads", 2]
    options = [*model, *clip, "--prompt", PROMPT, "--output", out, *words]
    return main(["generate", *map(str, options)])


def test_generate_makes_a_video_that_other_readers_read(model: list[str], tmp_path: Path) -> None:
    assert generate(model, tmp_path / "boat.mp4", "--fps", "23.976") == 0
    with av.open(str(tmp_path / "boat.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (96, 64, 17)
        assert stream.average_rate == Fraction(24000, 1001)
        assert sum(1 for _ in container.decode(stream)) == 17
    assert [entry.name for entry in tmp_path.iterdir()] == ["boat.mp4"]


def test_generate_reports_what_was_used_and_where_time_went(
    model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(model, tmp_path / "boat.mp4", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    used = report["parameters"]
    assert (used["prompt"], used["seed"], used["num_frames"]) == (PROMPT, 7, 17)
    assert used["num_inference_steps"] == 8 and used["variant"] == "distilled"
    phases = [phase["name"] for phase in report["phases"]]
    assert {"encode prompt", "denoise", "decode video"} <= set(phases)
    assert all(phase["peak_bytes"] > 0 for phase in report["phases"])


def test_generate_gives_the_same_file_for_the_same_seed(model: list[str], tmp_path: Path) -> None:
    assert generate(model, tmp_path / "a.mp4") == 0
    again = [*model, "--like", str(tmp_path / "a.mp4"), "--threads", "2"]
    assert main(["generate", *again, "--output", str(tmp_path / "b.mp4")]) == 0
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert generate(model, tmp_path / "c.mp4", "--seed", 8) == 0
    assert (tmp_path / "a.mp4").read_bytes() != (tmp_path / "c.mp4").read_bytes()


def test_generate_writes_the_latents_that_it_decodes(model: list[str], tmp_path: Path) -> None:
    beside, alone = tmp_path / "beside.safetensors", tmp_path / "alone.safetensors"
    assert generate(model, f"{tmp_path}/frames/", "--latents-out", beside, "--no-audio") == 0
    assert len(list((tmp_path / "frames").iterdir())) == 17
    assert generate(model, alone, "--no-audio") == 0
    video, audio = media.read_latents(alone)
    assert video is not None and video.shape[1:] == (3, 2, 3) and audio is None
    assert np.array_equal(video, media.read_latents(beside)[0])


def test_generate_works_from_a_converted_file(
    model: list[str], fixture_a: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "tiny-q8_0.gguf"
    source = fixture_a / "ltx-2.3-tiny.safetensors"
    assert main(["convert", str(source), str(checkpoint), "--type", "q8_0"]) == 0
    model = ["--model", str(checkpoint), *model[2:]]
    assert generate(model, tmp_path / "boat.gif") == 0
    assert media.read_parameters(tmp_path / "boat.gif")["seed"] == 7


@pytest.fixture
def upsamplers(fixture_a: Path) -> list[str]:
    names = {
        "--spatial-upsampler": "spatial-upscaler-x2",
        "--temporal-upsampler": "temporal-upscaler-x2",
    }
    return [
        word
        for option, name in names.items()
        for word in (option, str(fixture_a / f"ltx-2.3-tiny-{name}.safetensors"))
    ]


def picture(path: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (150, 101, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def size(path: Path) -> tuple[int, int, int]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height, stream.frames


def test_generate_from_pictures_in_two_stages(
    model: list[str], upsamplers: list[str], tmp_path: Path
) -> None:
    first, last = picture(tmp_path / "first.png", 1), picture(tmp_path / "last.png", 2)
    words = ["--init-img", first, "--end-img", last, "--two-stage", "-W", 192, "-H", 128]
    assert generate(model, tmp_path / "boat.mp4", *upsamplers, *words, "--steps", 2) == 0
    assert size(tmp_path / "boat.mp4") == (192, 128, 17)
    used = media.read_parameters(tmp_path / "boat.mp4")
    assert used["two_stage"] is True and [image["frame"] for image in used["conditions"]] == [0, -1]


def test_generate_guided_between_keyframes(model: list[str], tmp_path: Path) -> None:
    first, last = picture(tmp_path / "first.png", 1), picture(tmp_path / "last.png", 2)
    pictures = ["--keyframe", first, "--keyframe", f"{last}@-1:0.9"]
    guided = ["--variant", "dev", "--steps", 2, "--sampler", "res_2s", "--stg-scale", 0]
    assert generate(model, tmp_path / "boat.mp4", *pictures, *guided) == 0
    assert size(tmp_path / "boat.mp4") == (96, 64, 17)


def test_generate_retakes_a_part_of_a_clip(model: list[str], tmp_path: Path) -> None:
    assert generate(model, tmp_path / "boat.mp4", "--steps", 2, "--no-audio") == 0
    words = ["--video", tmp_path / "boat.mp4", "--retake", "0.4:", "--steps", 2]
    assert generate(model, tmp_path / "again.mp4", *words, "--no-audio", "--seed", 9) == 0
    assert size(tmp_path / "again.mp4") == (96, 64, 17)


def test_upscale_enlarges_what_was_generated(
    model: list[str], upsamplers: list[str], tmp_path: Path
) -> None:
    latents = tmp_path / "boat.safetensors"
    assert generate(model, latents, "--steps", 1, "--no-audio") == 0
    common = ["--threads", "2", *model, *upsamplers]
    large, smooth = tmp_path / "large.mp4", tmp_path / "smooth.mp4"
    assert main(["upscale", str(latents), str(large), *common]) == 0
    assert size(large) == (192, 128, 17)
    assert main(["upscale", str(large), str(smooth), "--kind", "temporal", *common]) == 0
    assert size(smooth) == (192, 128, 33)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--width", "100"], 2, "width"),
        (["--num-frames", "18"], 2, "17"),
        (["--num-frames", "100001"], 2, "num_frames"),
        (["--steps", "0"], 2, "step"),
        (["--sigmas", "0.5,1,0"], 2, "sigma"),
        (["--weight-type", "q8_0", "--threads", "0"], 2, "threads"),
        (["--device", "cuda:99"], 2, "cuda:99"),
        (["--init-img", "boat.png"], 2, "boat.png: does not exist"),
        (["--image", "{fixture}/manifest.json"], 2, "cannot be decoded"),
        (["--image", "boat.png@17"], 2, "outside the clip"),
        (["--image", "boat.png@0:1.5"], 2, "image strength: expected 0 to 1, found 1.5"),
        (["--video", "{fixture}/manifest.json", "--retake", "0:1"], 2, "cannot be decoded"),
        (["--video", "{fixture}/manifest.json", "--extend", "1"], 2, "cannot be decoded"),
        (["--video", "boat.mp4"], 2, "--video goes with --retake START:END or --extend SECONDS"),
        (["--extend", "1"], 2, "--extend: no clip is given for it; name it with --video"),
        (["--reference", "boat.mp4", "--reference-attention", "2"], 2, "expected 0 to 1, found 2"),
        (["--lora", "{fixture}/ltx-2.3-tiny.safetensors"], 3, "is not a LoRA"),
        (["--pipeline", "retake"], 2, "retake needs a Retake (--video and --retake)"),
        (["--two-stage"], 2, "multiple of 64"),
        (["--two-stage", "--width", "128"], 3, "spatial_upsampler"),
        (["--video-vae", "{fixture}/gemma-3-tiny"], 3, "gemma-3-tiny"),
        (["--text-encoder", "{fixture}/ltx-2.3-tiny.safetensors"], 3, "ltx-2.3-tiny"),
        (["--text-encoder", "{fixture}/nothing-here"], 3, "nothing-here"),
    ],
)
def test_generate_refuses_in_one_sentence_and_leaves_nothing(
    model: list[str],
    fixture_a: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    sentence: str,
) -> None:
    words = [word.format(fixture=fixture_a) for word in words]
    assert generate(model, tmp_path / "boat.mp4", "--quiet", *words) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and sentence in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_generate_stops_when_interrupted(model: list[str], tmp_path: Path) -> None:
    words = ["-m", "ltx2cpp.cli.main", "generate", *model, "-p", PROMPT, "-v", "--threads", "2"]
    # More steps than the test waits for.
    sigmas = ",".join(f"{1 - index / 1000:.3f}" for index in range(1001))
    clip = ["-W", "96", "-H", "64", "--num-frames", "17", "--sigmas", sigmas]
    process = subprocess.Popen(
        [sys.executable, *words, *clip, "-o", str(tmp_path / "boat.mp4")],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("encode prompt:"):
            break
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert error.splitlines()[-1] == "error: interrupted"
    assert list(tmp_path.iterdir()) == []
