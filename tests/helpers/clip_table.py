"""The clips that tests give to the product, by what is unusual about them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from helpers.clip_factory import (
    BT601,
    BT709,
    BT2020,
    FLIPPED,
    FULL,
    HALF_TURN,
    LEFT_TURN,
    MIRRORED,
    RIGHT_TURN,
    TRANSPOSED,
    TRANSVERSED,
    Clip,
    even_times,
    uneven_times,
)

_BROADCAST = {rate: Fraction(1000 * rate, 1001) for rate in (24, 30, 60)}


def _steady(name: str, rate: Fraction | int, **changes: Any) -> Clip:
    exact = Fraction(rate)
    return Clip(name, rate=exact, times=even_times(exact), click=round(exact / 2), **changes)


def _phone(name: str, **changes: Any) -> Clip:
    """A phone's clip: BT.709 with tags, turned by the matrix of its track."""
    return Clip(name, matrix=BT709, tags=tagged(BT709), **changes)


def tagged(matrix: int, colour_range: int = 1) -> dict[str, int]:
    """Return the tags of a matrix and a range."""
    return {"colorspace": matrix, "color_range": colour_range}


def _turned(turn: tuple[int, int, int, int], **changes: Any) -> Clip:
    swapped = turn[0] == 0
    return _phone("turned.mp4", turn=turn, shown=(64, 96) if swapped else (96, 64), **changes)


# A screen recorder that sees still pictures, a phone in the dark, and dropped frames.
_STILL = uneven_times((12, 42), (1, 400), (12, 42), (1, 250))
_DARK = uneven_times((15, 33), (13, 66))
_DROPPED = uneven_times(*[(7, 33), (1, 67)] * 5)
_SLIDES = uneven_times((1, 700), (1, 500), (1, 900))

