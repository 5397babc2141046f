"""The levels of processors that wheels hold: what is built is what is loaded and described."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEVEL = r"x86-64-v\d(?:-\w+)?"


def levels_in(name: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, (ROOT / name).read_text(encoding="utf-8")))


def test_each_level_is_built_loaded_and_described() -> None:
    built = levels_in("third_party/ggml/CMakeLists.txt", rf"set\(level_({LEVEL}) ")
    assert len(built) == 6
    assert levels_in("csrc/levels/loader.cpp", rf'"({LEVEL})"') == built
    assert levels_in("docs/install.md", rf"(?m)^\| `({LEVEL})` \|") == built
