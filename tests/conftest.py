"""Shared fixtures of the test suite."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
import pytest
import tolerances


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fixtures-dir",  # pytest itself has a --fixtures
        type=Path,
        default=Path(__file__).resolve().parents[2] / "shared" / "fixtures",
        help="folder with the reference checkpoints (default: shared/fixtures beside the checkout)",
    )
    parser.addoption(
        "--device",
        default="cpu",
        help="where networks and operations run whatever a test asks for, for tools/gpu_check.sh;"
        " emulated: on the CPU with the CUDA kernels in place of its own",
    )
    parser.addoption(
        "--figures", action="store_true", help="print what was measured against each tolerance"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Put every network and operation on the device asked for."""
    device: str = config.getoption("--device")
    if device == "cpu":
        return
    from ltx2cpp import _core

    core: Any = _core
    if device == "emulated":
        core.Device = functools.partial(core._testing.open_device, emulated_cuda=True)
        core._testing.set_kernels(emulated_cuda=True)
        return
    open_device = core.Device
    core.Device = lambda name="auto", threads=None: open_device(device, threads)
    core._testing.set_kernels(device=device)


_figures: list[tuple[str, str, float, float]] = []


@pytest.fixture(autouse=True)
def figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Notes what a test compared."""
    harness.FIGURES.clear()
    harness.least_tolerance = harness.least_tolerance_of(
        request.node.nodeid, request.config.getoption("--device")
    )
    yield
    _figures.extend((request.node.nodeid, *each) for each in harness.FIGURES)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not terminalreporter.config.getoption("--figures"):
        return
    terminalreporter.section("normalised RMS errors and their tolerances")
    for test, name, error, tolerance in _figures:
        terminalreporter.write_line(f"{error:9.2e}  {tolerance:7.0e}  {name}  ({test})")
    terminalreporter.section("bound, comparisons and the worst of them")
    worst: dict[tuple[str, float], list[float]] = {}
    for test, _, error, tolerance in _figures:
        bound = _bound_name(test.partition("::")[0], tolerance)
        worst.setdefault((bound, tolerance), []).append(error)
    for (bound, tolerance), errors in sorted(worst.items()):
        terminalreporter.write_line(f"{bound} {tolerance:.2g} {len(errors)} {max(errors):.2e}")


@functools.cache
def _bound_name(path: str, tolerance: float) -> str:
    """Return what `tolerances.py` calls a number that a test file has from there."""
    file = Path(__file__).parents[1] / path
    source = file.read_text(encoding="utf-8")
    # Tests that are run in another setting are imported from the file that has them.
    for module in re.findall(r"^from (test_\w+) import", source, re.MULTILINE):
        source += file.with_name(f"{module}.py").read_text(encoding="utf-8")
    for name, value in vars(tolerances).items():
        numbers = value.values() if isinstance(value, dict) else (value,)
        if name.isupper() and tolerance in numbers and name in source:
            return name
    return "other"


@pytest.fixture(scope="session")
def fixtures_dir(request: pytest.FixtureRequest) -> Path:
    """Folder of tiny checkpoints with reference outputs; without it a test is skipped."""
    folder: Path = request.config.getoption("--fixtures-dir")
    if not folder.is_dir():
        pytest.skip(f"no reference checkpoints at {folder}; pass --fixtures-dir FOLDER")
    return folder


@pytest.fixture(scope="session")
def fixture_a(fixtures_dir: Path) -> Path:
    """The tiny LTX-2.3 checkpoint with reference numbers of every stage."""
    return fixtures_dir / "A"


@pytest.fixture(scope="session")
def fixture_c(fixtures_dir: Path) -> Path:
    """The tiny LTX-2.5 checkpoint with reference numbers of every stage."""
    return fixtures_dir / "C"


@pytest.fixture(autouse=True)
def neutral_folder(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that a test starts import the package that the test imports, and keep nothing.

    Started in the checkout they would find the source folder first, which has no extension module.
    """
    import ltx2cpp

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(ltx2cpp.__file__).parents[1]))
    # Commands keep encoded prompts there.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
