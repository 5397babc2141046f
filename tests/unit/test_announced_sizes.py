"""Given files that announce more than memory holds, and machines that have no memory for them."""

from __future__ import annotations

import errno
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltx2cpp import media
from ltx2cpp.errors import ArgumentError, DeviceMemoryError
from ltx2cpp.media import given, streams
from ltx2cpp.media.given import open_regular, using_pillow
from ltx2cpp.media.given_pixels import as_picture

READERS: dict[str, Callable[[Path], object]] = {
    "picture": media.read_picture,
    "video": media.read_video,
    "outline": media.outline_video,
    "sound": media.read_audio,
    "parameters": media.read_parameters,
}


CLIP_READERS = ("video", "outline")


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


@pytest.mark.parametrize("reader", CLIP_READERS)
def test_frames_far_too_large_for_their_file_are_not_decoded(tmp_path: Path, reader: str) -> None:
    first, second = (Image.new("P", (16, 16), shade) for shade in (0, 1))
    path = tmp_path / "fox.gif"
    first.save(path, save_all=True, append_images=[second], duration=40)
    content = bytearray(path.read_bytes())
    content[6:10] = (16000).to_bytes(2, "little") * 2
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match="announces 16000 x 16000 pixels"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", CLIP_READERS)
def test_frames_that_grow_far_too_large_are_not_decoded(
    tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fox.mp4"
    media.save_video(path, [np.zeros((3, 64, 64, 3), np.uint8)], frame_rate=24)
    # The container tells the size of the frames; the bound of their decoder is its own.
    monkeypatch.setattr(streams, "check_pixels", lambda *_: None)
    monkeypatch.setattr(streams, "max_pixels", lambda _: 64 * 64 - 1)
    with pytest.raises(ArgumentError, match="cannot be decoded"):
        READERS[reader](path)


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2_000_000_000])
def test_a_sample_rate_that_no_recorder_has_is_damage(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "fox.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2000))
    for read in (media.read_audio, media.outline_audio):
        with pytest.raises(ArgumentError, match=f"announces {rate} samples per second"):
            read(path)
