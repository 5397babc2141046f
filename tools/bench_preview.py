"""Times previews at released size beside a step of the transformer.

    python tools/bench_preview.py --size 768x512x121 --threads 2
    python tools/bench_preview.py --wide --frames 16

The decoder has random weights of the released sizes. All latent frames but the first cost the same,
so that --frames of them are run and the others are counted. A step without guidance is not run: its
operations are divided by the rate that memory plans take too, half of that of the fastest product.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from released.claims import table_of
from released.preview import RELEASED, RELEASED_WIDE, preview_shapes
from safetensors.numpy import save_file
from synthetic.models import sparse_file

from ltx2cpp import ModelFiles, _core
from ltx2cpp.latents import ClipShape
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.cost import transformer_flop
from ltx2cpp.text.tokenizer import MAX_TOKENS

_BLOCKS = 48
_RATE_SHARE = 0.5


def open_decoder(folder: Path, device: _core.Device, *, wide: bool) -> _core.PreviewDecoder:
    """Return a decoder of random F16 weights of the released sizes."""
    rng = np.random.default_rng(0)
    tensors = {
        name: (rng.standard_normal(shape) * np.prod(shape[1:]) ** -0.5).astype(np.float16)
        for name, shape in preview_shapes(RELEASED_WIDE if wide else RELEASED).items()
    }
    path = folder / "taeltx.safetensors"
    save_file(tensors, path)
    component = resolve(ModelFiles(preview_decoder=path)).require("preview_decoder")
    decoder = _core.PreviewDecoder(table_of(component), asdict(component.config), device)
    decoder.load()
    return decoder


def seconds_of(
    decoder: _core.PreviewDecoder, latent: NDArray[np.float32], frames: int, *, last_only: bool
) -> float:
    """Return how long so many latent frames take, by those of a latent (C, F, h, w)."""
    stream, seconds = decoder.stream(latent, last_only=last_only), []
    for _ in range(latent.shape[1]):
        start = time.perf_counter()
        next(stream)
        seconds.append(time.perf_counter() - start)
    return seconds[0] + (frames - 1) * statistics.median(seconds[1:])


def step_flop(folder: Path, shape: ClipShape) -> float:
    """Return the operations of one step of LTX-2.3 without guidance."""
    path = sparse_file(folder, ["transformer"], _BLOCKS)
    config = resolve(ModelFiles(transformer=path)).require("transformer").config
    return transformer_flop(config, shape.video_tokens, shape.audio_frames, MAX_TOKENS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="768x512x121", metavar="WxHxN", help="of the clip")
    parser.add_argument("--frames", type=int, default=4, metavar="N", help="latent frames to run")
    parser.add_argument("--wide", action="store_true", help="the wide variant")
    parser.add_argument("--device", default="cpu", metavar="DEVICE")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    options = parser.parse_args(arguments)
    width, height, count = map(int, options.size.split("x"))
    shape = ClipShape(width, height, count, 24.0)
    frames, cells = shape.latent_frames, (shape.latent_height, shape.latent_width)
    if not 2 <= options.frames <= frames:
        parser.error(f"--frames: expected 2 to {frames}, found {options.frames}")
    device = _core.Device(options.device, options.threads)
    with tempfile.TemporaryDirectory() as folder:
        decoder = open_decoder(Path(folder), device, wide=options.wide)
        flop_per_s = _RATE_SHARE * device.measure_peak()[0]
        step = step_flop(Path(folder), shape) / flop_per_s
        rng = np.random.default_rng(1)
        latent = rng.standard_normal((128, options.frames, *cells), dtype=np.float32)
        print(f"step: {step:.0f} s, estimated at {flop_per_s / 1e9:.0f} Gflop/s")
        for last_only in (True, False):
            seconds = seconds_of(decoder, latent, frames, last_only=last_only)
            memory = decoder.measure((128, frames, *cells), last_only=last_only)
            held = memory["own_weight_bytes"] + memory["activation_bytes"] + memory["state_bytes"]
            pictures = frames if last_only else count
            print(
                f"{pictures} pictures: {seconds:.2f} s by {options.frames} of {frames} latent "
                f"frames, {100 * seconds / step:.2f} % of the step, {held / 1e6:.0f} MB"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
