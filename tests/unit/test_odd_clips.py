"""Clips that are animations, damaged, cut off, without times, without pictures, or far too long."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.clip_factory import QUARTERS, card, even_times, write
from helpers.clip_table import CLIPS
from PIL import Image

from ltx2cpp import media
from ltx2cpp.cli.commands import upscale
from ltx2cpp.errors import ArgumentError, DeviceMemoryError
from ltx2cpp.media import clips, time_stamps
from ltx2cpp.values import Audio

PLAIN = CLIPS["24 a second"]


def bright(frames: Any) -> list[bool]:
    return [bool(frame[frame.shape[0] // 2, frame.shape[1] // 2].mean() > 127) for frame in frames]


# Milliseconds of each of four pictures, the last two after the flash.
LENGTHS = (100, 250, 100, 500)


def write_animation(path: Path, *, transparent: bool) -> Path:
    pictures = []
    for index in range(4):
        pixels = card((96, 64), clicked=index >= 2)
        # Equal neighbours would be joined.
        pixels[0, 0] = index
        alpha = np.full((64, 96), 255, np.uint8)
        if transparent:
            alpha[:32, :48] = 0
        pictures.append(Image.fromarray(np.dstack([pixels, alpha])))
    options: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=LENGTHS, loop=0, **options
    )
    return path


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_animations_are_clips(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, transparent: bool
) -> None:
    path = write_animation(tmp_path / name, transparent=transparent)
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        source = media.read_video(path, with_audio=True, frame_rate=20)
    # Places of 50 ms.
    assert bright(source.frames) == [False] * 7 + [True] * 12
    assert source.audio is None
    white, red = (255, 255, 255), QUARTERS[0]
    np.testing.assert_allclose(source.frames[0, 8, 12], white if transparent else red, atol=1)
    np.testing.assert_allclose(source.frames[0, 8, 84], QUARTERS[1], atol=1)
    assert caplog.text.count("transparent parts are laid on white") == transparent
    assert media.inspect_video(path, frame_rate=20).num_frames == 19
    assert media.is_animation(path)
    taken = upscale._read(argparse.Namespace(input=path, frame_rate=None))
    assert taken.frames is not None and len(taken.frames) > 1


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_own_animations_are_clips(tmp_path: Path, name: str) -> None:
    frames = np.stack([card((96, 64), clicked=index >= 12) for index in range(24)])
    media.save_video(tmp_path / name, [frames], frame_rate=24)
    source = media.read_video(tmp_path / name)
    assert (source.frame_rate, len(source.frames)) == (24, 24)
    assert bright(source.frames) == [False] * 12 + [True] * 12


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(share * len(data))]


def garbled(data: bytes) -> bytes:
    middle = len(data) // 2
    return (
        data[:middle]
        + bytes(each ^ 0x5A for each in data[middle : middle + 300])
        + data[middle + 300 :]
    )


SMALL_GROUPS = {"x264-params": "keyint=6"}
CONTAINERS = {
    "mp4": replace(PLAIN, options={"movflags": "+faststart"}, codec_options=SMALL_GROUPS),
    "mkv": replace(PLAIN, name="a.mkv", codec_options=SMALL_GROUPS),
    "ts": replace(PLAIN, name="a.ts", codec_options=SMALL_GROUPS),
    "avi": replace(PLAIN, name="a.avi", sound="ac3", codec_options=SMALL_GROUPS),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_clip_that_is_cut_off_is_taken_as_far_as_it_goes(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, replace(CONTAINERS[kind], damage=cut(0.9)))
    source = media.read_video(path, with_audio=True)
    assert source.frame_rate == 24
    assert 18 <= len(source.frames) <= 36
    flash = bright(source.frames).index(True)
    assert abs(flash - PLAIN.click) <= 1
    assert source.audio is not None and source.audio.samples.shape[1] > 0.5 * 48000


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_a_clip_that_is_cut_off_is_mentioned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = write(tmp_path, replace(CONTAINERS[kind], damage=cut(0.7)))
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        media.read_video(path)
    assert "is it cut off?" in caplog.text


def test_a_clip_without_its_index_is_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, replace(PLAIN, damage=cut(0.9)))
    with pytest.raises(ArgumentError, match=r"a\.mp4: cannot be decoded"):
        media.read_video(path)


@pytest.mark.parametrize("kind", ["mp4", "ts", "avi"])
def test_damaged_packets_keep_length_and_sync(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, replace(CONTAINERS[kind], damage=garbled))
    source = media.read_video(path)
    assert len(source.frames) == 36
    assert abs(bright(source.frames).index(True) - PLAIN.click) <= 6


def test_frames_without_times_are_taken_at_the_rate_of_the_header(tmp_path: Path) -> None:
    raw = replace(CLIPS["30 a second"], name="a.h264", sound=None)
    source = media.read_video(write(tmp_path, raw))
    assert (source.frame_rate, len(source.frames)) == (30, 45)
    at_half = media.read_video(tmp_path / "a.h264", frame_rate=15)
    assert at_half.frame_rate == 15 and len(at_half.frames) in (22, 23)
    assert bright(at_half.frames).index(True) in (7, 8)


def test_a_single_picture_lasts_as_long_as_it_is_shown(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv444p"
        container.mux(
            stream.encode(av.VideoFrame.from_ndarray(card((64, 64), clicked=False), "rgb24"))
        )
        container.mux(stream.encode())
    assert media.inspect_video(tmp_path / "a.mkv", frame_rate=24).num_frames == 24


def test_a_sound_with_a_cover_is_no_clip(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        cover: Any = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        sound: Any = container.add_stream("aac", rate=48000, layout="mono")
        container.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
        container.mux(cover.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        silence.sample_rate = 48000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with pytest.raises(ArgumentError, match="holds only a cover picture"):
        media.read_video(tmp_path / "a.m4a")
    assert media.read_audio(tmp_path / "a.m4a").samples.shape[1] >= 4800


def test_the_default_sound_is_taken(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        sounds: list[Any] = [
            container.add_stream("pcm_s16le", rate=48000, layout="mono") for _ in range(3)
        ]
        for stream in sounds:
            stream.disposition = 0
        sounds[1].disposition = av.stream.Disposition.default.value
        for level, stream in zip((0.1, 0.5, 0.9), sounds, strict=True):
            samples = np.full((1, 4800), round(level * 32767), np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate, frame.pts = 48000, 0
            container.mux(stream.encode(frame))
    np.testing.assert_allclose(media.read_audio(tmp_path / "a.mkv").samples, 0.5, atol=1e-3)


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_a_still_of_tiles_is_no_clip(tmp_path: Path, brand: bytes) -> None:
    path = write(tmp_path, PLAIN)
    data = path.read_bytes()
    assert data[4:8] == b"ftyp"
    path.write_bytes(data[:8] + brand + data[12:])
    for read in (media.read_video, media.inspect_video):
        with pytest.raises(ArgumentError, match=r"a\.mp4: is a still picture \(HEIF\); save it"):
            read(path)


def test_a_sound_that_starts_far_away_is_taken_from_its_beginning(tmp_path: Path) -> None:
    clip = replace(PLAIN, name="a.mkv", sound="pcm_s16le", sound_rate=8000, layout="mono")
    path = write(tmp_path, replace(clip, start_s=Fraction(700)))
    audio = media.read_video(path, with_audio=True).audio
    assert audio is not None and audio.samples.shape[1] == 1.5 * 8000


def test_a_sound_is_no_clip(tmp_path: Path) -> None:
    media.save_sound(tmp_path / "a.wav", Audio(np.zeros((2, 4800), np.float32), 48000))
    for read in (media.read_video, media.inspect_video):
        with pytest.raises(ArgumentError, match="holds no video stream"):
            read(tmp_path / "a.wav")
    with pytest.raises(ArgumentError, match="save it as PNG"):
        media.read_picture(tmp_path / "a.wav")


def test_frames_of_several_sizes_become_those_of_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = []
    for size in ((96, 64), (192, 128)):
        write(tmp_path, replace(PLAIN, name="a.h264", size=size, sound=None))
        parts.append((tmp_path / "a.h264").read_bytes())
    (tmp_path / "a.h264").write_bytes(b"".join(parts))
    with caplog.at_level(logging.WARNING, "ltx2cpp"):
        source = media.read_video(tmp_path / "a.h264")
    assert source.frames.shape == (72, 64, 96, 3)
    assert caplog.text.count("differ in size") == 1
    np.testing.assert_allclose(source.frames[40, 8, 12], QUARTERS[0], atol=6)


def test_clips_that_have_no_room_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, PLAIN)
    monkeypatch.setattr(clips, "available_bytes", lambda: 30 * 96 * 64 * 3)
    assert len(media.read_video(path, max_frames=30).frames) == 30
    with pytest.raises(DeviceMemoryError, match=r"36 frames of 96 x 64 take .* cut the clip"):
        media.read_video(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_long_clips_are_read_no_further_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = write(tmp_path, replace(PLAIN, name=name, times=even_times(24, 20), sound=None))
    read: list[int] = []
    read_packets = time_stamps.read_packets

    def counted(*arguments: Any) -> Iterator[Any]:
        for packet in read_packets(*arguments):
            read.append(packet.pts)
            yield packet

    monkeypatch.setattr(time_stamps, "read_packets", counted)
    assert len(media.read_video(path, max_frames=9, frame_rate=24).frames) == 9
    assert len(read) < 100
    read.clear()
    assert len(media.read_video(path, frame_rate=24).frames) == len(read) == 480