CLIPS: dict[str, Clip] = {
    # Rates.
    "24 a second": Clip("a.mp4"),
    "23.976 a second": _steady("a.mp4", _BROADCAST[24]),
    "25 a second": _steady("a.mp4", 25),
    "29.97 a second": _steady("a.mov", _BROADCAST[30]),
    "30 a second": _steady("a.mp4", 30),
    "50 a second": _steady("a.mp4", 50),
    "59.94 a second": _steady("a.mkv", _BROADCAST[60]),
    "60 a second": _steady("a.mp4", 60),
    "slow motion, 120 a second": _steady("a.mp4", 120),
    "slow motion, 240 a second": _steady("a.mov", 240),
    "10 a second": _steady("a.mp4", 10),
    "12.5 a second": _steady("a.mkv", Fraction(25, 2)),
    # Uneven frames.
    "screen recorder": Clip("a.mp4", times=_STILL, click=13),
    "screen recorder, browser": Clip(
        "a.webm", "libvpx-vp9", times=_STILL, click=13, sound="libopus"
    ),
    # The last frame is as long as the header's rate has it.
    "phone in the dark": Clip(
        "a.mp4",
        times=_DARK,
        rate=Fraction(30),
        click=15,
        codec_options={"bf": "0"},
        seconds=float(_DARK[-1]) + 1 / 30,
    ),
    "dropped frames": Clip("a.mkv", times=_DROPPED, rate=Fraction(30), click=20),
    "slides": Clip("a.mp4", times=_SLIDES, rate=Fraction(1), click=1),
    # Containers and codecs.
    "fragments without a count": Clip(
        "a.mp4", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    ),
    "matroska without a length": Clip("a.mkv", options={"live": "1"}),
    "hevc of a phone": _phone(
        "a.mov", codec="libx265", codec_options={"x265-params": "log-level=0"}
    ),
    "vp8": Clip("a.webm", "libvpx", sound="libopus"),
    "av1": Clip("a.webm", "libsvtav1", sound="libopus", codec_options={"preset": "12"}),
    "av1 in mp4": Clip("a.mp4", "libsvtav1", codec_options={"preset": "12"}),
    "broadcast": _steady("a.ts", 25, codec="mpeg2video", sound="mp2"),
    "camcorder": _steady("a.m2ts", 25, sound="ac3"),
    "dvd": _steady("a.mpg", 25, codec="mpeg2video", sound="mp2"),
    "old camera": _steady(
        "a.avi",
        30,
        codec="mjpeg",
        pix_fmt="yuvj420p",
        colour_range=FULL,
        tags={"color_range": FULL},
        sound="pcm_s16le",
    ),
    "divx": Clip("a.avi", "mpeg4", sound="ac3"),
    "x264 in avi": Clip("a.avi", sound="ac3"),
    "flash": Clip("a.flv", sound_rate=44100),
    "editor, prores": Clip("a.mov", "prores_ks", "yuv422p10le", sound="pcm_s16le"),
    "editor, dnxhr": Clip(
        "a.mov",
        "dnxhd",
        "yuv422p",
        (256, 128),
        matrix=BT709,
        sound="pcm_s16le",
        codec_options={"profile": "dnxhr_sq"},
    ),
    "lossless": Clip("a.mkv", "ffv1", "yuv444p", sound="flac"),
    "lossless rgb": Clip("a.mkv", "ffv1", "bgr0", sound="flac"),
    "h264 in rgb": Clip("a.mp4", "libx264rgb", "rgb24"),
    # Sizes and pixels.
    "odd sides": Clip("a.mkv", "ffv1", "yuv420p", size=(97, 65), sound="flac"),
    "upright": _phone("a.mp4", size=(64, 96)),
    "wide pixels": _phone("a.mp4", aspect=Fraction(4, 3), shown=(128, 64)),
    "pal on a dvd": _steady(
        "a.mpg",
        25,
        codec="mpeg2video",
        sound="mp2",
        size=(96, 80),
        aspect=Fraction(10, 9),
        shown=(107, 80),
    ),
    "narrow pixels": _phone("a.mkv", aspect=Fraction(8, 9), shown=(96, 72)),
    # Turned and mirrored.
    "mirrored": _turned(MIRRORED),
    "half turn": _turned(HALF_TURN),
    "flipped": _turned(FLIPPED),
    "transposed": _turned(TRANSPOSED),
    "right turn": _turned(RIGHT_TURN),
    "transversed": _turned(TRANSVERSED),
    "left turn": _turned(LEFT_TURN),
    "left turn, wide pixels": replace(_turned(LEFT_TURN, aspect=Fraction(4, 3)), shown=(64, 128)),
    # Colours.
    "bt.709 by its tag": Clip("a.mp4", matrix=BT709, tags=tagged(BT709)),
    "bt.601 by its tag": Clip("a.mp4", size=(64, 720), matrix=BT601, tags=tagged(BT601)),
    "bt.2020 by its tag": Clip(
        "a.mkv",
        "libx265",
        "yuv420p10le",
        matrix=BT2020,
        tags=tagged(BT2020),
        codec_options={"x265-params": "log-level=0"},
    ),
    "no tag, 720 lines": Clip("a.mp4", size=(64, 720), matrix=BT709),
    "full range": Clip("a.mp4", matrix=BT709, colour_range=FULL, tags=tagged(BT709, FULL)),
    "full range, vp9": Clip(
        "a.webm",
        "libvpx-vp9",
        matrix=BT709,
        colour_range=FULL,
        tags=tagged(BT709, FULL),
        sound="libopus",
    ),
    "10 bits": Clip("a.mkv", "libx264", "yuv420p10le"),
    "10 bits, av1": Clip("a.webm", "libsvtav1", "yuv420p10le", sound="libopus"),
    "4:2:2": Clip("a.mp4", "libx264", "yuv422p"),
    "4:4:4": Clip("a.mp4", "libx264", "yuv444p"),
    "interlaced": _steady("a.mkv", 25, codec_options={"x264-params": "interlaced=1"}),
    # Sound.
    "no sound": Clip("a.mp4", sound=None),
    "mono": Clip("a.mp4", layout="mono", sound_rate=44100),
    "telephone": Clip("a.mov", layout="mono", sound="pcm_s16le", sound_rate=8000),
    "5.1": Clip("a.mp4", layout="5.1"),
    "5.1 on disc": Clip("a.mkv", layout="5.1(side)", sound="ac3"),
    "7.1": Clip("a.mkv", layout="7.1", sound="flac"),
    "quadrophony": Clip("a.mkv", layout="quad", sound="flac"),
    "96 kHz": Clip("a.mkv", sound="flac", sound_rate=96000),
    # When sound and pictures start.
    "late sound": Clip("a.mp4", sound_start_s=Fraction(1, 4)),
    "late sound, matroska": Clip("a.mkv", sound="libopus", sound_start_s=Fraction(1, 4)),
    "late sound, broadcast": _steady("a.ts", 25, sound_start_s=Fraction(1, 4)),
    "late pictures": Clip("a.mp4", start_s=Fraction(1, 4)),
    "late pictures, matroska": Clip("a.mkv", start_s=Fraction(1, 4), sound="libopus"),
    "late pictures, quicktime": Clip("a.mov", start_s=Fraction(1, 4), sound="pcm_s16le"),
    "both late": Clip("a.mkv", start_s=Fraction(5), sound_start_s=Fraction(21, 4)),
    "cut by an edit list": Clip(
        "a.mp4", start_s=Fraction(-1, 4), sound_start_s=Fraction(-1, 4), kept_from=6
    ),
    "pictures cut by an edit list": Clip("a.mov", start_s=Fraction(-1, 4), kept_from=6),
    "sound cut by an edit list": Clip("a.mov", sound="pcm_s16le", sound_start_s=Fraction(-1, 4)),
    "a gap in the sound": Clip("a.mkv", sound="flac", sound_gap_s=(0.1, 0.3)),
    # More than one of a kind.
    "a cover picture": Clip("a.mp4", cover=True),
    "a thumbnail track": Clip("a.mp4", second_pictures=True),
}
