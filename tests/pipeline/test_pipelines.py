"""Every official pipeline from the command line to its file, as docs/pipelines.md has it.

The one for LTX-2.5 alone is in test_dfr.py.
"""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.lora_writers import write_lora
from PIL import Image
from safetensors.numpy import save_file

from ltx2cpp import media
from ltx2cpp.cli.main import main
from ltx2cpp.generation.pipelines import PIPELINES

FRAMES = 17
# Pipeline -> its options; width, height and frames of the file, None for sound alone.
COMMANDS = {
    "one-stage": ("--variant dev --steps 2", (128, 64, 17)),
    "distilled": ("{upsampler}", (128, 64, 17)),
    "two-stages": ("{full} --image {picture} --steps 2", (128, 64, 17)),
    "hq": ("{full} --steps 2", (128, 64, 17)),
    "keyframes": (
        "{full} --keyframe {picture} --keyframe {picture}@-1 --steps 2",
        (128, 64, 17),
    ),
    "audio-to-video": ("{full} --audio-in {sound} --steps 2", (128, 64, 17)),
    "ic-lora": ("{upsampler} --lora {ic_lora} --reference {clip} -H 128", (128, 128, 17)),
    "dubbing": (
        "{upsampler} --lora {ic_lora} --reference {clip} --reference-audio {sound} -H 128",
        (128, 128, 17),
    ),
    "retake": ("--video {clip} --retake 0.3:", (128, 64, 17)),
    "text-to-audio": ("--variant dev --steps 2", None),
}


@pytest.fixture(scope="module")
def words(fixture_a: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pipelines")
    checkpoint = fixture_a / "ltx-2.3-tiny.safetensors"
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (90, 160, 3), np.uint8)).save(folder / "picture.png")
    frames = rng.integers(0, 256, (FRAMES, 64, 128, 3), np.uint8)
    media.save_video(folder / "clip.mp4", [frames], frame_rate=24)
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(16_000) / 8)).astype("<i2").tobytes())
    write_lora(folder / "distilled.safetensors", checkpoint, rank=4, seed=1)
    factors = {"reference_downscale_factor": "2"}
    write_lora(folder / "ic.safetensors", checkpoint, rank=4, seed=2, metadata=factors)
    upsampler = fixture_a / "ltx-2.3-tiny-spatial-upscaler-x2.safetensors"
    return {
        "model": f"-m {checkpoint} --text-encoder {fixture_a / 'gemma-3-tiny'}",
        "upsampler": f"--spatial-upsampler {upsampler}",
        "full": f"--variant dev --spatial-upsampler {upsampler} "
        f"--distilled-lora {folder / 'distilled.safetensors'}",
        "picture": str(folder / "picture.png"),
        "clip": str(folder / "clip.mp4"),
        "sound": str(folder / "sound.wav"),
        "ic_lora": str(folder / "ic.safetensors"),
    }


def generate(
    words: dict[str, str], out: Path | str, options: str, command: str = "generate"
) -> int:
    common = "{model} --device cpu -t 2 -q -p boat -s 7 -W 128"
    line = f"{common} -o {out} {options}".format(**words)
    return main([command, *line.split()])


def size(path: Path) -> tuple[int, int, int]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height, sum(1 for _ in container.decode(stream))


def command(name: str) -> str:
    options, _ = COMMANDS[name]
    clip = "" if "-H" in options else "-H 64"
    clip += "" if "--retake" in options else f" --num-frames {FRAMES}"
    return f"--pipeline {name} {clip} {options}"


def test_every_pipeline_has_its_command() -> None:
    assert {*COMMANDS, "dfr"} == set(PIPELINES)


