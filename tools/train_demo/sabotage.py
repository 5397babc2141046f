"""Break the engine in known ways and see whether the demo's prompts still show.

`python -m train_demo.sabotage` reads held-out prompts back from the pixels of the shipped demo,
first as it is, then with one thing broken at a time, and prints the shares of right answers. What
breaks nothing is guarded by no test of meaning.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.demo import demo_files
from ltx2cpp.networks.text import PromptEncoder
from ltx2cpp.networks.transformer import Transformer
from ltx2cpp.values import Modality, Velocity
from train_demo.checks import BOUNDS, read_clip
from train_demo.combinations import HELD_OUT_COMBINATIONS, Combination, say

_REGISTERS = "video_embeddings_connector.learnable_registers"
_THETA, _LOW_THETA = (
    b'"positional_embedding_theta": 10000.0',
    b'"positional_embedding_theta": 100.000',
)
_NEARLY_ONE = tuple(np.linspace(1.0, 0.9965, 8).tolist())

LEVELS = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875)
FloatArray = NDArray[np.float32]
# Changes the bytes of the model file, given the tokens of the prompts it will serve.
Edit = Callable[[bytearray, ModelFiles, int], None]


@dataclass(frozen=True)
class Breakage:
    """One thing broken.

    Attributes:
        name: What is broken and how.
        patched: Breaks the code.
        edit: Breaks the file.
        sigmas: Broken list of noise levels.
    """

    name: str
    patched: Callable[[], AbstractContextManager[object]] = nullcontext
    edit: Edit | None = None
    sigmas: Sequence[float] | None = None


def _tokens_by_column() -> AbstractContextManager[object]:
    def unpack(tokens: FloatArray, frames: int, height: int, width: int) -> FloatArray:
        by_column = tokens.T.reshape(tokens.shape[1], frames, width, height)
        return np.ascontiguousarray(by_column.swapaxes(-1, -2))

    return patch("ltx2cpp.generation.phases.denoise.unpack_video", unpack)


def _tokens_backwards() -> AbstractContextManager[object]:
    def unpack(tokens: FloatArray, frames: int, height: int, width: int) -> FloatArray:
        backwards = np.ascontiguousarray(tokens[::-1].T)
        return backwards.reshape(tokens.shape[1], frames, height, width)

    return patch("ltx2cpp.generation.phases.denoise.unpack_video", unpack)


def _prompt_backwards() -> AbstractContextManager[object]:
    tokenize = PromptEncoder.tokenize

    def reverse(self: PromptEncoder, prompt: str) -> NDArray[np.int32]:
        ids = tokenize(self, prompt)
        return np.concatenate((ids[:1], ids[:0:-1]))

    return patch.object(PromptEncoder, "tokenize", reverse)


def _level_of_next_step() -> AbstractContextManager[object]:
    velocity = Transformer.velocity
    levels = (*LEVELS, 0.0)

    def late(self: Transformer, video: Modality, audio: object, **options: object) -> Velocity:
        step = int(np.abs(np.array(levels) - video.sigma).argmin())
        level = levels[min(step + 1, len(levels) - 1)]
        timesteps = np.where(video.timesteps > 0, np.float32(level), np.float32(0))
        return velocity(self, replace(video, sigma=level, timesteps=timesteps), audio, **options)

    return patch.object(Transformer, "velocity", late)


def _edit_registers(order: Callable[[FloatArray, int], FloatArray]) -> Edit:
    def edit(content: bytearray, files: ModelFiles, tokens: int) -> None:
        tensors = open_checkpoint(Path(files.checkpoint)).tensors
        (info,) = (info for name, info in tensors.items() if name.endswith(_REGISTERS))
        place = slice(info.offset, info.offset + info.size_bytes)
        rows = np.frombuffer(bytes(content[place]), np.uint8).reshape(info.shape[0], -1)
        content[place] = np.ascontiguousarray(order(rows, tokens)).tobytes()

    return edit


def _edit_ladder(content: bytearray, files: ModelFiles, tokens: int) -> None:
    at = content.index(_THETA)
    content[at : at + len(_THETA)] = _LOW_THETA


BREAKAGES = (
    Breakage("nothing"),
    Breakage("token order: read column by column", _tokens_by_column),
    Breakage("token order: read backwards", _tokens_backwards),
    Breakage("token order: prompt backwards", _prompt_backwards),
    Breakage(
        "register order: counted from the end of the text",
        edit=_edit_registers(lambda rows, tokens: np.roll(rows, tokens, axis=0)),
    ),
    Breakage("register order: backwards", edit=_edit_registers(lambda rows, _: rows[::-1])),
    Breakage("RoPE ladder: base 100 instead of 10000", edit=_edit_ladder),
    Breakage("sigmas: all near one", sigmas=(*_NEARLY_ONE, 0.0)),
    Breakage("sigmas: the network gets the next one", _level_of_next_step),
    Breakage("sigmas: the last three left out", sigmas=(*LEVELS[:5], 0.0)),
    Breakage("sigmas: evenly spaced", sigmas=tuple(np.linspace(1.0, 0.0, 9).tolist())),
)


@contextmanager
def _opened(breakage: Breakage, tokens: int) -> Iterator[LTX2Pipeline]:
    """Open the demo, broken."""
    files = demo_files()
    with tempfile.TemporaryDirectory() as folder, patch("ltx2cpp.pipeline.demo_files") as shipped:
        shipped.return_value = files
        if breakage.edit is not None:
            content = bytearray(Path(files.checkpoint).read_bytes())
            breakage.edit(content, files, tokens)
            broken = Path(folder) / Path(files.checkpoint).name
            broken.write_bytes(content)
            shipped.return_value = replace(files, checkpoint=broken)
        with breakage.patched(), LTX2Pipeline.demo("cpu") as pipe:
            yield pipe


def score(
    breakage: Breakage, asked: Sequence[Combination], seeds: Sequence[int]
) -> dict[str, float]:
    """Return the share of right answers per attribute."""
    by_length: dict[int, list[Combination]] = defaultdict(list)
    with LTX2Pipeline.demo("cpu") as pipe:
        for one in asked:
            by_length[len(pipe.tokenize(say(one)))].append(one)
    if breakage.edit is None:
        by_length = {0: list(asked)}
    right = dict.fromkeys(BOUNDS, 0)
    for tokens, group in by_length.items():
        with _opened(breakage, tokens) as pipe:
            for one in group:
                for seed in seeds:
                    clip = pipe(say(one), seed=seed, sigmas=breakage.sigmas).video
                    reading = read_clip(clip)
                    for name in BOUNDS:
                        right[name] += getattr(reading, name) == getattr(one, name)
    return {name: count / len(asked) / len(seeds) for name, count in right.items()}


def main() -> None:
    """Parse the command line, break, read, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="held-out combinations")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    stride = max(1, len(HELD_OUT_COMBINATIONS) // options.count)
    asked = HELD_OUT_COMBINATIONS[::stride][: options.count]
    for breakage in BREAKAGES:
        shares = score(breakage, asked, options.seeds)
        failed = [name for name, share in shares.items() if share < BOUNDS[name]]
        figures = " ".join(f"{name} {share:4.0%}" for name, share in shares.items())
        sys.stdout.write(f"{breakage.name:50} {figures}  {'fails' if failed else 'passes'}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
