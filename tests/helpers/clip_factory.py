"""Clips as phones, recorders and editors make them, written by PyAV.

Each shows a test card: four coloured quarters, and in the middle a field that turns from black to
white at the moment when a click is heard. Colours become luma and chroma by the formulas of ITU-T
H.273 here, not by the scaler that reads them back.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]

# The quarters row by row, and the field in the middle before and after the click.
QUARTERS = ((200, 60, 60), (60, 190, 70), (60, 80, 200), (220, 210, 90))
BEFORE, AFTER = (16, 16, 16), (240, 240, 240)
_TICKS = 1000
# kR and kB by the code point of the matrix in H.273.
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
BT709, BT601, BT2020 = 1, 6, 9
LIMITED, FULL = 1, 2

# Of a place (x, y) in the file to (a x + c y, b x + d y) on the screen: EXIF's 1 to 8.
UPRIGHT = (1, 0, 0, 1)
MIRRORED = (-1, 0, 0, 1)
HALF_TURN = (-1, 0, 0, -1)
FLIPPED = (1, 0, 0, -1)
TRANSPOSED = (0, 1, 1, 0)
RIGHT_TURN = (0, 1, -1, 0)
TRANSVERSED = (0, -1, -1, 0)
LEFT_TURN = (0, -1, 1, 0)
# Which quarter of the card is seen in each quarter of the screen.
_SEEN = {
    UPRIGHT: (0, 1, 2, 3),
    MIRRORED: (1, 0, 3, 2),
    HALF_TURN: (3, 2, 1, 0),
    FLIPPED: (2, 3, 0, 1),
    TRANSPOSED: (0, 2, 1, 3),
    RIGHT_TURN: (2, 0, 3, 1),
    TRANSVERSED: (3, 1, 2, 0),
    LEFT_TURN: (1, 3, 0, 2),
}

# The channel that clicks, and the level of that click on both sides after the mix of BS.775.
_LAYOUTS = {
    "mono": (0, (1.0, 1.0)),
    "stereo": (0, (1.0, 0.0)),
    "5.1": (2, (0.5**0.5, 0.5**0.5)),
    "5.1(side)": (4, (0.5**0.5, 0.0)),
    "7.1": (7, (0.0, 0.5**0.5)),
    "quad": (3, (0.0, 0.5**0.5)),
}


def even_times(rate: float | Fraction, seconds: float = 1.5) -> tuple[Fraction, ...]:
    """Return when the frames of a steady clip are shown."""
    exact = Fraction(rate).limit_denominator(1001)
    return tuple(index / exact for index in range(round(seconds * exact)))


def uneven_times(*runs: tuple[int, int]) -> tuple[Fraction, ...]:
    """Return times in whole milliseconds of runs of (number of frames, milliseconds each)."""
    lengths = [length for count, length in runs for _ in range(count)]
    return tuple(Fraction(ms, _TICKS) for ms in itertools.accumulate(lengths[:-1], initial=0))


@dataclass(frozen=True)
class Clip:
    """A clip to write.

    Attributes:
        name: file name; the extension chooses the container.
        codec, pix_fmt: of the pictures.
        size: width and height as coded.
        times: when each frame is shown, in seconds from the first on.
        rate: what the header says of the rate.
        click: number of the frame at which the field turns white and the click is heard.
        start_s: when the first frame is shown, in seconds of the file; negative ones are cut off by
            an edit list.
        aspect: how many times as wide as high pixels are.
        turn: how it is turned and mirrored on the screen.
        matrix, colour_range: of the values; ``tags`` says whether the file tells.
        sound: codec of the sound, or None.
        sound_rate, layout: its sample rate, and one of `_LAYOUTS`.
        sound_start_s: when the sound starts, in seconds of the file.
        sound_gap_s: seconds from the first frame on that the file leaves out of its sound.
        options, codec_options: of muxer and encoder.
        cover, second_pictures: whether it holds a picture of an album, or a small second track.
        damage: changes the bytes of the finished file.
        shown: width and height on the screen; None is the coded size.
        seconds: how long it lasts; None follows from ``times``.
        kept_from: number of the first frame that is shown.
    """

    name: str
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (96, 64)
    times: tuple[Fraction, ...] = even_times(24)
    rate: Fraction = Fraction(24)
    click: int = 13
    start_s: Fraction = Fraction(0)
    aspect: Fraction = Fraction(1)
    turn: tuple[int, int, int, int] = UPRIGHT
    matrix: int = BT601
    colour_range: int = LIMITED
    tags: dict[str, int] = field(default_factory=dict)
    sound: str | None = "aac"
    sound_rate: int = 48000
    layout: str = "stereo"
    sound_start_s: Fraction = Fraction(0)
    sound_gap_s: tuple[float, float] | None = None
    options: dict[str, str] = field(default_factory=dict)
    codec_options: dict[str, str] = field(default_factory=dict)
    cover: bool = False
    second_pictures: bool = False
    damage: Callable[[bytes], bytes] | None = None
    shown: tuple[int, int] | None = None
    seconds: float | None = None
    kept_from: int = 0

    @property
    def lasts_s(self) -> float:
        """How long it is shown."""
        if self.seconds is not None:
            return self.seconds
        last = self.times[-1] - self.times[-2]
        return float(self.times[-1] + last - self.times[self.kept_from])

    @property
    def click_s(self) -> float:
        """When the click is heard, from the first shown frame on."""
        return float(self.times[self.click] - self.times[self.kept_from])

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height on the screen."""
        return self.shown or self.size

    @property
    def seen(self) -> list[tuple[int, int, int]]:
        """The colours on the screen, row by row."""
        return [QUARTERS[index] for index in _SEEN[self.turn]]

    @property
    def click_levels(self) -> tuple[float, float]:
        """How loud the click is on the left and on the right, 1 as written."""
        return _LAYOUTS[self.layout][1]