@pytest.mark.parametrize("name", COMMANDS)
def test_pipeline_is_planned_without_a_run(
    words: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / ("clip.mp4" if COMMANDS[name][1] else "sound.wav")
    assert generate(words, out, command(name), "plan") == 0
    printed = capsys.readouterr().out
    assert "denoise" in printed
    two_stages = any(word in command(name) for word in ("{upsampler}", "{full}"))
    assert ("stage 2" in printed) == two_stages
    assert not out.exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_pipeline_runs_end_to_end(words: dict[str, str], tmp_path: Path, name: str) -> None:
    _, expected = COMMANDS[name]
    out = tmp_path / ("clip.mp4" if expected else "sound.wav")
    assert generate(words, out, command(name)) == 0
    if expected is None:
        with wave.open(str(out)) as file:
            assert file.getnframes() / file.getframerate() == pytest.approx(17 / 24, abs=0.03)
        return
    assert size(out) == expected
    with av.open(str(out)) as container:
        sound = container.streams.audio[0]
        assert float(sound.duration * sound.time_base) == pytest.approx(17 / 24, abs=0.03)
    assert media.read_parameters(out)["pipeline"] == name


def test_loras_of_a_run_are_told_with_their_stages(words: dict[str, str], tmp_path: Path) -> None:
    options = "--pipeline hq {full} --steps 1 -H 64 --num-frames 9 --no-audio"
    options += " --lora {ic_lora}:0.5@1"
    assert generate(words, tmp_path / "clip.mp4", options) == 0
    assert media.read_parameters(tmp_path / "clip.mp4")["loras"] == [
        {"file": "ic.safetensors", "strength": 0.5, "stages": [1]},
        {"file": "distilled.safetensors", "strength": 0.25, "stages": [1]},
        {"file": "distilled.safetensors", "strength": 0.5, "stages": [2]},
    ]


@pytest.mark.parametrize(("seconds", "part"), [("0.3", slice(0, 17)), ("-0.3", slice(8, None))])
def test_a_clip_is_made_longer(
    words: dict[str, str], tmp_path: Path, seconds: str, part: slice
) -> None:
    options = f"--video {{clip}} --extend {seconds} --steps 1 -H 64"
    assert generate(words, f"{tmp_path}/frames/", options) == 0
    made = [media.read_picture(path) for path in sorted((tmp_path / "frames").iterdir())]
    assert len(made) == 17 + 8
    given = media.read_video(words["clip"]).frames
    np.testing.assert_array_equal(np.stack(made)[part], given)


def test_what_a_pipeline_lacks_is_said_in_one_sentence(
    words: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--pipeline two-stages --variant dev -H 64 {upsampler}"
    assert generate(words, tmp_path / "clip.mp4", options) == 2
    assert "--distilled-lora FILE" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_all_kinds_are_converted(
    words: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (64, 128, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels[..., :3]).save(tmp_path / "portrait.jpg", exif=turned)
    Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(tmp_path / "deep.png")
    Image.fromarray(pixels, "CMYK").save(tmp_path / "print.jpg")
    places = {"alpha.png": 0, "portrait.jpg": 4, "deep.png": 8, "print.jpg": -1}
    pictures = " ".join(f"--image {tmp_path}/{name}@{at}" for name, at in places.items())
    options = f"-H 64 --num-frames {FRAMES} --steps 1 --no-audio {pictures}"
    assert generate(words, tmp_path / "clip.mp4", options) == 0
    assert "alpha.png: its transparent parts are laid on white" in capsys.readouterr().err


def test_a_lora_of_other_shapes_is_refused(
    words: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stem = "diffusion_model.transformer_blocks.0.attn1.to_q"
    factors = {"lora_A": np.zeros((2, 7), np.float32), "lora_B": np.zeros((7, 2), np.float32)}
    path = tmp_path / "other.safetensors"
    save_file({f"{stem}.{half}.weight": factor for half, factor in factors.items()}, path)
    options = f"-H 64 --num-frames {FRAMES} --lora {path}"
    assert generate(words, tmp_path / "clip.mp4", options) == 3
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "by a matrix of [7, 7], but the weight has [128, 128]" in told[0]
    assert not (tmp_path / "clip.mp4").exists()
