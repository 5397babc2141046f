"""What tools/train_demo/sabotage.py breaks is there to be broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from train_demo.sabotage import BREAKAGES, Breakage

from ltx2cpp.demo import demo_files


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.name)
def test_breakage_finds_its_place(breakage: Breakage) -> None:
    with breakage.patched():
        pass
    if breakage.edit is not None:
        files = demo_files()
        content = Path(files.checkpoint).read_bytes()
        broken = bytearray(content)
        breakage.edit(broken, files, 5)
        assert len(broken) == len(content) and broken != content
