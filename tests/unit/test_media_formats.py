"""The output name chooses the format, and what cannot be written is refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltx2cpp.errors import ArgumentError, OutputError
from ltx2cpp.media import OutputFormat, check_output, output_format


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.mp4", OutputFormat.MP4),
        ("a.b.MP4", OutputFormat.MP4),
        ("a.mov", OutputFormat.MOV),
        ("a.MKV", OutputFormat.MKV),
        ("a.webm", OutputFormat.WEBM),
        ("a.webp", OutputFormat.WEBP),
        ("a.gif", OutputFormat.GIF),
        ("a.png", OutputFormat.PNG),
        ("frames/", OutputFormat.PNG_FOLDER),
        ("a.safetensors", OutputFormat.LATENTS),
    ],
)
def test_output_format_follows_the_name(name: str, expected: OutputFormat) -> None:
    assert output_format(name) is expected


def test_output_format_takes_an_existing_folder_for_png_files(tmp_path: Path) -> None:
    assert output_format(tmp_path) is OutputFormat.PNG_FOLDER


@pytest.mark.parametrize("name", ["a.avi", "a", "", ".mp4"])
def test_output_format_lists_the_known_extensions(name: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"\.mp4, \.mov, \.mkv, \.webm, \.webp, \.gif, \.png, \.safetensors"
    ):
        output_format(name)


@pytest.mark.parametrize(
    ("name", "num_frames", "frame_rate", "sentence"),
    [
        ("a.png", 9, 24.0, "holds one frame but the clip has 9"),
        ("a.gif", 9, 60.0, "at most 50 frames per second"),
        ("a.mp4", 9, 0.0, "out of range"),
    ],
)
def test_check_output_refuses_what_the_format_cannot_hold(
    tmp_path: Path, name: str, num_frames: int, frame_rate: float, sentence: str
) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        check_output(tmp_path / name, num_frames=num_frames, frame_rate=frame_rate)


def test_check_output_refuses_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        check_output(tmp_path / "no" / "a.mp4", num_frames=9, frame_rate=24.0)


def test_check_output_refuses_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        check_output(tmp_path, num_frames=9, frame_rate=24.0)


@pytest.mark.parametrize(
    ("name", "available", "missing"),
    [
        ("a.mp4", {"mpeg4"}, "libx264"),
        ("a.mkv", {"libx264"}, "aac"),
        ("a.webm", {"libx264", "aac"}, "libvpx-vp9"),
        ("a.webm", {"libvpx-vp9", "aac"}, "libopus"),
    ],
)
def test_check_output_says_that_the_encoder_is_missing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    available: set[str],
    missing: str,
) -> None:
    monkeypatch.setattr("av.codecs_available", available)
    with pytest.raises(OutputError, match=f"has no {missing}"):
        check_output(tmp_path / name)
    assert check_output(tmp_path / "a.webp") is OutputFormat.WEBP


def test_check_output_leaves_nothing(tmp_path: Path) -> None:
    chosen = check_output(tmp_path / "a.mp4", num_frames=9, frame_rate=24.0)
    assert chosen is OutputFormat.MP4
    assert list(tmp_path.iterdir()) == []
