"""How much the velocity changes when a transformer is quantised.

    python tools/compare_velocity.py ORIGINAL CONVERTED [--grid 4,8,8] [--audio-tokens 26]
    python tools/compare_velocity.py ORIGINAL --types bf16 int8_convrot q8_0 q4_k [--outliers]

Runs one call on seeded random inputs. With a converted file three times: its weights as they are
held, the same decoded to float32, and the original weights in float32. Prints the normalised RMS
error of the first against the other two: what the quantised arithmetic loses, and what quantisation
loses altogether. Without one, prints that of the original converted on load to each type against
float32. `--outliers` plants large channels first: in each block 0.1 % of the inputs of the
attention's projections and of both feed-forward matrices become 50 times as large. `--diffusers`
prints first how far float32 is from diffusers in float32, at the sizes of LTX-2.3 alone.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synthetic.checkpoints import to_bfloat16
from synthetic.inputs import make_inputs

from ltx2cpp import LTX2Pipeline, Modality, ModelFiles, Velocity
from ltx2cpp.checkpoint import DType, TensorInfo, open_checkpoint, read_array
from ltx2cpp.model.resolve import resolve

_TYPES = ("bf16", "int8_convrot", "q8_0", "q4_k")
Inputs = tuple[Modality, Modality]

_FACTOR = 50
_SHARE = 1000
# What makes the inputs of the matrices, by channel: rows of weights and their biases, and the rows
# of the modulation that hold scales, by which 1 is raised.
_MAKERS = re.compile(r"transformer_blocks\..*\.(to_v|net\.0\.proj)\.(weight|bias)$")
_TABLES = re.compile(r"transformer_blocks\.\d+\.(audio_)?scale_shift_table$")
_SCALE_ROWS = (1, 4)


def error(got: NDArray[np.float32], want: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)))


def errors(got: Velocity, want: Velocity) -> tuple[float, float]:
    assert got.video is not None and got.audio is not None
    assert want.video is not None and want.audio is not None
    return error(got.video, want.video), error(got.audio, want.audio)


def plant_outliers(path: Path) -> None:
    """Make channels of a bfloat16 safetensors file large, in place."""
    for name, info in open_checkpoint(path).tensors.items():
        is_table = _TABLES.search(name) is not None
        if not is_table and not _MAKERS.search(name):
            continue
        if info.dtype is not DType.BF16:
            raise SystemExit(f"{path}: '{name}' is {info.dtype}; expected bf16")
        values = np.array(read_array(info))
        channels = values.T if is_table else values
        count = max(1, len(channels) // _SHARE)
        # Apart from each other, at other places in each kind of matrix.
        chosen = np.arange(count) * (len(channels) // count) + 7
        if is_table:
            channels[chosen[:, None], list(_SCALE_ROWS)] = _FACTOR - 1
        else:
            channels[chosen] *= _FACTOR
        write_values(info, values)


def write_values(info: TensorInfo, values: NDArray[np.float32]) -> None:
    with info.path.open("r+b") as stream:
        stream.seek(info.offset)
        stream.write(to_bfloat16(np.ascontiguousarray(values)).tobytes())


def call(path: Path, weight_type: str, inputs: Inputs, threads: int | None) -> Velocity:
    files = ModelFiles(transformer=path)
    with LTX2Pipeline(files, device="cpu", threads=threads, weight_type=weight_type) as pipe:
        return pipe.velocity(*inputs)


def print_reference(path: Path, inputs: Inputs, threads: int, exact: Velocity) -> None:
    # Needs torch and diffusers, which all else does without.
    from benchmarks import reference

    config = resolve(ModelFiles(transformer=path)).require("transformer").config
    want = reference.transformer(path, config, *inputs, threads, "float32")()
    found = errors(exact, Velocity(want["video"], want["audio"]))
    print(f"f32 against diffusers  video {found[0]:.2e}, audio {found[1]:.2e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original", type=Path)
    parser.add_argument("converted", type=Path, nargs="?")
    parser.add_argument("--types", nargs="+", default=list(_TYPES))
    parser.add_argument("--outliers", action="store_true", help="plant channels of 50 times")
    parser.add_argument("--diffusers", action="store_true", help="compare float32 with it, too")
    parser.add_argument("--grid", default="4,16,16", help="latent frames, height and width")
    parser.add_argument("--audio-tokens", type=int, default=26)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.converted is not None and arguments.outliers:
        parser.error("--outliers: a converted file has other channels; leave it out")
    original: Path = arguments.original
    frames, height, width = (int(part) for part in arguments.grid.split(","))
    inputs = make_inputs(
        ModelFiles(transformer=original),
        (frames, height, width),
        arguments.audio_tokens,
        arguments.seed,
    )
    threads: int | None = arguments.threads
    if arguments.converted is not None:
        held = call(arguments.converted, "file", inputs, threads)
        for other, path in (("decoded", arguments.converted), ("original", original)):
            found = errors(held, call(path, "f32", inputs, threads))
            print(f"against {other} weights in float32: video {found[0]:.2e}, audio {found[1]:.2e}")
        return
    with tempfile.TemporaryDirectory(dir=original.parent) as folder:
        if arguments.outliers:
            original = Path(shutil.copy(original, folder))
            plant_outliers(original)
        exact = call(original, "f32", inputs, threads)
        if arguments.diffusers:
            print_reference(original, inputs, threads or 1, exact)
        for weight_type in arguments.types:
            found = errors(call(original, weight_type, inputs, threads), exact)
            print(f"{weight_type:12}  video {found[0]:.2e}, audio {found[1]:.2e}", flush=True)


if __name__ == "__main__":
    main()
