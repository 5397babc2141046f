"""Times a denoising step with LoRAs against one without, and shows what each way loses.

    python tools/make_synthetic.py --blocks 1 block.safetensors
    python tools/bench_lora.py block.safetensors --weight-type q8_0 --rank 32

LoRAs of random values are made for the model. For one, two and four of them, merged into the
weights and computed beside them, the table shows the seconds that loading takes and the median step
as a ratio to the step without; the steps run in turn, so that a busy machine slows all alike. Below
it stands how much of what the LoRA changes gets lost in weights of few bits.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synthetic.checkpoints import to_bfloat16, write_checkpoint

from ltx2cpp import LoraSpec, LTX2Pipeline, Modality, ModelFiles
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.config import TransformerConfig
from ltx2cpp.errors import Error
from ltx2cpp.latents import audio_positions, video_positions
from ltx2cpp.model.names import sort_tensors
from ltx2cpp.model.resolve import resolve
from ltx2cpp.options import WEIGHT_TYPES, spell_type
from ltx2cpp.values import Velocity

_COUNTS = (1, 2, 4)
_MODES = ("merge", "runtime")
_ATTENTION = ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight")


def write_lora(
    path: Path, checkpoint: Path, rank: int, targets: str, change: float, seed: int
) -> int:
    """Write a LoRA whose products have ``change`` times the norm of random weights.

    Returns:
        Number of weights that it changes.
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    rng = np.random.default_rng(seed)
    transformer = sort_tensors(open_checkpoint(checkpoint)).groups["transformer"]
    for name, info in transformer.items():
        if len(info.shape) != 2 or not name.endswith(".weight"):
            continue
        if targets == "attention" and not name.endswith(_ATTENTION):
            continue
        out, columns = info.shape
        stem = f"diffusion_model.{name.removesuffix('.weight')}"
        # Random weights have the variance 1 / columns, and so do products of these factors.
        down = rng.standard_normal((rank, columns), dtype=np.float32) / np.float32(columns**0.5)
        up = rng.standard_normal((out, rank), dtype=np.float32) * np.float32(change / rank**0.5)
        tensors[f"{stem}.lora_A.weight"] = down
        tensors[f"{stem}.lora_B.weight"] = up
    _write(path, tensors)
    return len(tensors) // 2


def _write(path: Path, tensors: dict[str, NDArray[np.float32]]) -> None:
    layout = {name: ("BF16", values.shape) for name, values in tensors.items()}
    write_checkpoint(path, layout, {}, seed=0)
    places = open_checkpoint(path).tensors
    with path.open("r+b") as stream:
        for name, values in tensors.items():
            stream.seek(places[name].offset)
            stream.write(to_bfloat16(values).data)


def make_streams(config: TransformerConfig, tokens: int, rows: int) -> tuple[Modality, Modality]:
    """Random video and audio inputs; a latent frame has 64 tokens."""
    rng = np.random.default_rng(1)
    frames = max(1, tokens // 64)

    def stream(positions: NDArray[np.float32], channels: int, width: int) -> Modality:
        count = positions.shape[1]
        return Modality(
            latent=rng.standard_normal((count, channels), dtype=np.float32),
            context=rng.standard_normal((rows, width), dtype=np.float32),
            sigma=0.7,
            timesteps=np.full(count, 0.7, np.float32),
            positions=positions,
        )

    widths = (config.cross_attention_dim, config.audio_cross_attention_dim)
    if config.caption_projection:
        widths = (config.caption_channels, config.caption_channels)
    video = stream(video_positions(frames, 8, 8, 24.0), config.in_channels, widths[0])
    audio = stream(audio_positions(8 * frames), config.audio_in_channels, widths[1])
    return video, audio


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="a file of make_synthetic.py, or a real one")
    parser.add_argument("--weight-type", default="file", type=spell_type, choices=WEIGHT_TYPES)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--targets", choices=("attention", "all"), default="attention")
    parser.add_argument("--change", type=float, default=0.02, help="norm of B A over that of W")
    parser.add_argument("--tokens", type=int, default=256, help="video tokens, a multiple of 64")
    parser.add_argument("--rows", type=int, default=128, help="rows of the contexts")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=_COUNTS)
    parser.add_argument(
        "--exact", default="f32", type=spell_type, choices=WEIGHT_TYPES, help="type to compare with"
    )
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            _bench(options, Path(folder))
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _bench(options: argparse.Namespace, folder: Path) -> None:
    paths = [folder / f"lora-{index}.safetensors" for index in range(max(options.counts))]
    for seed, path in enumerate(paths):
        changed = write_lora(
            path, options.checkpoint, options.rank, options.targets, options.change, seed
        )
    config = resolve(ModelFiles(options.checkpoint)).require("transformer").config
    print(f"LoRAs of rank {options.rank} on {changed} weights, weight type {options.weight_type}")

    def open_pipe(weight_type: str, count: int, mode: str) -> LTX2Pipeline:
        return LTX2Pipeline(
            ModelFiles(options.checkpoint),
            device=options.device,
            weight_type=weight_type,
            threads=options.threads,
            loras=[LoraSpec(path) for path in paths[:count]],
            lora_mode=mode,
        )

    cases = [(0, "merge"), *((count, mode) for count in options.counts for mode in _MODES)]
    pipes = {case: open_pipe(options.weight_type, *case) for case in cases}
    video, audio = make_streams(config, options.tokens, options.rows)
    first, results = {}, {}
    for case, pipe in pipes.items():
        start = time.perf_counter()
        results[case] = _video(pipe.velocity(video, audio))
        first[case] = time.perf_counter() - start
    seconds: dict[tuple[int, str], list[float]] = {case: [] for case in cases}
    for _ in range(options.repeats):
        for case, pipe in pipes.items():
            start = time.perf_counter()
            pipe.velocity(video, audio)
            seconds[case].append(time.perf_counter() - start)
    step = {case: statistics.median(values) for case, values in seconds.items()}
    none = step[cases[0]]
    for pipe in pipes.values():
        pipe.release()
    print(f"{'LoRAs':>5}  {'mode':8}  {'load s':>7}  {'step s':>7}  {'ratio':>6}")
    for case in cases:
        count, mode = case
        ratios = statistics.median(
            own / bare for own, bare in zip(seconds[case], seconds[cases[0]], strict=True)
        )
        print(
            f"{count:5}  {mode if count else '-':8}  {first[case] - step[case]:7.2f}"
            f"  {step[case]:7.3f}  {ratios:6.3f}"
        )
    print(f"none: {none:.3f} s a step")
    exact = {}
    for count in (0, options.counts[0]):
        with open_pipe(options.exact, count, "merge") as pipe:
            exact[count] = _video(pipe.velocity(video, audio))
    effect = exact[options.counts[0]] - exact[0]
    print(f"a LoRA changes the velocity by {_norm(effect) / _norm(exact[0]):.4f}")
    for mode in _MODES:
        case = (options.counts[0], mode)
        whole = _norm(results[case] - exact[options.counts[0]])
        own = results[case] - results[cases[0]]
        print(
            f"{mode:8}  error of the velocity {whole / _norm(exact[0]):.5f}, "
            f"of its change {_norm(own - effect) / _norm(effect):.4f}"
        )


def _video(velocity: Velocity) -> NDArray[np.float32]:
    assert velocity.video is not None
    return velocity.video


def _norm(values: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))


if __name__ == "__main__":
    raise SystemExit(main())
