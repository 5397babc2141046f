"""Clips with a variable frame rate: frames are taken by their times, the clip lasts as long."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ltx2cpp.cli.commands import upscale
from ltx2cpp.conditioning import Extend, Foley, ReferenceVideo, Retake, VideoCondition
from ltx2cpp.conditioning.extension import read_extension
from ltx2cpp.conditioning.foley import read_footage
from ltx2cpp.conditioning.placement import place, source_size
from ltx2cpp.latents import ClipShape
from ltx2cpp.media import inspect_video, read_video

# 8 frames at 24 a second, then 9 at 10; files differ about the last one's length.
SLOWER = [42 * index if index < 8 else 336 + 100 * (index - 8) for index in range(17)]
SECONDS = (SLOWER[-1] + 42) / 1000


def write(path: Path, stamps_ms: Sequence[int], codec: str = "libx264", rate: int = 24) -> Path:
    """Write frames whose brightness says which they are, shown at the times given."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, stamp in enumerate(stamps_ms):
            pixels = np.full((64, 64, 3), brightness(index), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def brightness(index: int) -> int:
    return 12 + index * 12 % 240


def shown(frames: Any) -> list[int]:
    return [round((float(frame[32, 32].mean()) - 12) / 12) for frame in frames]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_a_variable_rate_becomes_steady(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, SLOWER)
    source = read_video(path)
    assert source.frame_rate == 24
    assert inspect_video(path).num_frames == len(source.frames)
    assert abs(len(source.frames) / 24 - SECONDS) <= 1 / 24
    order = shown(source.frames)
    assert order == sorted(order)
    assert sorted(set(order)) == list(range(17))
    for place_index, index in enumerate(order):
        middle = 1000 * (place_index + 0.5) / 24
        assert SLOWER[index] <= middle + 1
        assert index == 16 or middle <= SLOWER[index + 1] + 1


@pytest.mark.parametrize("rate", [12.0, 25.0, 30000 / 1001])
def test_a_variable_rate_is_taken_at_the_rate_asked_for(tmp_path: Path, rate: float) -> None:
    path = write(tmp_path / "a.mp4", SLOWER)
    source = read_video(path, frame_rate=rate)
    assert float(source.frame_rate) == pytest.approx(rate)
    assert abs(len(source.frames) / rate - SECONDS) <= 1 / rate
    assert len(read_video(path, frame_rate=rate, max_frames=5).frames) == 5
    assert inspect_video(path, frame_rate=rate).num_frames == len(source.frames)


def test_one_missing_frame_is_shown_by_its_neighbour(tmp_path: Path) -> None:
    stamps = [40 * index for index in range(13) if index != 6]
    source = read_video(write(tmp_path / "a.mp4", stamps, rate=25))
    assert (source.frame_rate, len(source.frames)) == (25, 13)
    assert shown(source.frames)[5:8] == [5, 5, 6]


def test_a_late_start_adds_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [3000 + stamp for stamp in SLOWER])
    assert len(read_video(path).frames) == len(read_video(write(tmp_path / "b.mkv", SLOWER)).frames)


@pytest.mark.parametrize("jitter_ms", [0, 1, 8])
def test_frames_near_an_even_grid_are_taken_one_for_one(tmp_path: Path, jitter_ms: int) -> None:
    draw = np.random.default_rng(0)
    stamps = [
        round(index * 1000 / 30) + int(draw.integers(0, jitter_ms + 1)) for index in range(19)
    ]
    source = read_video(write(tmp_path / "a.mkv", stamps, rate=30))
    assert shown(source.frames) == list(range(19))
    assert float(source.frame_rate) == pytest.approx(30, rel=0.03)
    # A container stores it exactly.
    assert source.frame_rate.denominator <= 1001


def test_a_broken_time_stamp_does_not_fill_memory(tmp_path: Path) -> None:
    stamps = [*range(0, 360, 40), *range(50_000_000, 50_000_360, 40)]
    assert len(read_video(write(tmp_path / "a.mkv", stamps, rate=25)).frames) == 18


@pytest.mark.parametrize("name", ["a.mkv", "a.nut", "a.ts", "a.h264"])
def test_frames_are_counted_where_the_header_does_not(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [40 * index for index in range(17)], rate=25)
    assert inspect_video(path).num_frames == 17
    assert source_size([Retake(path)], 25.0) == (64, 64, 17)


def test_all_conditions_take_frames_by_their_times(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", SLOWER)
    shape = ClipShape(64, 64, 25, 24.0)
    expected = shown(read_video(path).frames)
    assert source_size([Retake(path)], 24.0) == (64, 64, 25)
    for condition in (Retake(path), VideoCondition(path), ReferenceVideo(path)):
        (item,) = place([condition], shape, 0).items
        assert shown(item.frames) == expected[:25]
    assert shown(read_footage([Foley(path)], 24.0, None).given_frames) == expected
    assert shown(read_extension([Extend(path, 1.0)], 24.0).given_frames) == expected
    halved = shown(read_footage([Foley(path)], 12.0, None).given_frames)
    assert abs(len(halved) - len(expected) / 2) <= 1
    assert all(after >= before for before, after in itertools.pairwise(halved))


@pytest.mark.parametrize("rate", [None, 12.0])
def test_upscale_takes_frames_by_their_times(tmp_path: Path, rate: float | None) -> None:
    path = write(tmp_path / "a.mp4", SLOWER)
    source = upscale._read(argparse.Namespace(input=path, frame_rate=rate))
    assert source.frame_rate == (rate or 24)
    assert source.frames is not None
    # The model holds 8 k + 1 frames.
    assert -8 < len(source.frames) - SECONDS * source.frame_rate <= 1