def card(size: tuple[int, int], *, clicked: bool) -> Pixels:
    """Return the test card, uint8 (height, width, 3)."""
    width, height = size
    pixels = np.empty((height, width, 3), np.uint8)
    rows, columns = (
        (slice(height // 2), slice(height // 2, None)),
        (
            slice(width // 2),
            slice(width // 2, None),
        ),
    )
    for colour, (row, column) in zip(QUARTERS, itertools.product(rows, columns), strict=True):
        pixels[row, column] = colour
    middle = slice(3 * height // 8, 5 * height // 8), slice(3 * width // 8, 5 * width // 8)
    pixels[middle] = AFTER if clicked else BEFORE
    return pixels


def write(folder: Path, clip: Clip) -> Path:
    """Write a clip; return its path."""
    path = folder / clip.name
    with av.open(str(path), "w", options=dict(clip.options)) as container:
        cover = _cover(container, clip)
        pictures = _add_pictures(container, clip)
        others = [*cover, *_small_track(container, clip)]
        sound = _add_sound(container, clip)
        packets = [*others, *_encode_pictures(pictures, clip)]
        if sound is not None:
            packets += _encode_sound(sound, clip)
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        for packet in packets:
            container.mux(packet)
    data = path.read_bytes()
    if clip.turn != UPRIGHT:
        data = _turned(data, clip.turn)
    if clip.damage is not None:
        data = clip.damage(data)
    path.write_bytes(data)
    return path


def _add_pictures(container: Any, clip: Clip) -> Any:
    stream: Any = container.add_stream(clip.codec, rate=clip.rate)
    stream.width, stream.height = clip.size
    stream.pix_fmt, stream.options = clip.pix_fmt, dict(clip.codec_options)
    context = stream.codec_context
    context.sample_aspect_ratio = clip.aspect
    context.time_base = _time_base(clip)
    for name, value in clip.tags.items():
        setattr(context, name, value)
    return stream


def _cover(container: Any, clip: Clip) -> list[Any]:
    """Return the packets of a cover picture, larger than the clip and of another colour."""
    if not clip.cover:
        return []
    stream: Any = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 320, 320, "yuvj420p"
    stream.disposition = av.stream.Disposition.attached_pic.value
    return _black(stream)


def _small_track(container: Any, clip: Clip) -> list[Any]:
    """Return the packets of a second video stream, smaller than the clip."""
    if not clip.second_pictures:
        return []
    stream: Any = container.add_stream(clip.codec, rate=clip.rate)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
    return _black(stream)


def _black(stream: Any) -> list[Any]:
    pixels = np.zeros((stream.height, stream.width, 3), np.uint8)
    return [*stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")), *stream.encode()]


def _time_base(clip: Clip) -> Fraction:
    steady = clip.times == even_times(clip.rate, len(clip.times) / clip.rate)
    return 1 / clip.rate if steady else Fraction(1, _TICKS)


def _encode_pictures(stream: Any, clip: Clip) -> list[Any]:
    base = _time_base(clip)
    pictures = [_coded(clip, clicked) for clicked in (False, True)]
    packets = []
    for index, time in enumerate(clip.times):
        frame = pictures[index >= clip.click]
        frame.pts, frame.time_base = round((time + clip.start_s) / base), base
        packets += stream.encode(frame)
    return [*packets, *stream.encode()]


def _coded(clip: Clip, clicked: bool) -> Any:
    """Return the test card as the encoder takes it."""
    pixels = card(clip.size, clicked=clicked)
    if not clip.pix_fmt.startswith("yuv"):
        return av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=clip.pix_fmt)
    deep = "10" in clip.pix_fmt
    kind, scale = (np.uint16, 4) if deep else (np.uint8, 1)
    values = np.rint(_yuv(pixels, clip) * scale).astype(kind)
    frame = av.VideoFrame(*clip.size, clip.pix_fmt)
    for plane, channel in zip(frame.planes, values, strict=True):
        rows, columns = (
            -(-whole // part)
            for whole, part in zip(channel.shape, (plane.height, plane.width), strict=True)
        )
        lines = np.zeros((plane.height, plane.line_size // channel.itemsize), kind)
        lines[:, : plane.width] = channel[::rows, ::columns]
        plane.update(lines.tobytes())
    for name, value in clip.tags.items():
        setattr(frame, name, value)
    return frame


def _yuv(pixels: Pixels, clip: Clip) -> NDArray[np.float64]:
    """Return luma and chroma of 8 bits, float64 (3, height, width)."""
    red_share, blue_share = MATRICES[clip.matrix]
    red, green, blue = np.moveaxis(pixels / 255.0, -1, 0)
    luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    blues = (blue - luma) / (2 - 2 * blue_share)
    reds = (red - luma) / (2 - 2 * red_share)
    if clip.colour_range == FULL:
        return np.stack([255 * luma, 128 + 255 * blues, 128 + 255 * reds])
    return np.stack([16 + 219 * luma, 128 + 224 * blues, 128 + 224 * reds])


def _add_sound(container: Any, clip: Clip) -> Any:
    if clip.sound is None:
        return None
    return container.add_stream(clip.sound, rate=clip.sound_rate, layout=clip.layout)


def click_track(clip: Clip) -> Samples:
    """Return the sound from its start to the end of the pictures, (channels, n)."""
    rate = clip.sound_rate
    end_s = clip.start_s + clip.times[-1] + Fraction(1, 24)
    channel, _ = _LAYOUTS[clip.layout]
    channels = av.AudioLayout(clip.layout).nb_channels
    samples = np.zeros((channels, round((end_s - clip.sound_start_s) * rate)), np.float32)
    first = round((clip.start_s + clip.times[clip.click] - clip.sound_start_s) * rate)
    length = rate // 100
    tone = np.sin(2 * np.pi * 1000 * np.arange(length) / rate)
    samples[channel, first : first + length] = 0.8 * tone[: samples.shape[1] - first]
    return samples


def _encode_sound(stream: Any, clip: Clip) -> list[Any]:
    rate, samples = clip.sound_rate, click_track(clip)
    first, packets = round(clip.sound_start_s * rate), []
    gap = range(0)
    if clip.sound_gap_s is not None:
        gap = range(*(round((float(clip.start_s) + each) * rate) for each in clip.sound_gap_s))
    for start in range(0, samples.shape[1], 1024):
        if first + start in gap:
            continue
        block = samples[:, start : start + 1024]
        frame = _sound_frame(stream.format.name, block, clip.layout)
        frame.sample_rate, frame.pts = rate, first + start
        frame.time_base = Fraction(1, rate)
        packets += stream.encode(frame)
    return [*packets, *stream.encode()]


def _sound_frame(form: str, block: Samples, layout: str) -> Any:
    if form.startswith("s"):
        kind = np.int16 if form.startswith("s16") else np.int32
        block = np.rint(block.astype(np.float64) * np.iinfo(kind).max).astype(kind)
    if not form.endswith("p"):
        block = block.T.reshape(1, -1)
    return av.AudioFrame.from_ndarray(np.ascontiguousarray(block), form, layout)


_IDENTITY = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def _turned(data: bytes, turn: Sequence[int]) -> bytes:
    """Return an MP4 file whose first track is turned on the screen."""
    at = data.index(_IDENTITY, data.index(b"tkhd"))
    a, b, c, d = (value << 16 for value in turn)
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return data[:at] + matrix + data[at + len(matrix) :]
