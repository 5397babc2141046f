"""Users without a home folder, as containers and services have them."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from helpers import fake_pipeline

from ltx2cpp.cli.main import main
from ltx2cpp.cli.options.cache import prompt_folder


def _no_home() -> NoReturn:
    raise RuntimeError("Could not determine home directory.")


@pytest.fixture(params=["unknown", "/nonexistent", "relative"])
def homeless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pipeline.install(monkeypatch)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("XDG_CACHE_HOME")
    if request.param == "unknown":
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(Path, "home", _no_home)
    else:
        monkeypatch.setenv("HOME", request.param)


@pytest.mark.usefixtures("homeless")
def test_nothing_is_kept_without_a_home() -> None:
    assert prompt_folder() is None


@pytest.mark.usefixtures("homeless")
def test_commands_work_without_a_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    with pytest.raises(SystemExit, match="0"):
        main(["generate", "--help"])
    assert "no home folder" in capsys.readouterr().out
    assert main(["generate", "a boat", "-o", str(tmp_path / "a.mp4")]) == 0
    assert (tmp_path / "a.mp4").is_file()


@pytest.mark.usefixtures("homeless")
def test_encode_wants_a_file_where_nothing_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", "a boat"]) == 2
    assert capsys.readouterr().err.startswith("error: --output: expected a file")


@pytest.mark.usefixtures("homeless")
def test_the_environment_names_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert prompt_folder() == tmp_path / "ltx2cpp" / "prompts"
    # A relative one counts as none, as its specification has it.
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert prompt_folder() is None
