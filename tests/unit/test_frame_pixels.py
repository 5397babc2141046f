"""Clips as players show them: sizes, shapes of pixels, orientation, colours."""

from __future__ import annotations

import logging
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ltx2cpp.conditioning import Foley, Retake
from ltx2cpp.conditioning.foley import read_footage
from ltx2cpp.conditioning.placement import source_size
from ltx2cpp.errors import ArgumentError
from ltx2cpp.media import read_video, save_video

Pixels = NDArray[np.uint8]


def quadrants(width: int = 96, height: int = 64) -> Pixels:
    """Red, green / blue, white."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    return pixels


def corners(pixels: Pixels) -> str:
    """Return which of the four colours is in each quarter, row by row."""
    names = {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w"}
    height, width = pixels.shape[:2]
    return "".join(
        names[tuple(int(value > 127) for value in pixels[y * height // 4, x * width // 4])]
        for y in (1, 3)
        for x in (1, 3)
    )


def write(path: Path, pixels: Pixels, *, codec: str = "libx264", **context: Any) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=24)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = context.pop("pix_fmt", "yuv420p")
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for _ in range(9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("width", "height"), [(97, 65), (97, 64), (96, 65), (96, 64)])
@pytest.mark.parametrize("as_file", [True, False])
def test_odd_clips_that_get_a_sound_lose_a_row_or_column(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, as_file: bool, width: int, height: int
) -> None:
    pixels = quadrants(width, height)
    video: Any = np.repeat(pixels[None], 9, axis=0)
    if as_file:
        video = write(tmp_path / "a.mkv", pixels, codec="ffv1", pix_fmt="yuv444p")
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        frames = read_footage([Foley(video)], 24.0, None).given_frames
    assert frames.shape == (9, 64, 96, 3)
    odd = (width, height) != (96, 64)
    assert (f"{width} x {height} is cut to 96 x 64" in caplog.text) == odd
    np.testing.assert_allclose(frames[0].astype(int), pixels[:64, :96], atol=3)
    save_video(tmp_path / "out.mp4", [frames], frame_rate=24)


@pytest.mark.parametrize(
    ("aspect", "shown"),
    [
        *[(Fraction(2), (192, 64)), (Fraction(1, 2), (96, 128)), (Fraction(1), (96, 64))],
        *[(Fraction(4, 3), (128, 64)), (Fraction(16, 15), (102, 64)), (Fraction(8, 9), (96, 72))],
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_pixels_that_are_not_square_become_square(
    tmp_path: Path, name: str, aspect: Fraction, shown: tuple[int, int]
) -> None:
    path = write(tmp_path / name, quadrants(), sample_aspect_ratio=aspect)
    frames = read_video(path).frames
    assert frames.shape == (9, shown[1], shown[0], 3)
    assert corners(frames[0]) == "rgbw"
    cells = (shown[0] // 32 * 32, shown[1] // 32 * 32)
    assert source_size([Retake(path)], 24.0) == (*cells, 9)


def test_pixels_of_absurd_shapes_are_taken_for_square(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.mp4", quadrants(), sample_aspect_ratio=Fraction(20))
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        assert read_video(path).frames.shape == (9, 64, 96, 3)
    assert "taken for square" in caplog.text


IDENTITY = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
# Of a place (x, y) in the file to (a x + c y, b x + d y) on the screen.
TURNS = {
    (1, 0, 0, 1): "rgbw",
    (0, 1, -1, 0): "brwg",
    (-1, 0, 0, -1): "wbgr",
    (0, -1, 1, 0): "gwrb",
    (-1, 0, 0, 1): "grwb",
    (1, 0, 0, -1): "bwrg",
    (0, 1, 1, 0): "rbgw",
    (0, -1, -1, 0): "wgbr",
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(2)])
def test_turned_and_mirrored_clips_are_upright(
    tmp_path: Path, turn: tuple[int, int, int, int], aspect: Fraction
) -> None:
    path = write(tmp_path / "a.mp4", quadrants(), sample_aspect_ratio=aspect)
    a, b, c, d = (value << 16 for value in turn)
    data = path.read_bytes()
    # The matrix of the track, not that of the whole file.
    at = data.index(IDENTITY, data.index(b"tkhd"))
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:at] + matrix + data[at + len(matrix) :])
    frames = read_video(path).frames
    width, height = 96 * int(aspect), 64
    assert frames.shape[1:3] == ((height, width) if turn[0] else (width, height))
    assert corners(frames[0]) == TURNS[turn]


# Code point of H.273, and the kR and kB of its matrix.
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def write_yuv(path: Path, height: int, matrix: tuple[float, float], **context: Any) -> Pixels:
    """Write one colour by a matrix, limited range; return it."""
    colour = np.array([200, 60, 90], np.uint8)
    red, green, blue = colour / 255
    red_share, blue_share = matrix
    luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    values = (
        16 + 219 * luma,
        128 + 224 * (blue - luma) / (2 - 2 * blue_share),
        128 + 224 * (red - luma) / (2 - 2 * red_share),
    )
    name = context.pop("pix_fmt", "yuv444p")
    kind, scale = (np.uint16, 4) if "10" in name else (np.uint8, 1)
    frame = av.VideoFrame(64, height, name)
    for plane, value in zip(frame.planes, values, strict=True):
        size = plane.buffer_size // np.dtype(kind).itemsize
        plane.update(np.full(size, round(value * scale), kind).tobytes())
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, height, name
        for key, tag in context.items():
            setattr(stream.codec_context, key, tag)
            setattr(frame, key, tag)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return colour


@pytest.mark.parametrize("height", [480, 720])
@pytest.mark.parametrize("tag", [None, *MATRICES])
@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le"])
def test_colours_are_those_of_the_tag_or_of_the_height(
    tmp_path: Path, height: int, tag: int | None, pix_fmt: str
) -> None:
    path = tmp_path / "a.mkv"
    matrix = MATRICES[tag or (1 if height >= 720 else 5)]
    context = {} if tag is None else {"colorspace": tag}
    colour = write_yuv(path, height, matrix, pix_fmt=pix_fmt, color_range=1, **context)
    (pixels,) = read_video(path).frames
    np.testing.assert_allclose(pixels[height // 2, 32].astype(int), colour, atol=3)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_by_name(tmp_path: Path, transfer: int, name: str) -> None:
    path = tmp_path / "a.mkv"
    write_yuv(path, 64, MATRICES[9], pix_fmt="yuv444p10le", colorspace=9, color_trc=transfer)
    with pytest.raises(ArgumentError, match=rf"a\.mkv: is HDR \({name}.* tonemap"):
        read_video(path)
    with pytest.raises(ArgumentError, match="is HDR"):
        source_size([Retake(path)], 24.0)
