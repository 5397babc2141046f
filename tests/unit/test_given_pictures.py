"""Given pictures start nothing: formats that Pillow decodes by itself, whatever the name."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from ltx2cpp import media
from ltx2cpp.cli.main import main
from ltx2cpp.errors import ArgumentError
from ltx2cpp.media import given

POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n{} loop\nshowpage\n%%EOF\n"
)
FORMATS = "PNG, JPEG, WEBP, GIF, BMP, TIFF"
FRAMES = np.zeros((1, 64, 64, 3), np.uint8)

Read = Callable[[Path], Any]


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a false interpreter in the path, and return the file that it leaves when started."""
    started = tmp_path / "started"
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "gs"
    program.write_text(f'#!/bin/sh\ntouch "{started}"\nexit 1\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    # Newer versions of Pillow keep the name once they have found it.
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None, raising=False)
    return started


@pytest.mark.parametrize("read", [media.read_picture, media.read_parameters])
@pytest.mark.parametrize("name", ["photo.png", "photo.webp", "photo.gif"])
def test_postscript_starts_no_interpreter(
    tmp_path: Path, ghostscript: Path, name: str, read: Read
) -> None:
    (tmp_path / name).write_bytes(POSTSCRIPT)
    with pytest.raises(ArgumentError, match=FORMATS) as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)
    assert not ghostscript.exists()


@pytest.mark.parametrize("option", ["--image", "--keyframe", "--init-img", "--end-img"])
def test_postscript_as_a_picture_of_the_clip_is_refused(
    tmp_path: Path, ghostscript: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    (tmp_path / "photo.png").write_bytes(POSTSCRIPT)
    words = ["a red circle", option, "photo.png", "-o", "a.webp", "-q", "--steps", "1"]
    assert main(["generate", *words, "--no-prompt-cache"]) == 2
    assert FORMATS in capsys.readouterr().err
    assert not ghostscript.exists()


def test_postscript_as_a_mask_is_refused(
    tmp_path: Path, ghostscript: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mask.png").write_bytes(POSTSCRIPT)
    words = ["a", "--video", "b.mp4", "--retake", ":", "--retake-mask", "mask.png", "-o", "a.webp"]
    assert main(["generate", *words]) == 2
    assert FORMATS in capsys.readouterr().err
    assert not ghostscript.exists()


@pytest.mark.parametrize("name", ["a.ppm", "a.tga", "a.ico", "a.pcx", "a.eps", "a.pdf"])
def test_other_formats_are_refused_whatever_the_name(tmp_path: Path, name: str) -> None:
    Image.fromarray(FRAMES[0]).save(tmp_path / name)
    (tmp_path / name).rename(tmp_path / "a.png")
    with pytest.raises(ArgumentError, match=f"a.png: .*{FORMATS}"):
        media.read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.tiff", "a.avif"])
def test_all_formats_of_the_list_are_read(tmp_path: Path, name: str) -> None:
    Image.init()
    if name == "a.avif" and not ("AVIF" in Image.OPEN and features.check("avif")):
        pytest.skip("this Pillow has no AVIF")
    Image.fromarray(FRAMES[0]).save(tmp_path / name)
    (tmp_path / name).rename(tmp_path / "a.dat")
    assert media.read_picture(tmp_path / "a.dat").shape == (64, 64, 3)


def test_pictures_of_two_views_are_read(tmp_path: Path) -> None:
    # What many cameras write is a JPEG that another module of Pillow takes over.
    image = Image.fromarray(FRAMES[0])
    image.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[image])
    assert media.read_picture(tmp_path / "a.jpg").shape == (64, 64, 3)


@pytest.mark.parametrize("read", [media.read_picture, media.read_parameters])
def test_pictures_far_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Read
) -> None:
    Image.fromarray(FRAMES[0]).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ArgumentError, match="decompression bomb"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("read", [media.read_picture, media.read_parameters])
def test_pictures_too_large_for_their_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Read
) -> None:
    Image.new("RGB", (500, 400)).save(tmp_path / "a.webp", lossless=True)
    monkeypatch.setattr(given, "_USUAL_PIXELS", 199_999)
    monkeypatch.setattr(given, "_PIXELS_PER_BYTE", 100)
    with pytest.raises(ArgumentError, match=r"announces 500 x 400 pixels, and has \d+ bytes"):
        read(tmp_path / "a.webp")
    monkeypatch.setattr(given, "_USUAL_PIXELS", 200_000)
    assert media.read_picture(tmp_path / "a.webp").shape == (400, 500, 3)


def test_damage_is_said_and_its_warnings_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Pillow raises whatever Python does over a wrong number, and warns by Python's means."""
    caplog.set_level("INFO", "ltx2cpp")
    with (
        pytest.raises(ValueError, match=r"^IndexError: no such entry$"),
        given.using_pillow("picture fox.png"),
    ):
        warnings.warn("half of it is missing", stacklevel=1)
        raise IndexError("no such entry")
    assert caplog.messages == ["picture fox.png: half of it is missing"]
    exif = Image.Exif()
    exif[0x010E] = "x" * 40
    Image.fromarray(FRAMES[0]).save(tmp_path / "a.jpg", exif=exif)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content.replace(b"\0\0\0\x29", b"\0\0\xff\x29", 1))
    assert media.read_picture(tmp_path / "a.jpg").shape == (64, 64, 3)
    assert len(caplog.messages) > 1
