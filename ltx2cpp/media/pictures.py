"""Pictures a clip starts from: read as 8-bit sRGB, compressed like video, fitted to a size."""

from __future__ import annotations

import io
import logging
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError, OutputError, ShapeError
from ltx2cpp.machine.room import check_room_after
from ltx2cpp.media.clips import first_picture, is_video
from ltx2cpp.media.encoding import repeatable_x264
from ltx2cpp.media.given import UnknownPictureError, decoding, open_picture, using_pillow
from ltx2cpp.media.levels import on_white

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("ltx2cpp")

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_PROFILED_MODES = ("RGB", "L", "CMYK", "LAB")
# The pages of a TIFF are no animation.
_ANIMATED_FORMATS = ("PNG", "WEBP", "GIF")
_MAX_SIDE = 65535
MAX_CRF = 51


def read_picture(path: str | os.PathLike[str]) -> Pixels:
    """Read a picture as it is meant to be seen.

    Turned as its EXIF orientation says, converted to sRGB where it carries a colour profile; CMYK,
    palettes, grey and 16-bit values become 8-bit RGB; transparent parts are laid on white.

    Args:
        path: a regular file: PNG, JPEG, WebP, GIF, BMP, TIFF or, where Pillow has it, AVIF; of an
            animation and of a clip the first picture.

    Returns:
        uint8 ``(height, width, 3)``.

    Raises:
        ArgumentError: the file cannot be read as a picture.
    """
    name = f"picture {os.fspath(path)}"
    with decoding(name):
        try:
            with open_picture(path) as picture:
                return read_image(picture, name)
        except UnknownPictureError:
            if not is_video(path):
                raise
    logger.warning("%s: is a clip, its first picture is taken", name)
    return first_picture(path)


def is_animation(path: str | os.PathLike[str]) -> bool:
    """Return whether a picture is an animated one, as PNG, WebP and GIF can be.

    Raises:
        ArgumentError: as `read_picture`.
    """
    name = f"picture {os.fspath(path)}"
    with decoding(name), open_picture(path) as picture, using_pillow(name):
        moves: bool = getattr(picture, "is_animated", False)
        return moves and picture.format in _ANIMATED_FORMATS


def read_image(picture: Image, name: str) -> Pixels:
    """Return a picture of Pillow as it is meant to be seen; see `read_picture`.

    Args:
        picture: decoded or not.
        name: what messages call it.

    Raises:
        ValueError, OSError: it cannot be decoded, or holds values of an unknown range.
    """
    from PIL import ImageOps

    with using_pillow(name):
        picture.load()
        profile = picture.info.get("icc_profile")
        image = ImageOps.exif_transpose(picture)
    return np.array(_to_rgb(image, profile, name), dtype=np.uint8)


def flat_rgb(pixels: Pixels, name: str) -> Pixels:
    """Lay pixels with alpha on white.

    Args:
        pixels: uint8 ``(..., 4)``, colours not multiplied by alpha.
        name: what messages call them.

    Returns:
        uint8 ``(..., 3)``.
    """
    if pixels[..., 3].min() == 255:
        return pixels[..., :3]
    logger.warning("%s: its transparent parts are laid on white", name)
    return on_white(pixels)


def _to_rgb(image: Image, profile: bytes | None, name: str) -> Image:
    from PIL import Image

    if image.mode in _SIXTEEN_BIT_MODES:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("its values are wider than 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("it holds floating-point values, whose range is not known")
    if image.mode == "P" or (image.mode in ("RGB", "L", "1") and "transparency" in image.info):
        image = image.convert("RGBA")
    alpha = None
    if image.mode in ("RGBA", "LA", "RGBa", "La", "PA"):
        straight = image.convert("RGBA")
        alpha, image = straight.getchannel("A"), straight.convert("RGB")
    rgb = _apply_profile(image, profile, name) if profile else image.convert("RGB")
    if alpha is not None and alpha.getextrema() != (255, 255):
        logger.warning("%s: its transparent parts are laid on white", name)
        white = Image.new("RGB", rgb.size, (255, 255, 255))
        white.paste(rgb, mask=alpha)
        return white
    return rgb


def _apply_profile(image: Image, profile: bytes, name: str) -> Image:
    from PIL import ImageCms

    if image.mode not in _PROFILED_MODES:
        image = image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ImportError) as error:
        logger.warning("%s: its colour profile is ignored: %s", name, error)
        return image.convert("RGB")
    assert converted is not None
    return converted


