"""Compares and times the networks of LTX-2.3 on a CUDA device, with random weights.

    python tools/bench_gpu.py compare
    python tools/bench_gpu.py transformer --blocks 48 --weights bf16 q8_0
    python tools/bench_gpu.py decode --size 768x512x121
    python tools/bench_gpu.py attention
    python tools/bench_gpu.py int8

`compare` prints how far each network's result on the device is from that on the CPU. `transformer`
times one call, with resident and with streamed weights, and with `--reference` diffusers in
bfloat16 where torch and diffusers are there. `attention` times our operation, ggml's and torch's
and prints the error of each; `int8` does so for products of rotated 8-bit rows beside BF16 ones.
Blocks repeat the weights of two in the file, so 48 of them need no file of 44 GB; on the device
each has memory of its own. Needs an extension built with CUDA and LTX2CPP_TESTING.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import reference
from benchmarks.machine import relative_error
from numpy.typing import NDArray
from synthetic.inputs import make_inputs
from synthetic.models import converted, random_file

from ltx2cpp import LTX2Pipeline, Modality, ModelFiles, _core
from ltx2cpp.config import TransformerConfig
from ltx2cpp.errors import Error
from ltx2cpp.model.quantization import target_dtype
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.cost import transformer_flop, video_decoder_flop

_FILE_BLOCKS = 2
_TEXT_ROWS = 1024
_CHUNK_FRAMES = 8
_BLOCK_NAME = re.compile(r"^transformer_blocks\.(\d+)\.(.*)$")
# 768x512x121 in latents, and a grid of 14,080 tokens.
_GRIDS = {"6144": (16, 16, 24), "14080": (16, 22, 40)}
_AUDIO_TOKENS = 126
_HEADS, _HEAD_DIM = 32, 128
# Rows, inputs and outputs: attention's projections and the feed-forward of video and of audio.
_INT8_PRODUCTS = ((6144, 4096, 4096), (6144, 4096, 16384), (6144, 16384, 4096), (126, 2048, 8192))

Run = Callable[[], Any]


def seconds_of(run: Run, rounds: int) -> list[float]:
    """Return the seconds of `rounds` calls after three that are not counted.

    Three, because a device's graph is recorded at the second call.
    """
    seconds = []
    for index in range(rounds + 3):
        start = time.perf_counter()
        run()
        if index >= 3:
            seconds.append(time.perf_counter() - start)
    return seconds


def has_module(name: str) -> bool:
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def card_peak() -> float | None:
    """Return FLOP/s of a large bfloat16 product by torch; None without torch."""
    if not has_module("torch"):
        return None
    import torch

    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))

    def product() -> None:
        for _ in range(10):
            torch.matmul(a, b)
        torch.cuda.synchronize()

    return 10 * 2 * 8192**3 / min(seconds_of(product, 5))


def row(name: str, seconds: Sequence[float], flop: float, peak: float | None) -> None:
    median = statistics.median(seconds)
    share = "" if peak is None else f"{100 * flop / median / peak:6.1f} % of peak"
    print(
        f"{name:44} {1e3 * median:9.1f} ms  fastest {1e3 * min(seconds):9.1f} ms"
        f"  {flop / median / 1e12:7.1f} TFLOP/s  {share}",
        flush=True,
    )


def open_transformer(
    path: Path, weights: str, blocks: int, device: _core.Device, stream: bool
) -> Any:
    """Open a transformer of `blocks` blocks that repeat those of the file in turn."""
    component = resolve(ModelFiles(transformer=path)).require("transformer")
    config: Any = component.config
    table = _core.TensorTable()
    for name, ref in component.tensors.items():
        wanted = ref.target
        if weights == "int8_convrot":
            wanted = target_dtype(name, ref.info.shape, ref.info.dtype, weights)
        target = None if wanted is None else str(wanted)
        found = _BLOCK_NAME.match(name)
        first, step, count = (int(found[1]), _FILE_BLOCKS, blocks) if found else (0, 1, 1)
        for index in range(first, count, step):
            full = f"transformer_blocks.{index}.{found[2]}" if found else name
            table.add(full, *ref.info.place, target, ref.scale)
    fields = dataclasses.asdict(config) | {"num_layers": blocks}
    network = _core.Transformer(table, fields, device)
    if stream:
        network.stream_weights()
    network.load()
    return network


def velocity_of(network: Any, video: Modality, audio: Modality) -> Run:
    return lambda: network.velocity(video, audio, [], False, [])


def time_transformer(options: argparse.Namespace) -> None:
    device = _core.Device(options.device)
    peak = card_peak()
    print(f"measured bfloat16 peak: {'no torch' if peak is None else f'{peak / 1e12:.0f} TFLOP/s'}")
    path = random_file(options.folder, "transformer", _FILE_BLOCKS)
    files = ModelFiles(transformer=path)
    config: TransformerConfig = resolve(files).require("transformer").config
    full = dataclasses.replace(config, num_layers=options.blocks)
    for weights in options.weights:
        # Integers are made on load, by each device that multiplies them.
        stored = path if weights == "int8_convrot" else converted(path, weights)
        for stream in (False, True):
            if options.only == ("resident" if stream else "streamed"):
                continue
            network = open_transformer(stored, weights, options.blocks, device, stream)
            for tokens in options.tokens:
                video, audio = make_inputs(files, _GRIDS[tokens], _AUDIO_TOKENS, seed=0)
                flop = transformer_flop(full, len(video.latent), len(audio.latent), _TEXT_ROWS)
                name = f"{weights} {tokens} tokens, {'streamed' if stream else 'resident'}"
                run = velocity_of(network, video, audio)
                row(name, seconds_of(run, options.rounds), flop, peak)
                if options.profile:
                    print_profile(device, run)
            del network
    if not options.reference:
        return
    if not (has_module("torch") and has_module("diffusers")):
        print("diffusers: torch or diffusers is not installed, so there is nothing to compare with")
        return
    for tokens in options.tokens:
        video, audio = make_inputs(files, _GRIDS[tokens], _AUDIO_TOKENS, seed=0)
        flop = transformer_flop(full, len(video.latent), len(audio.latent), _TEXT_ROWS)
        run = reference_transformer(path, full, video, audio)
        row(f"diffusers bf16, {tokens} tokens", seconds_of(run, options.rounds), flop, peak)


def print_profile(device: _core.Device, run: Run) -> None:
    """Print the time of each operation of one call, without recorded graphs."""
    device.start_profile()
    run()
    times = device.take_profile()
    for name, (nodes, seconds) in sorted(times.items(), key=lambda item: -item[1][1]):
        print(f"    {name:28} {nodes:6} nodes {1e3 * seconds:9.2f} ms", flush=True)


def reference_transformer(
    path: Path, config: TransformerConfig, video: Modality, audio: Modality
) -> Run:
    """Return a call of diffusers' transformer on the device, blocks repeated as in ours."""
    import copy

    import torch

    few = dataclasses.replace(config, num_layers=_FILE_BLOCKS)
    model, inputs = reference.transformer_parts(path, few, video, audio)
    model.to("cuda")
    # Copied on the device: 44 GB through the host's memory take minutes.
    blocks = model.transformer_blocks
    for index in range(_FILE_BLOCKS, config.num_layers):
        blocks.append(copy.deepcopy(blocks[index % _FILE_BLOCKS]))
    on_device = {name: value.to("cuda") for name, value in inputs.items()}

    def run() -> None:
        with torch.inference_mode():
            model(**on_device, return_dict=False)
        torch.cuda.synchronize()

    return run


