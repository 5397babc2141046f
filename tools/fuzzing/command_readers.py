"""Commands as readers: what they make of files of every kind, and what they print of them."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Sequence
from pathlib import Path

from fuzzing.model_readers import check_opened
from fuzzing.reader import CORE_CEILING, PICTURE_CEILING, Reader
from fuzzing.trial import is_obeyed
from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.cli.main import EXIT_USAGE, main
from ltx2cpp.convert import convert
from ltx2cpp.errors import Error

Rng = random.Random

_RECIPES = ("f32", "f16", "bf16", "q8_0", "q4_k_m")
_EXIT_FILE = 3


def command_readers(others: Sequence[Reader]) -> list[Reader]:
    """Return the readers that are commands.

    Args:
        others: readers whose cases they are given.
    """
    shown = [each for each in others if not each.name.startswith("core-") and each.name != "clip"]
    converted = [each for each in others if each.name.startswith("core-")]

    def make_shown(rng: Rng, folder: Path) -> Path:
        return rng.choice(shown).make(rng, folder)

    def make_converted(rng: Rng, folder: Path) -> Path:
        path = rng.choice(converted).make(rng, folder)
        # The second word of the name is the type that the core would be asked for.
        role, _, suffix = path.name.split(".")
        return path.rename(path.with_name(f"{role}.{rng.choice(_RECIPES)}.{suffix}"))

    return [
        Reader("inspect", 6, PICTURE_CEILING, make_shown, _inspect),
        Reader("convert", 8, CORE_CEILING, make_converted, _convert, reads_all=True),
    ]


def _inspect(path: Path) -> None:
    """Run the command twice, for people and for programs."""
    for options in ([], ["--json"]):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = main(["inspect", *options, "--", str(path)])
        text = printed.getvalue()
        assert code in (0, EXIT_USAGE, _EXIT_FILE), text[-2000:]
        assert not any(map(is_obeyed, text)), text[-2000:]
        if code:
            raise Error(text.strip())


def _convert(path: Path) -> None:
    """Convert, and open what is written; nothing is left of what is refused."""
    target = path.with_name("converted.gguf")
    try:
        convert(path, target, path.name.split(".")[1], threads=1)
    except Error:
        assert not target.exists()
        raise
    check_opened(open_checkpoint(target))
    target.unlink()
