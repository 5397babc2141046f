"""How far whole generations of eight steps are from those with float32 weights, by weight type.

    python tools/compare_types.py                                     the demo
    python tools/compare_types.py --checkpoint FILE --text-encoder FOLDER
    python tools/compare_types.py --transformer FILE --size 256x256x9 [--outliers]

Every type starts from the noise of the same seeds and walks the distilled schedule. Printed are the
RMS differences of the latents over their RMS, as a mean and the highest of all clips. What clips of
the demo show is read from their pixels: how many show the colour, shape, motion and background that
was asked for, and how many all four that the clip of float32 shows. Without a text encoder contexts
are random numbers, and a type changes the transformer alone; `--outliers` plants large channels in
it, as tools/compare_velocity.py does, in a copy that is kept beside it.

Rows of fewer than 1024 columns are not rotated, so that "int8_convrot" leaves small models in bf16;
`--rotated-from 256` rotates shorter ones too. The share of weights that become integers is printed.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.machine import relative_error
from compare_velocity import plant_outliers
from train_demo.checks import BOUNDS, read_clip
from train_demo.combinations import ASKED_COMBINATIONS, Combination, say

from ltx2cpp import LTX2Pipeline, ModelFiles, PromptEmbedding
from ltx2cpp.checkpoint import DType
from ltx2cpp.demo import DEMO, demo_files
from ltx2cpp.model import quantization
from ltx2cpp.output import GenerationOutput

EXACT = "f32"
TYPES = ("bf16", "int8_convrot", "q8_0", "q4_k")
STEPS = 8
# Rows of text that the transformer takes.
_ROWS = 1024

Clips = dict[tuple[Combination, int], GenerationOutput]


def main() -> int:
    """Print the table; returns the exit code."""
    parser = _parser()
    options = parser.parse_args()
    if options.outliers and options.transformer is None:
        parser.error("--outliers: is for the file of --transformer")
    if options.rotated_from is not None:
        # No option of the package: the models that it is for have no rows so short.
        quantization._MIN_ROTATED_COLUMNS = options.rotated_from
    is_demo = options.checkpoint is None and options.transformer is None
    if is_demo:
        files, call = demo_files(), {}
    else:
        if options.outliers:
            options.transformer = _with_outliers(options.transformer)
        width, height, frames = (int(part) for part in options.size.split("x"))
        files = ModelFiles(
            options.checkpoint,
            text_encoder=options.text_encoder,
            transformer=options.transformer,
            variant="distilled",
        )
        call = {"width": width, "height": height, "num_frames": frames, "output": "latents"}
    step = max(1, len(ASKED_COMBINATIONS) // options.prompts)
    asked = [
        (combination, seed)
        for combination in ASKED_COMBINATIONS[::step][: options.prompts]
        for seed in range(1, options.seeds + 1)
    ]
    exact = _clips(files, EXACT, asked, call)
    print(f"{len(asked)} clips; video mean, highest, audio mean, highest, what clips show")
    for weight_type in (EXACT, *options.types):
        clips = exact if weight_type == EXACT else _clips(files, weight_type, asked, call)
        words = [f"{weight_type:13}", *_errors(clips, exact)]
        if is_demo:
            words += _shown(clips, exact)
        print("  ".join(words), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="instead of the demo")
    parser.add_argument("--text-encoder", type=Path, metavar="FOLDER")
    parser.add_argument("--transformer", type=Path, metavar="FILE", help="alone, random contexts")
    parser.add_argument("--outliers", action="store_true", help="plant channels of 50 times")
    parser.add_argument("--size", default="96x64x17", help="width, height, frames; not the demo's")
    parser.add_argument("--types", nargs="+", default=list(TYPES))
    parser.add_argument("--prompts", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument("--rotated-from", type=int, metavar="COLUMNS")
    return parser


def _with_outliers(path: Path) -> Path:
    planted = path.with_name(f"{path.stem}-outliers{path.suffix}")
    if not planted.exists():
        shutil.copy(path, planted)
        plant_outliers(planted)
    return planted


def _clips(
    files: ModelFiles,
    weight_type: str,
    asked: Sequence[tuple[Combination, int]],
    call: Mapping[str, Any],
) -> Clips:
    preset = None if call else DEMO
    with LTX2Pipeline(files, device="cpu", weight_type=weight_type, preset=preset) as pipe:
        print(f"{weight_type:13} {_held(pipe, weight_type)}", file=sys.stderr)
        return {
            (combination, seed): pipe(
                say(combination) if files.text_encoder else _contexts(pipe, seed),
                seed=seed,
                num_inference_steps=STEPS,
                **call,
            )
            for combination, seed in asked
        }


def _contexts(pipe: LTX2Pipeline, seed: int) -> PromptEmbedding:
    config = pipe.models.require("transformer").config
    generator = np.random.default_rng(seed)
    video, audio = (
        generator.standard_normal((_ROWS, width), dtype=np.float32)
        for width in (config.cross_attention_dim, config.audio_cross_attention_dim)
    )
    return PromptEmbedding(video, audio)


def _held(pipe: LTX2Pipeline, weight_type: str) -> str:
    """Say which part of the transformer's weights has which type."""
    sizes: dict[DType, int] = {}
    for name, ref in pipe.models.require("transformer").tensors.items():
        shape = ref.info.shape
        target = quantization.target_dtype(name, shape, ref.dtype, weight_type) or ref.dtype
        sizes[target] = sizes.get(target, 0) + math.prod(shape)
    whole = sum(sizes.values())
    return ", ".join(f"{dtype.value} {size / whole:.1%}" for dtype, size in sizes.items())


def _errors(clips: Clips, exact: Clips) -> list[str]:
    words = []
    for stream in ("video_latent", "audio_latent"):
        pairs = [(getattr(clips[key], stream), getattr(exact[key], stream)) for key in exact]
        found = [relative_error(got, want) for got, want in pairs if want is not None]
        words += [f"{np.mean(found):.2e}", f"{np.max(found):.2e}"] if found else ["none", "none"]
    return words


def _shown(clips: Clips, exact: Clips) -> list[str]:
    right, alike, levels = dict.fromkeys(BOUNDS, 0), 0, []
    for (combination, seed), clip in clips.items():
        same = exact[combination, seed]
        assert clip.video is not None and same.video is not None
        reading, other = read_clip(clip.video), read_clip(same.video)
        for name in BOUNDS:
            right[name] += getattr(reading, name) == getattr(combination, name)
        alike += all(getattr(reading, name) == getattr(other, name) for name in BOUNDS)
        levels.append(np.abs(clip.video.astype(int) - same.video).mean())
    counts = (f"{name} {count}" for name, count in right.items())
    return [*counts, f"as {EXACT} {alike}", f"levels {np.mean(levels):.2f}"]


if __name__ == "__main__":
    sys.exit(main())
