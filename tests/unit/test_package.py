"""The package as Python sees it: in a checkout, and as installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import ltx2cpp
from ltx2cpp import _core

_PACKAGE = Path(ltx2cpp.__file__).parent
_CORE = Path(_core.__file__)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the package's Python files and no core."""
    package = tmp_path / "ltx2cpp"
    package.mkdir()
    for path in _PACKAGE.iterdir():
        if not path.name.startswith("_core."):
            (package / path.name).symlink_to(path)
    return tmp_path


def run_in(folder: Path, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    words = (sys.executable, *words)
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_checkout_takes_the_core_that_is_installed(checkout: Path) -> None:
    program = "import ltx2cpp; from ltx2cpp import _core; print(ltx2cpp.__file__, _core.__file__)"
    ended = run_in(checkout, "-c", program, path=str(_CORE.parents[1]))
    assert ended.stderr == ""
    assert ended.stdout.split() == [str(checkout / "ltx2cpp/__init__.py"), str(_CORE)]


def test_a_checkout_without_a_core_says_what_to_do(checkout: Path) -> None:
    ended = run_in(checkout, "-S", "-c", "import ltx2cpp")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(
        f"ImportError: {checkout / 'ltx2cpp'}: holds no C++ core for Python "
    )
    assert "run `pip install .` in the checkout" in ended.stderr


def test_the_version_is_that_of_the_installation() -> None:
    assert ltx2cpp.__version__ == version("ltx2cpp")
