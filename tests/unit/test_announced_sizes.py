"""Given files that announce more than memory holds, and machines that have no memory for them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ltx2cpp import media
from ltx2cpp.errors import ArgumentError, DeviceMemoryError
from ltx2cpp.media import given
from ltx2cpp.media.given import open_regular, using_pillow
from ltx2cpp.media.given_pixels import as_picture

READERS: dict[str, Callable[[Path], object]] = {
    "picture": media.read_picture,
    "video": media.read_video,
    "outline": media.outline_video,
    "sound": media.read_audio,
    "parameters": media.read_parameters,
}


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


@pytest.fixture
def many_items(tmp_path: Path) -> Path:
    """Return an AVIF whose list of items claims some milliards; FFmpeg asks for their memory."""
    places = box(b"iloc", b"\2\0\0\0" + b"\x44\0" + b"\x44\0\0\1")
    items = box(b"hdlr", bytes(8) + b"pict" + bytes(13)) + places
    path = tmp_path / "fox.mp4"
    path.write_bytes(
        box(b"ftyp", b"avif" + bytes(4) + b"avifmif1") + box(b"meta", bytes(4) + items)
    )
    return path


@pytest.mark.parametrize("reader", READERS)
def test_a_count_beyond_memory_is_damage(many_items: Path, reader: str) -> None:
    with pytest.raises(ArgumentError, match="damaged") as caught:
        READERS[reader](many_items)
    # The exit code of a command goes by what an error comes of.
    assert not isinstance(caught.value.__cause__, MemoryError)
    assert getattr(caught.value.__cause__, "errno", None) != errno.ENOMEM


def test_a_decoder_without_memory_is_told_from_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fox.png"
    path.touch()
    with pytest.raises(ValueError, match="announces more"), open_regular(path):
        raise MemoryError
    monkeypatch.setattr(given, "has_room", lambda _: False)
    with pytest.raises(DeviceMemoryError, match="fox"), open_regular(path):
        raise MemoryError


def test_a_picture_in_memory_without_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", load)
    picture = Image.new("RGB", (8, 8))
    with pytest.raises(ArgumentError, match="announces more"):
        as_picture("image", picture)
    with pytest.raises(MemoryError), using_pillow("image"):
        picture.load()
