"""The package as Python sees it: in a checkout, and as installed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import ltx2cpp
import ltx2cpp_cli
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
    (tmp_path / "ltx2cpp_cli").symlink_to(Path(ltx2cpp_cli.__file__).parent)
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


def test_the_command_says_it_in_one_line(checkout: Path) -> None:
    program = "import sys, ltx2cpp_cli; sys.exit(ltx2cpp_cli.main())"
    ended = run_in(checkout, "-S", "-c", program)
    assert ended.returncode == 3
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"error: {checkout / 'ltx2cpp'}: holds no C++ core for Python ")
    assert ended.stderr.count("\n") == 1


def test_the_version_is_that_of_the_installation() -> None:
    assert ltx2cpp.__version__ == version("ltx2cpp")


def test_public_names_are_what_type_checkers_see() -> None:
    tree = ast.parse(Path(ltx2cpp.__file__).read_text())
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == ltx2cpp._HOMES
    assert sorted([*seen, "__version__"]) == sorted(ltx2cpp.__all__)
    assert set(ltx2cpp.__all__) <= set(dir(ltx2cpp))
    for name, home in seen.items():
        assert getattr(ltx2cpp, name) is getattr(sys.modules[home], name)


def test_what_is_not_asked_for_is_not_imported() -> None:
    program = """
import sys, ltx2cpp
assert not {"numpy", "ltx2cpp.pipeline"} & set(sys.modules)
assert ltx2cpp.media.read_picture and not hasattr(ltx2cpp, "nothing")
"""
    ended = run_in(_PACKAGE.parent, "-c", program, path=str(_PACKAGE.parent))
    assert ended.stderr == ""
