"""Encoding prompts of several lengths: the layers of Gemma 3 against transformers in bfloat16.

Few tokens are bound by reading the weights, many by products, so that both rates are shown: bytes
of the layers' weights and operations, a second. Embeddings are left out of the bytes, because a
prompt reads as many of their rows as it has tokens.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synthetic.models import converted, random_gemma

from benchmarks import machine
from benchmarks.reference import Arrays, Call, open_torch
from benchmarks.reference_gemma import gemma_config, open_gemma
from benchmarks.sides import Benchmark, OurCall, alternate, check, profile
from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.config import GemmaConfig
from ltx2cpp.model.resolve import resolve
from ltx2cpp.networks.cost import gemma_flop

_REFERENCE = "transformers bf16"
_INTEGERS = "int8_convrot"
WEIGHTS = ("bf16", "q8_0", "q4_k_m", _INTEGERS)


@dataclass(frozen=True)
class _Side:
    """An opened text encoder.

    Attributes:
        prompt: makes the call that encodes ids (n,).
        layer_bytes: stored weights of all layers.
    """

    prompt: Callable[[NDArray[np.int32]], Call]
    layer_bytes: int


def measure(options: argparse.Namespace) -> None:
    """Print time and rates of each side at each number of tokens."""
    path = random_gemma(options.folder, options.layers, options.vocab)
    config = gemma_config(path)
    sides = {} if options.ours else {_REFERENCE: _transformers(path, options.threads)}
    for weights in options.weights:
        sides[f"ltx2cpp {weights}"] = _ours(path, weights, options.threads)
    seconds: dict[int, Mapping[str, list[float]]] = {}
    for tokens in options.tokens:
        calls = {name: side.prompt(_ids(config, tokens)) for name, side in sides.items()}
        if options.check:
            print(f"{tokens} tokens:")
            check(calls)
        seconds[tokens] = alternate(calls, options.rounds, warm=options.check)
        if options.profile:
            for name, call in calls.items():
                if isinstance(call, OurCall):
                    print(f"\n{tokens} tokens, {name}:")
                    profile(call, _work(config, tokens), float("nan"))
    peak = machine.measure_peak(options.threads, with_torch=not options.ours)
    print(f"layers     {options.layers}, {options.rounds} rounds in turn")
    print(f"peak       {peak}")
    if not options.ours:
        print(f"reading    {machine.measure_reading(options.threads) / 1e9:.1f} GB/s")
    _print_table(config, sides, seconds, peak.product)


def _print_table(
    config: GemmaConfig,
    sides: Mapping[str, _Side],
    seconds: Mapping[int, Mapping[str, list[float]]],
    peak: float,
) -> None:
    print(f"\ntokens {'':22}  median s  fastest s   GB/s  GFLOP/s  of peak  ratio")
    for tokens, of_sides in seconds.items():
        flop = gemma_flop(config, tokens)
        for name, values in of_sides.items():
            median = statistics.median(values)
            base = statistics.median(of_sides.get(_REFERENCE, values))
            print(
                f"{tokens:6} {name:22} {median:9.4f} {min(values):10.4f}"
                f" {sides[name].layer_bytes / median / 1e9:6.1f} {flop / median / 1e9:8.1f}"
                f" {100 * flop / median / peak:7.1f}%"
                + (f"  {median / base:.3f}" if _REFERENCE in of_sides else "")
            )


def _ours(path: Path, weights: str, threads: int) -> _Side:
    files = ModelFiles(text_encoder=converted(path, weights))
    pipe = LTX2Pipeline(
        files,
        device="cpu",
        threads=threads,
        # Stored integers are multiplied as such only where that is asked for.
        weight_type=_INTEGERS if weights == _INTEGERS else "file",
    )

    def prompt(ids: NDArray[np.int32]) -> Call:
        encoder = pipe.networks.prompt_encoder
        return OurCall(pipe, lambda: _named(encoder.hidden_states(ids)))

    return _Side(prompt, _layer_bytes(files))


def _transformers(path: Path, threads: int) -> _Side:
    torch = open_torch(threads)
    model = open_gemma(path, torch, "bfloat16").model

    def encode(ids: NDArray[np.int32]) -> Arrays:
        with torch.inference_mode():
            result = model(
                input_ids=torch.from_numpy(ids.astype(np.int64))[None],
                use_cache=False,
                output_hidden_states=True,
            )
            states = torch.cat(result.hidden_states).float().numpy()
        return _named(states)

    return _Side(lambda ids: partial(encode, ids), _layer_bytes(ModelFiles(text_encoder=path)))


def _named(states: NDArray[np.float32]) -> Arrays:
    return {"states": states, "last": states[-1]}


def _layer_bytes(files: ModelFiles) -> int:
    weights = resolve(files).require("text_encoder").tensors
    return sum(each.info.size_bytes for name, each in weights.items() if "layers." in name)


def _work(config: GemmaConfig, tokens: int) -> Benchmark:
    attention = 4.0 * config.num_layers * tokens**2 * config.num_heads * config.head_dim
    return Benchmark(gemma_flop(config, tokens), {}, attention)


def _ids(config: GemmaConfig, tokens: int) -> NDArray[np.int32]:
    ids = np.random.default_rng(tokens).integers(0, config.vocab_size, tokens)
    return ids.astype(np.int32)
