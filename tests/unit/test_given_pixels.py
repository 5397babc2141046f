"""Pictures in memory of all usual types."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltx2cpp.conditioning import (
    Extend,
    Foley,
    ImageCondition,
    ReferenceVideo,
    Retake,
    VideoCondition,
    as_conditions,
    as_pictures,
)
from ltx2cpp.errors import ArgumentError
from ltx2cpp.media import read_picture

HEIGHT, WIDTH = 6, 10
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY = np.ascontiguousarray(RGB[..., 0])
GREY_AS_RGB = np.repeat(GREY[..., None], 3, axis=2)


class Tensor:
    """What numpy makes an array of, and nothing else."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if isinstance(self.values, Exception):
            raise self.values
        return np.array(self.values, dtype)


def with_alpha(alpha: int) -> Any:
    return np.concatenate([RGB, np.full((HEIGHT, WIDTH, 1), alpha, np.uint8)], axis=2)


PICTURES = {
    "RGB": (RGB, RGB),
    "grey": (GREY, GREY_AS_RGB),
    "grey with an axis": (GREY[..., None], GREY_AS_RGB),
    "opaque": (with_alpha(255), RGB),
    "transparent": (with_alpha(0), np.full_like(RGB, 255)),
    "16 bits": (RGB.astype(np.uint16) << 8, RGB),
    "tensor": (Tensor(RGB), RGB),
    "grey tensor": (Tensor(GREY), GREY_AS_RGB),
    "Pillow RGB": (Image.fromarray(RGB), RGB),
    "Pillow grey": (Image.fromarray(GREY), GREY_AS_RGB),
    "Pillow opaque": (Image.fromarray(with_alpha(255)), RGB),
    "Pillow transparent": (Image.fromarray(with_alpha(0)), np.full_like(RGB, 255)),
    "Pillow 16 bits": (Image.fromarray(GREY.astype(np.uint16) << 8), GREY_AS_RGB),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_usual_types_are_taken(kind: str) -> None:
    given, expected = PICTURES[kind]
    for condition in (
        ImageCondition(given),
        *as_pictures(given),
        *as_pictures([given]),
        *as_pictures([(given, 0, 0.5)]),
        *as_conditions([given]),
    ):
        assert isinstance(condition, ImageCondition)
        assert isinstance(condition.picture, np.ndarray)
        assert condition.picture.dtype == np.uint8
        np.testing.assert_array_equal(condition.picture, expected)


@pytest.mark.parametrize("alpha", [0, 1, 128, 254, 255])
def test_alpha_in_memory_means_what_it_means_in_a_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, alpha: int
) -> None:
    Image.fromarray(with_alpha(alpha)).save(tmp_path / "a.png")
    expected = read_picture(tmp_path / "a.png").astype(int)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        for given in (with_alpha(alpha), Image.fromarray(with_alpha(alpha))):
            got: Any = ImageCondition(given).picture
            np.testing.assert_allclose(got.astype(int), expected, atol=1)
    assert ("laid on white" in caplog.text) == (alpha < 255)


def test_a_pillow_picture_is_turned_as_its_file_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        got: Any = ImageCondition(opened).picture  # type: ignore[arg-type]
    np.testing.assert_array_equal(got, read_picture(tmp_path / "a.png"))
    assert got.shape == (WIDTH, HEIGHT, 3)


@pytest.mark.parametrize("make", [VideoCondition, ReferenceVideo, Retake, Foley])
def test_videos_of_usual_types_are_taken(make: Any) -> None:
    for given, expected in PICTURES.values():
        frames = make([given] * 9).video
        assert frames.dtype == np.uint8
        np.testing.assert_array_equal(frames, np.stack([expected] * 9))
    stacked = np.stack([with_alpha(255)] * 9)
    for video in (stacked, Tensor(stacked)):
        np.testing.assert_array_equal(make(video).video, stacked[..., :3])
    assert Extend(np.zeros((9, 4, 4, 1), np.uint8), 1.0).video.shape == (9, 4, 4, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (RGB / 255, r"found float64 of shape .*numpy\.rint\(255"),
        (np.moveaxis(RGB, -1, 0), r"channels come last: numpy\.moveaxis"),
        (Tensor(RGB.astype(np.float32)), r"found float32 of shape .*numpy"),
        (Tensor(TypeError("is on cuda:0; use Tensor.cpu()")), "Tensor does not become .*cpu"),
        (RGB.astype(np.int64), "expected a file or uint8"),
        (RGB[..., :2], "expected a file or uint8"),
        (np.zeros((0, 4, 3), np.uint8), "expected a file or uint8"),
        (np.zeros((9, 4, 4, 3), np.uint8), "expected a file or uint8"),
        (Image.fromarray(GREY.astype(np.float32)), "floating-point values"),
        (np.uint8(3), "expected a file or an array, found uint8"),
        (object(), "expected a file or an array, found object"),
    ],
)
def test_others_are_refused_with_the_way_out(given: Any, sentence: str) -> None:
    with pytest.raises(ArgumentError, match=f"^picture: .*{sentence}"):
        ImageCondition(given)


def test_frames_of_two_sizes_are_refused() -> None:
    with pytest.raises(ArgumentError, match="expected frames of one size, found 2 sizes"):
        VideoCondition([RGB, RGB[1:]])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="expected frames of one size, found 0 sizes"):
        VideoCondition([])  # type: ignore[arg-type]
