"""Writing text token by token: the text encoder's Gemma against transformers on the same weights.

A side writes a number of tokens after a prompt of random ids, always the likeliest one, and tells
the seconds of a token without those of reading the prompt. Each side has a process of its own, and
they write in turn.
"""

from __future__ import annotations

import importlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.reference import open_torch
from benchmarks.reference_gemma import gemma_config, open_gemma
from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.text.choosing import TokenChoice, TokenChooser

_TYPES = {"bf16": "bfloat16", "f32": "float32"}
SIDES = ("transformers bf16", "transformers f32", "ltx2cpp bf16", "ltx2cpp f32", "ltx2cpp q8_0")


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of all processors in this process."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Written:
    """What a side wrote.

    Attributes:
        ids: the new tokens.
        prompt: time up to the first of them.
        token: time of each of the others.
    """

    ids: list[int]
    prompt: Spent
    token: Spent


@dataclass(frozen=True)
class Work:
    """What every side does.

    Attributes:
        path: the weights, in BF16.
        prompt: how many tokens are read.
        count: how many are written, at least 2.
        threads: of the CPU.
    """

    path: Path
    prompt: int
    count: int
    threads: int


Side = Callable[[], Written]


def ours(work: Work, weight_type: str) -> Side:
    """Return our side; "file" keeps BF16 weights as they are."""
    pipe = LTX2Pipeline(
        ModelFiles(text_encoder=work.path),
        device="cpu",
        weight_type=weight_type,
        threads=work.threads,
    )
    prompt = _prompt(work).tolist()

    def write() -> Written:
        writer = pipe.networks.prompt_encoder.writer
        return _timed(writer.write(prompt, TokenChooser(TokenChoice()), work.count))

    return write


def transformers(work: Work, dtype: str) -> Side:
    """Return the side of transformers, with its own cache of keys and values."""
    torch = open_torch(work.threads)
    model = open_gemma(work.path, torch, dtype)
    prompt = torch.from_numpy(_prompt(work).astype(np.int64))[None]

    def tokens() -> Iterator[int]:
        ids, cache = prompt, None
        for _ in range(work.count):
            with torch.inference_mode():
                result = model(
                    input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
            ids, cache = result.logits[:, -1:].argmax(-1), result.past_key_values
            yield int(ids)

    return lambda: _timed(tokens())


def compare(work: Work, sides: Sequence[str], rounds: int) -> None:
    """Print tokens per second and memory of each side, and whether all write the same."""
    context = multiprocessing.get_context("spawn")
    lines: dict[str, Connection] = {}
    for name in sides:
        lines[name], remote = context.Pipe()
        context.Process(target=_serve, args=(remote, work, name), daemon=True).start()
        # The end of the process ends the line only where nobody else holds it open.
        remote.close()
        lines[name].recv()
    print(f"work       {work.count} tokens after {work.prompt}, {rounds} rounds in turn, medians")
    written: dict[str, list[Written]] = {name: [] for name in sides}
    # The round that is not counted brings weights into memory.
    for number in range(rounds + 1):
        for name, line in lines.items():
            line.send(True)
            result = line.recv()
            if number:
                written[name].append(result)
    print(
        f"\n{'':18} {'tokens/s':>9} {'of CPU':>8} {'prompt s':>9} {'of CPU':>8}"
        f" {'peak GB':>8} {'without imports':>16}  ids equal to {sides[0]}"
    )
    for name, line in lines.items():
        line.send(False)
        imports, highest = line.recv()
        prompt, token = (
            [
                statistics.median(getattr(getattr(each, part), kind) for each in written[name])
                for kind in ("wall_s", "cpu_s")
            ]
            for part in ("prompt", "token")
        )
        same = sum(
            a == b for a, b in zip(written[name][0].ids, written[sides[0]][0].ids, strict=True)
        )
        print(
            f"{name:18} {1 / token[0]:9.2f} {1 / token[1]:8.2f} {prompt[0]:9.2f} {prompt[1]:8.2f}"
            f" {highest / 1e9:8.2f} {(highest - imports) / 1e9:16.2f}  {same} of {work.count}"
        )


def _serve(line: Connection, work: Work, name: str) -> None:
    """Write as often as the line asks for; then tell memory after imports and at its highest."""
    engine, weights = name.split()
    if engine == "transformers":
        open_torch(work.threads)
        importlib.import_module("transformers.models.gemma3.modeling_gemma3")
    imports = machine.resident_bytes()
    if engine == "transformers":
        write = transformers(work, _TYPES[weights])
    else:
        write = ours(work, "file" if weights == "bf16" else weights)
    line.send(True)
    while line.recv():
        line.send(write())
    line.send((imports, machine.resident_bytes(peak=True)))


def _timed(tokens: Iterator[int]) -> Written:
    start = _now()
    ids = [next(tokens)]
    first = _now()
    ids += list(tokens)
    last = _now()
    others = len(ids) - 1
    return Written(
        ids,
        Spent(first.wall_s - start.wall_s, first.cpu_s - start.cpu_s),
        Spent((last.wall_s - first.wall_s) / others, (last.cpu_s - first.cpu_s) / others),
    )


def _now() -> Spent:
    return Spent(time.perf_counter(), time.process_time())


def _prompt(work: Work) -> NDArray[np.int32]:
    rows = gemma_config(work.path).vocab_size
    return np.random.default_rng(0).integers(4, rows, work.prompt).astype(np.int32)
