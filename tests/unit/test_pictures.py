"""Pictures as they are meant to be seen, compressed and fitted."""

from __future__ import annotations

import io
import logging
import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.media import compress_picture, fit_frames, read_picture

HEIGHT, WIDTH = 6, 10


def quadrants() -> Any:
    """Red, green / blue, grey."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    pixels[:3, :5], pixels[:3, 5:], pixels[3:, :5] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return pixels


def noisy(height: int = 64, width: int = 96) -> Any:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_plain_pictures_are_read_as_they_are(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "a.tiff", "a.webp"):
        Image.fromarray(quadrants()).save(tmp_path / name, lossless=True)
        np.testing.assert_array_equal(read_picture(tmp_path / name), quadrants())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    # What has to be stored so that a viewer turning it shows the quadrants.
    stored = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }[orientation](quadrants())
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), quadrants())


def test_transparent_parts_are_laid_on_white(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    Image.fromarray(np.concatenate([quadrants(), alpha], axis=2)).save(tmp_path / "full.png")
    alpha[:3] = 0
    alpha[3:, :5] = 128
    Image.fromarray(np.concatenate([quadrants(), alpha], axis=2)).save(tmp_path / "part.png")
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        np.testing.assert_array_equal(read_picture(tmp_path / "full.png"), quadrants())
        assert caplog.text == ""
        got = read_picture(tmp_path / "part.png")
    assert "transparent" in caplog.text
    assert (got[:3] == 255).all()
    np.testing.assert_allclose(got[4, 2], [127, 127, 255], atol=1)
    np.testing.assert_array_equal(got[4, 8], [128, 128, 128])


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    grey = (np.arange(HEIGHT * WIDTH, dtype=np.uint16) * 1000).reshape(HEIGHT, WIDTH)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    got = read_picture(tmp_path / "grey.png")
    np.testing.assert_array_equal(got, np.repeat((grey >> 8)[..., None], 3, axis=2))


def test_other_modes_become_rgb(tmp_path: Path) -> None:
    Image.fromarray(quadrants()).convert("P", palette=Image.Palette.ADAPTIVE).save(
        tmp_path / "palette.png"
    )
    np.testing.assert_allclose(read_picture(tmp_path / "palette.png"), quadrants(), atol=2)
    Image.fromarray(quadrants()).convert("L").save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png").shape == (HEIGHT, WIDTH, 3)
    Image.fromarray(quadrants()).convert("CMYK").save(tmp_path / "print.tiff")
    np.testing.assert_allclose(read_picture(tmp_path / "print.tiff"), quadrants(), atol=1)


def test_colour_profiles_are_applied(tmp_path: Path) -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(grey).save(tmp_path / "same.png", icc_profile=profile)
    np.testing.assert_allclose(read_picture(tmp_path / "same.png"), grey, atol=1)
    # A profile of linear light: the same numbers mean brighter colours.
    linear = linear_profile()
    Image.fromarray(grey).save(tmp_path / "linear.png", icc_profile=linear)
    np.testing.assert_allclose(read_picture(tmp_path / "linear.png"), 188, atol=3)


def linear_profile() -> bytes:
    """The sRGB profile with its three tone curves replaced by the identity."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    for index in range(count):
        entry = 132 + 12 * index
        if profile[entry : entry + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            offset = int.from_bytes(profile[entry + 4 : entry + 8], "big")
            profile[offset : offset + 12] = b"curv" + bytes(8)
    return bytes(profile)


def test_broken_colour_profiles_are_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(quadrants()).save(tmp_path / "a.png", icc_profile=b"nonsense")
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), quadrants())
    assert "colour profile is ignored" in caplog.text


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noisy()).save(buffer, format="PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:2000])
    (tmp_path / "empty.png").touch()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tiff")
    for name in ("cut.png", "empty.png", "float.tiff"):
        with pytest.raises(ArgumentError, match=f"picture .*{name}: cannot be decoded"):
            read_picture(tmp_path / name)
    with pytest.raises(ArgumentError, match=r"nothing\.png: does not exist"):
        read_picture(tmp_path / "nothing.png")


def test_compression_is_one_h264_round_trip(tmp_path: Path) -> None:
    picture = noisy(65, 97)
    path = tmp_path / "one.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=1)
        stream.options = {"crf": "33", "preset": "veryfast"}
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:64, :96]), "rgb24")
        for packet in [*stream.encode(frame.reformat(format="yuv420p")), *stream.encode()]:
            container.mux(packet)
    with av.open(str(path)) as container:
        want = next(container.decode(video=0)).to_ndarray(format="rgb24")
    got = compress_picture(picture, 33)
    np.testing.assert_array_equal(got, want)
    coarse = np.abs(compress_picture(picture, 45).astype(int) - picture[:64, :96]).mean()
    fine = np.abs(compress_picture(picture, 5).astype(int) - picture[:64, :96]).mean()
    assert fine < np.abs(got.astype(int) - picture[:64, :96]).mean() < coarse


def test_compression_zero_is_none_and_tiny_pictures_are_refused() -> None:
    picture = noisy(5, 7)
    assert compress_picture(picture, 0) is picture
    with pytest.raises(ArgumentError, match="1 x 9 pixels cannot be compressed"):
        compress_picture(noisy(9, 1), 33)


def bilinear(frame: Any, height: int, width: int) -> Any:
    """Scale with half-pixel centres, one value at a time, in float64."""
    source_height, source_width = frame.shape[:2]
    result = np.empty((height, width, frame.shape[2]))
    for y in range(height):
        for x in range(width):
            v = max((y + 0.5) * source_height / height - 0.5, 0.0)
            u = max((x + 0.5) * source_width / width - 0.5, 0.0)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, source_height - 1), min(left + 1, source_width - 1)
            a, b = v - top, u - left
            upper = (1 - b) * frame[top, left] + b * frame[top, right]
            lower = (1 - b) * frame[bottom, left] + b * frame[bottom, right]
            result[y, x] = (1 - a) * upper + a * lower
    return result


@pytest.mark.parametrize(
    ("source", "size"),
    [((20, 30), (32, 32)), ((90, 41), (32, 64)), ((37, 100), (32, 32)), ((7, 9), (64, 32))],
)
def test_fitting_is_bilinear_without_smoothing(
    source: tuple[int, int], size: tuple[int, int]
) -> None:
    frame, (width, height) = noisy(*source), size
    scale = max(height / source[0], width / source[1])
    scaled_height, scaled_width = math.ceil(source[0] * scale), math.ceil(source[1] * scale)
    whole = bilinear(frame.astype(np.float64), scaled_height, scaled_width)
    top, left = (scaled_height - height) // 2, (scaled_width - width) // 2
    got = fit_frames(frame[None], width, height)
    assert got.shape == (1, height, width, 3) and got.dtype == np.float32
    np.testing.assert_allclose(got[0], whole[top : top + height, left : left + width], atol=2e-3)


def test_fitting_to_the_same_size_changes_nothing() -> None:
    frames = noisy()[None]
    np.testing.assert_array_equal(fit_frames(frames, 96, 64), frames)


def test_fitting_needs_frames() -> None:
    with pytest.raises(ShapeError, match="expected"):
        fit_frames(noisy(), 32, 32)
