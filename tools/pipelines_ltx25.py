"""Run every pipeline on a tiny LTX-2.5 by its command, and print what came out as a table.

The LoRAs that some pipelines need are made up: of rank 2, for attention alone.

Example:
    python tools/pipelines_ltx25.py shared/fixtures/C
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from safetensors.numpy import save_file

from ltx2cpp import media
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.cli.main import main as run_cli
from ltx2cpp.values import Audio

_FILES = {
    "transformer": "ltx-2.5-tiny-transformer",
    "text-encoder": "gemma4-tiny-with-proj",
    "video-vae": "ltx-2.5-tiny-video-vae-conv",
    "audio-vae": "ltx-2.5-tiny-audio-vae",
    "spatial-upsampler": "ltx-2.5-tiny-latent-spatial-upscaler-x2",
    "temporal-upsampler": "ltx-2.5-tiny-latent-temporal-upscaler-x2",
    "duration-head": "ltx-2.5-tiny-duration-head",
}
_SIZE = "-W 128 -H 64"
_CLIP = f"{_SIZE} --num-frames 17"
_FULL = "--variant dev --steps 3"
_TWO_STAGES = f"{_FULL} --distilled-lora lora.safetensors"
# What the command adds to the files, a prompt and a seed, and the name of its output.
_COMMANDS = (
    (f"{_CLIP}", "a.mp4"),
    (f"{_CLIP} {_FULL}", "a.mp4"),
    (f"{_CLIP} --two-stage", "a.mp4"),
    (f"{_CLIP} --pipeline two-stages {_TWO_STAGES}", "a.mp4"),
    (f"{_CLIP} --pipeline hq {_TWO_STAGES}", "a.mp4"),
    (f"{_CLIP} --pipeline keyframes {_TWO_STAGES} --keyframe a.png --keyframe b.png@-1", "a.mp4"),
    (f"{_CLIP} --pipeline audio-to-video {_TWO_STAGES} --audio-in bell.wav", "a.mp4"),
    (f"{_CLIP} --pipeline ic-lora --lora lora.safetensors --reference in.mp4", "a.mp4"),
    (f"{_CLIP} --pipeline dubbing --lora lora.safetensors --reference in.mp4", "a.mp4"),
    (f"--pipeline retake {_FULL} --video in.mp4 --retake 0.2:0.5", "a.mp4"),
    (f"{_SIZE} --video in.mp4 --extend 0.4", "a.mp4"),
    ("--pipeline text-to-audio --num-frames 17", "a.wav"),
    (f"{_CLIP} --image a.png --generated-keyframes 2", "a.mp4"),
    (f"{_SIZE} --num-frames auto", "a.webm"),
    (f"{_SIZE} --num-frames 25 --pipeline dfr --temporal-rounds 1", "a.mp4"),
    (f"{_CLIP} --temporal-upscale", "a.mkv"),
    (f"{_CLIP} --video-decoder diffusion.safetensors", "a.mp4"),
    (f"{_CLIP} --hdr ACESCG --image lamp.exr", "a.mp4"),
)


def main() -> int:
    """Run the commands; returns how many failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("fixture", type=Path, help="folder of the tiny LTX-2.5")
    fixture = parser.parse_args().fixture.resolve()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        _write_inputs(fixture)
        print("| `generate` | pictures | frames per second | sound |\n| --- | --- | --- | --- |")
        for words, output in _COMMANDS:
            code, report = _run([*_files(fixture, words), *words.split(), "-o", output])
            failed += code != 0
            print(f"| `{words} -o {output}` | {_facts(output) if not code else report} |")
    return failed


def _files(fixture: Path, words: str) -> Iterator[str]:
    for option, name in _FILES.items():
        yield from (f"--{option}", str(fixture / f"{name}.safetensors"))
    yield from ("-p", "A small red boat and a bell.", "-s", "7", "--device", "cpu", "--json")
    if "--variant" not in words:
        yield from ("--variant", "distilled")


def _run(words: list[str]) -> tuple[int, str]:
    """Return the exit code of a command and the last line of its complaints."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        code = run_cli(["generate", *words])
    return code, (errors.getvalue().strip().splitlines() or [""])[-1]


def _facts(output: str) -> str:
    with av.open(output) as container:
        sound = container.streams.audio[0] if container.streams.audio else None
        length = "none" if sound is None else f"{_seconds(container, sound):.3f} s"
        if not container.streams.video:
            return f"none | | {length}"
        pictures = container.streams.video[0]
        container.seek(0)
        count = sum(1 for _ in container.decode(pictures))
        size = f"{pictures.width}x{pictures.height}x{count}"
        return f"{size} | {float(pictures.average_rate):g} | {length}"


def _seconds(container: Any, sound: Any) -> float:
    if sound.duration:
        return float(sound.duration * sound.time_base)
    return sum(frame.samples for frame in container.decode(sound)) / sound.rate


def _write_inputs(fixture: Path) -> None:
    rng = np.random.default_rng(1)
    frames = np.full((17, 64, 128, 3), 40, np.uint8)
    for index in range(17):
        frames[index, :, index * 4 : index * 4 + 30] = (220, 180, 60)
    tone = np.sin(np.arange(48_000) * 2 * np.pi * 440 / 48_000).astype(np.float32) * 0.3
    sound = Audio(np.stack([tone, tone]), 48_000)
    media.save_video("in.mp4", [frames], frame_rate=24, audio=sound)
    media.save_video("a.png", [frames[:1]], frame_rate=24)
    media.save_video("b.png", [frames[-1:]], frame_rate=24)
    media.save_sound("bell.wav", sound)
    _write_exr("lamp.exr", rng.random((64, 128, 3), np.float32) * 8)
    decoder = fixture / "ltx-2.5-tiny-video-vae.safetensors"
    Path("diffusion.safetensors").symlink_to(decoder)
    factors = {}
    stored = open_checkpoint(fixture / f"{_FILES['transformer']}.safetensors").tensors
    for name, info in stored.items():
        if ".attn1.to_" in name and name.endswith(".weight") and "connector" not in name:
            module = name.removeprefix("model.").removesuffix(".weight")
            rows, columns = info.shape
            for part, shape in (("A", (2, columns)), ("B", (rows, 2))):
                values = rng.standard_normal(shape, np.float32) * 0.05
                factors[f"{module}.lora_{part}.weight"] = values
    save_file(factors, "lora.safetensors", {"ltx_version": json.dumps("2.5")})


def _write_exr(path: str, pixels: Any) -> None:
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        file.write(path)


if __name__ == "__main__":
    sys.exit(main())
