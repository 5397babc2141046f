"""Clips given as EXR files: which files they are, in which order, and what stands against them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import fake_pipeline

from ltx2cpp.cli.main import main
from ltx2cpp.errors import ArgumentError
from ltx2cpp.media import Hdr, HdrCurve, HdrSpace, exr_clip_size, exr_files, read_exr_clip
from ltx2cpp.media.exr import frame_name, written

HDR = Hdr(HdrSpace.ACESCG, HdrCurve.ACESCCT)


def names(folder: Path, *files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file).touch()
    return folder


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("", None),
        ("a_%04d.exr", ["a_0009.exr", "a_0010.exr", "a_0011.exr"]),
        ("a_%d.exr", ["a_0009.exr", "a_0010.exr", "a_0011.exr"]),
        ("a_*.exr", ["a_0009.exr", "a_0010.exr", "a_0011.exr"]),
        ("b[1].?.EXR", ["b[1].8.EXR", "b[1].9.EXR"]),
        ("b[1].%d.EXR", ["b[1].8.EXR", "b[1].9.EXR"]),
        ("a_0010.exr", ["a_0010.exr"]),
        ("a_*.png", None),
        ("missing.exr", None),
        (".exr", None),
    ],
)
def test_files_by_name(tmp_path: Path, given: str, found: list[str] | None) -> None:
    names(tmp_path, "a_0011.exr", "a_0009.exr", "a_0010.exr", "b[1].9.EXR", "b[1].8.EXR", "a_1.png")
    path = tmp_path / given if given else names(tmp_path / "empty", ".hidden_1.exr", "a_1.png")
    if "?" in given:
        path = Path(str(path).replace("b[1]", "b[[]1]"))
    files = exr_files(path)
    assert (None if files is None else [file.name for file in files]) == found


def test_folders_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names(tmp_path, "take2_9.exr", "take2_10.exr", "notes.txt")
    assert [file.name for file in exr_files(tmp_path) or ()] == ["take2_9.exr", "take2_10.exr"]


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        (["a_1.exr", "a_3.exr"], "", r"its frame 2 is missing, between a_1\.exr and a_3\.exr"),
        (["a_1.exr", "b_2.exr"], "", "holds EXR files of several clips"),
        (["a_1.exr", "a_01.exr"], "", "holds EXR files of several clips"),
        (["a.exr", "a_1.exr"], "", r"a\.exr has no number, so no place in a clip"),
        (["a_1.exr"], "b_%04d.exr", "no file has such a name"),
        (["a_1.exr"], "none/b_*.exr", "no file has such a name"),
    ],
)
def test_files_that_are_no_clip(tmp_path: Path, files: list[str], given: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        exr_files(names(tmp_path, *files) / given)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR", reason="HDR needs the package OpenEXR (extra hdr)")
    codes = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4, 6, 3)).astype(np.float32)
    assert len(list(written(tmp_path, iter(codes), HDR))) == 3
    files = exr_files(tmp_path)
    assert files is not None and exr_clip_size(files) == (6, 4, 3)
    levels = read_exr_clip(files, HDR, 2)
    assert (levels.dtype, levels.shape) == (np.float32, (2, 4, 6, 3))
    np.testing.assert_allclose(levels / 255, codes[:2], atol=2e-4)  # a half float has 11 bits
    other: Any = np.zeros((1, 6, 6, 3), np.float32)
    list(written(names(tmp_path / "other"), iter(other), HDR))
    (tmp_path / "other" / frame_name(0)).rename(tmp_path / frame_name(3))
    with pytest.raises(ArgumentError, match=r"is 6 x 6, the first .*frame_00000\.exr\) 6 x 4"):
        read_exr_clip(exr_files(tmp_path) or (), HDR, None)


@pytest.mark.parametrize("given", ["a_exr", "a_exr/frame_%05d.exr"])
def test_output_would_replace_the_given_frames(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: str,
) -> None:
    pytest.importorskip("OpenEXR", reason="HDR needs the package OpenEXR (extra hdr)")
    fake_pipeline.install(monkeypatch)
    names(tmp_path / "a_exr", frame_name(0), frame_name(1))
    words = ["--hdr", "ACESCG", "--extend", "1", "--video", str(tmp_path / given)]
    assert main(["generate", "a boat", *words, "-o", str(tmp_path / "a.mp4")]) == 2
    assert "which is read for --video" in capsys.readouterr().err