def latent_of(size: tuple[int, int, int]) -> NDArray[np.float32]:
    width, height, frames = size
    shape = (128, (frames - 1) // _CHUNK_FRAMES + 1, height // 32, width // 32)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def time_decode(options: argparse.Namespace) -> None:
    path = random_file(options.folder, "video_vae")
    size = (64, 64, 9) if options.small else options.size
    latent = latent_of(size)
    files = ModelFiles(video_vae=path)
    pipe = LTX2Pipeline(files, device=options.device)
    flop = video_decoder_flop(resolve(files).require("video_decoder").config, *latent.shape[1:])
    name = "video decode " + "x".join(map(str, size))
    peak = None if options.small else card_peak()
    row(name, seconds_of(lambda: pipe.decode_video(latent), options.rounds), flop, peak)


def compare(options: argparse.Namespace) -> None:
    """Print the normalised error of each network on the device against the CPU."""
    transformer = random_file(options.folder, "transformer", _FILE_BLOCKS)
    video, audio = make_inputs(ModelFiles(transformer=transformer), (4, 16, 16), 26, seed=0)

    def velocities(pipe: LTX2Pipeline) -> dict[str, Any]:
        result = pipe.velocity(video, audio)
        return {"video": result.video, "audio": result.audio}

    latent = latent_of((256, 256, 17))
    frames = np.random.default_rng(1).integers(0, 256, (9, 128, 128, 3), np.uint8)
    sound = np.random.default_rng(2).standard_normal((8, 25, 16), dtype=np.float32)

    def transformer_in(weights: str) -> Callable[[], ModelFiles]:
        return lambda: ModelFiles(transformer=converted(transformer, weights))

    def vae() -> ModelFiles:
        return ModelFiles(video_vae=random_file(options.folder, "video_vae"))

    def speech() -> ModelFiles:
        return ModelFiles(audio_vae=random_file(options.folder, "audio"))

    stages: dict[str, tuple[Callable[[], ModelFiles], Callable[[LTX2Pipeline], dict[str, Any]]]] = {
        f"transformer {weights}": (transformer_in(weights), velocities)
        for weights in ("bf16", "q8_0", "q4_k_m")
    }
    if options.int8:
        stages["transformer int8_convrot"] = (transformer_in("bf16"), velocities)
    stages["video decode"] = (vae, lambda pipe: {"frames": pipe.decode_video(latent)})
    stages["video encode"] = (vae, lambda pipe: {"latent": pipe.encode_video(frames)})
    stages["audio decode"] = (speech, lambda pipe: {"mel": pipe.decode_mel(sound)})
    stages["vocoder"] = (speech, lambda pipe: {"samples": pipe.decode_audio(sound).samples})
    print(f"{'network':24} {'result':10} {'error':>9}  {'CPU s':>8} {options.device + ' s':>8}")
    for name, (find_files, run) in stages.items():
        if options.networks and name not in options.networks:
            continue
        files = find_files()
        results, seconds = [], []
        for device in ("cpu", options.device):
            made = "int8_convrot" if name.endswith("int8_convrot") else "file"
            pipe = LTX2Pipeline(files, device=device, weight_type=made)
            start = time.perf_counter()
            results.append(run(pipe))
            seconds.append(time.perf_counter() - start)
        for key, want in results[0].items():
            error = relative_error(results[1][key], want)
            print(
                f"{name:24} {key:10} {error:9.1e}  {seconds[0]:8.2f} {seconds[1]:8.2f}", flush=True
            )


def time_attention(options: argparse.Namespace) -> None:
    """Error at flat logits over values of mean 1, the worst case for short sums, and time."""
    testing: Any = _core._testing  # type: ignore[attr-defined]
    testing.set_kernels(device=options.device)
    generator = np.random.default_rng(0)
    print(f"{'keys':>7} {'kernel':28} {'error':>9} {'ms':>9} {'TFLOP/s':>8}")
    for keys in [256] if options.small else options.keys:
        shape = (keys, _HEADS, _HEAD_DIM)
        q, k = (generator.standard_normal(shape, dtype=np.float32) * 0.1 for _ in range(2))
        v = generator.standard_normal(shape, dtype=np.float32) + 1
        q, k, v = ((x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) for x in (q, k, v))
        scale = _HEAD_DIM**-0.5
        # A few rows of two heads are enough to know the error.
        rows, heads = slice(0, 64), slice(0, 2)
        logits = np.einsum("qhd,khd->hqk", q[rows, heads].astype(np.float64), k[:, heads]) * scale
        weights = np.exp(logits)
        weights /= weights.sum(axis=-1, keepdims=True)
        want = np.einsum("hqk,khd->qhd", weights, v[:, heads].astype(np.float64))
        for name, own in (("ours, sums in float32", True), ("ggml flash_attn_ext", False)):
            case = testing.attention(q, k, v, scale=scale, own=own)
            got = case.run().reshape(shape)[rows, heads]
            seconds = statistics.median(case.time(options.rounds + 3)[3:])
            rate = 4 * keys**2 * _HEADS * _HEAD_DIM / seconds / 1e12
            error = relative_error(got, want)
            print(f"{keys:7} {name:28} {error:9.1e} {1e3 * seconds:9.2f} {rate:8.1f}", flush=True)
        if has_module("torch") and not options.small:
            got, seconds = torch_attention(q, k, v, options.rounds)
            rate = 4 * keys**2 * _HEADS * _HEAD_DIM / seconds / 1e12
            error = relative_error(got[rows, heads], want)
            name = "torch scaled_dot_product"
            print(f"{keys:7} {name:28} {error:9.1e} {1e3 * seconds:9.2f} {rate:8.1f}", flush=True)
    testing.set_kernels()


def torch_attention(
    q: NDArray[np.float32], k: NDArray[np.float32], v: NDArray[np.float32], rounds: int
) -> tuple[NDArray[np.float32], float]:
    """Return the result of torch on the same arrays (keys, heads, head_dim), and its seconds."""
    import torch

    inputs = [
        torch.from_numpy(x).to("cuda", torch.bfloat16).transpose(0, 1)[None].contiguous()
        for x in (q, k, v)
    ]

    def run() -> Any:
        result = torch.nn.functional.scaled_dot_product_attention(*inputs)
        torch.cuda.synchronize()
        return result

    seconds = statistics.median(seconds_of(run, rounds))
    result: NDArray[np.float32] = run()[0].transpose(0, 1).float().cpu().numpy()
    return result, seconds


def time_int8(options: argparse.Namespace) -> None:
    """Error against exact sums of the same integers, and time with rotation and rounding of x."""
    testing: Any = _core._testing  # type: ignore[attr-defined]
    testing.set_kernels(device=options.device)
    testing.set_int8(True)
    generator = np.random.default_rng(0)
    print(f"{'product':>20} {'arithmetic':10} {'error':>9} {'ms':>9} {'TOP/s':>8}")
    shapes = [(100, 256, 66)] if options.small else _INT8_PRODUCTS
    for rows, width, out in shapes:
        x = generator.standard_normal((rows, width), dtype=np.float32)
        weight = generator.integers(-127, 128, (out, width), np.int8)
        scales = np.full(out, 1e-3, np.float32)
        integers = testing.int8_rows(x, group=256)
        few = np.r_[:4, rows - 4 : rows]
        scale = integers[few, width : width + 4].copy().view(np.float32)
        sums = integers[few, :width].astype(np.float64) @ weight.T.astype(np.float64)
        case = testing.int8_linear(x, weight, scales, group=256)
        error = relative_error(case.run().reshape(rows, out)[few], sums * scale * scales)
        wide = testing.linear(x, weight * scales[:, None], type="bf16", fused=True)
        for name, run, wrong in (("int8", case, f"{error:9.1e}"), ("bf16", wide, "")):
            seconds = statistics.median(run.time(options.rounds + 3)[3:])
            rate = 2 * rows * width * out / seconds / 1e12
            shape = f"{rows}x{width}x{out}"
            print(f"{shape:>20} {name:10} {wrong:9} {1e3 * seconds:9.2f} {rate:8.1f}", flush=True)
    testing.set_kernels()


def _size(text: str) -> tuple[int, int, int]:
    width, height, frames = (int(part) for part in text.split("x"))
    return width, height, frames


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--device", default="cuda")
    common.add_argument("--rounds", type=int, default=5)
    folder = Path(tempfile.gettempdir()) / "ltx2cpp-bench"
    common.add_argument("--folder", type=Path, default=folder)
    common.add_argument("--in-passes", action="store_true", help="bias and GELU without cuBLASLt")
    common.add_argument("--warpgroups", action="store_true", help="attention by warpgroups")
    common.add_argument("--int8", action="store_true", help="int8_convrot weights as integers")
    common.add_argument("--small", action="store_true", help="tiny sizes, to be watched by a tool")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("compare", parents=[common])
    command.add_argument("--networks", nargs="+", help="some of them only, such as 'video decode'")
    command.set_defaults(run=compare)
    command = commands.add_parser("transformer", parents=[common])
    command.add_argument("--blocks", type=int, default=48)
    command.add_argument("--tokens", nargs="+", choices=_GRIDS, default=list(_GRIDS))
    command.add_argument("--weights", nargs="+", default=["bf16", "q8_0"])
    command.add_argument("--only", choices=["resident", "streamed"])
    command.add_argument("--profile", action="store_true", help="also the time of each operation")
    command.add_argument("--reference", action="store_true", help="diffusers in bfloat16 too")
    command.set_defaults(run=time_transformer)
    command = commands.add_parser("decode", parents=[common])
    command.add_argument("--size", type=_size, default=(768, 512, 121))
    command.set_defaults(run=time_decode)
    command = commands.add_parser("attention", parents=[common])
    command.add_argument("--keys", nargs="+", type=int, default=[6144, 14336, 32768])
    command.set_defaults(run=time_attention)
    command = commands.add_parser("int8", parents=[common])
    command.set_defaults(run=time_int8)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    testing: Any = _core._testing  # type: ignore[attr-defined]
    if options.in_passes:
        testing.set_lt(False)
    if options.warpgroups:
        testing.set_warpgroups(True)
    if options.int8:
        testing.set_int8(True)
    try:
        options.run(options)
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