def compress_picture(picture: Pixels, crf: int) -> Pixels:
    """Give a picture the noise of video compression by one round trip through H.264.

    The model was trained on frames of videos; a picture that is too clean tends to stay still.

    Args:
        picture: uint8 ``(height, width, 3)``.
        crf: 0 to 51, higher is coarser; 0 returns the picture itself.

    Returns:
        uint8 ``(height, width, 3)``, both sides cut to even numbers unless ``crf`` is 0.

    Raises:
        ArgumentError: the picture is smaller than two pixels or too large to compress.
        OutputError: this build of PyAV has no H.264 encoder.
        DeviceMemoryError: memory or threads are lacking.
    """
    if crf == 0:
        return picture
    import av

    from ltx2cpp.media.video import check_encoder

    height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
    if not 0 < min(height, width) <= max(height, width) <= _MAX_SIDE:
        raise ArgumentError(
            f"picture: {picture.shape[1]} x {picture.shape[0]} pixels cannot be compressed as "
            "video; give it a size of at least 2 x 2, or crf=0"
        )
    check_encoder()
    frame = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(picture[:height, :width]), format="rgb24"
    ).reformat(format="yuv420p")
    try:
        decoded = _decode(_encode(frame, width, height, crf))
    except av.FFmpegError as error:
        check_room_after(error, "picture: its compression as video")
        raise OutputError(f"picture: its compression as video failed: {error}") from error
    result: Pixels = decoded.to_ndarray(format="rgb24")
    return result


def _encode(frame: Any, width: int, height: int, crf: int) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="mp4") as container:
        stream: Any = container.add_stream(
            "libx264",
            rate=1,
            options={"crf": str(crf), "preset": "veryfast", **repeatable_x264()},
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    return buffer.getvalue()


def _decode(encoded: bytes) -> Any:
    import av

    with av.open(io.BytesIO(encoded), mode="r") as container:
        return next(container.decode(video=0))


def fit_frames(frames: NDArray[Any], width: int, height: int) -> Floats:
    """Scale frames to cover a size and cut the middle out.

    Bilinear with half-pixel centres and without smoothing before making smaller, as the model's
    authors do; programs that smooth give other values for large pictures.

    Args:
        frames: ``(n, h, w, channels)``, any real type.
        width, height: wanted size in pixels.

    Returns:
        float32 ``(n, height, width, channels)``, in the range of ``frames``, not rounded.
    """
    if frames.ndim != 4 or 0 in frames.shape:
        raise ShapeError(f"frames: expected (n, height, width, channels), found {frames.shape}")
    source_height, source_width = frames.shape[1:3]
    scale = max(height / source_height, width / source_width)
    new_height, new_width = math.ceil(source_height * scale), math.ceil(source_width * scale)
    top, left = (new_height - height) // 2, (new_width - width) // 2
    rows = _taps(source_height, new_height, top, height)
    columns = _taps(source_width, new_width, left, width)
    result = np.empty((len(frames), height, width, frames.shape[3]), np.float32)
    for target, frame in zip(result, frames, strict=True):
        # Only the rows and columns that are read are converted.
        lines = _mix(frame, rows, axis=0)
        target[...] = _mix(lines, columns, axis=1)
    return result


Taps = tuple[NDArray[np.intp], NDArray[np.intp], Floats]


def _taps(source: int, scaled: int, first: int, count: int) -> Taps:
    """Return lower and upper source index and the upper one's weight for a run of places."""
    step = np.float32(source / scaled)
    places = np.arange(first, first + count, dtype=np.float32)
    centre = np.maximum((places + np.float32(0.5)) * step - np.float32(0.5), np.float32(0))
    low = np.minimum(centre.astype(np.intp), source - 1)
    high = np.minimum(low + 1, source - 1)
    return low, high, (centre - low).astype(np.float32)


def _mix(values: NDArray[Any], taps: Taps, axis: int) -> Floats:
    low, high, weight = taps
    shape = [1] * values.ndim
    shape[axis] = -1
    share = weight.reshape(shape)
    lower = np.take(values, low, axis=axis).astype(np.float32)
    upper = np.take(values, high, axis=axis).astype(np.float32)
    result: Floats = lower * (np.float32(1) - share) + upper * share
    return result
