"""What is written is what other readers read: size, count, time, colour, parameters."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from safetensors.numpy import load_file

from ltx2cpp import media
from ltx2cpp.errors import ArgumentError, OutputError, ShapeError
from ltx2cpp.media import images
from ltx2cpp.values import Audio

Frames = NDArray[np.uint8]
PARAMETERS = {"prompt": 'a "red" boat\nam Zürichsee 湖', "seed": 7, "sigmas": [1.0, 0.5, 0.0]}
ANIMATIONS = ["clip.mp4", "clip.webp", "clip.gif", "frames/"]


def clip(frames: int = 9, height: int = 64, width: int = 96) -> Frames:
    """A grey ramp that brightens, so that no two frames are equal."""
    ramp = np.linspace(20, 120, width)[None, None, :, None]
    time = np.arange(frames)[:, None, None, None] * 10
    return np.broadcast_to(ramp + time, (frames, height, width, 3)).astype(np.uint8)


def target(folder: Path, name: str) -> str:
    # A Path would lose the trailing slash that asks for a folder.
    return f"{folder}/{name}"


def read_animation(path: Path) -> tuple[Frames, list[int]]:
    pictures, durations = [], []
    with Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            pictures.append(np.asarray(frame.convert("RGB")))
            durations.append(frame.info["duration"])
    return np.stack(pictures), durations


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm"])
def test_a_clip_has_the_same_bytes_each_time(tmp_path: Path, name: str) -> None:
    y, x = np.mgrid[:64, :96]
    pictures = [
        np.stack([2 * x + 5 * t, 3 * y + t, x + y + 2 * t], axis=-1).astype(np.uint8)
        for t in range(17)
    ]
    written = set()
    for _ in range(8):
        media.save_video(tmp_path / name, [np.stack(pictures)], frame_rate=24)
        written.add((tmp_path / name).read_bytes())
    assert len(written) == 1


def test_mp4_has_the_right_size_count_rate_and_comment(tmp_path: Path) -> None:
    saved = media.save_video(
        tmp_path / "clip.mp4", [clip(4), clip(5)], frame_rate=23.976, parameters=PARAMETERS
    )
    with av.open(str(saved.path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (96, 64, 9)
        assert stream.average_rate == Fraction(24000, 1001)
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert json.loads(container.metadata["comment"]) == PARAMETERS
        times = [frame.pts * frame.time_base for frame in container.decode(stream)]
    assert times == [Fraction(1001, 24000) * i for i in range(9)]
    assert saved.num_frames == 9
    assert saved.size_bytes == (tmp_path / "clip.mp4").stat().st_size


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (0, 0, 0), (255, 255, 255)]
)
def test_mp4_colours_are_bt709_in_tags_and_in_numbers(
    tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    frames = np.broadcast_to(np.array(colour, np.uint8), (3, 64, 64, 3))
    media.save_video(tmp_path / "clip.mp4", [frames], frame_rate=24)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        context = container.streams.video[0].codec_context
        tags = (context.color_primaries, context.color_trc, context.colorspace)
        assert (*tags, context.color_range) == (1, 1, 1, 1)
        decoded = next(container.decode(video=0))
    luma, blue, red = (int(np.frombuffer(plane, np.uint8)[0]) for plane in decoded.planes)
    # ITU-R BT.709-6, 8-bit narrow range.
    r, g, b = (value / 255 for value in colour)
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    expected = (16 + 219 * y, 128 + 224 * (b - y) / 1.8556, 128 + 224 * (r - y) / 1.5748)
    assert np.abs(np.subtract((luma, blue, red), expected)).max() < 2


def test_mp4_carries_sound_in_step(tmp_path: Path) -> None:
    rate, seconds = 48_000, 25 / 24
    time = np.arange(int(rate * seconds)) / rate
    samples = np.stack([np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 880 * time)]) * 0.5
    track = Audio(samples.astype(np.float32), rate)
    media.save_video(tmp_path / "clip.mp4", [clip(25)], frame_rate=24, audio=track)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate) == ("aac", rate)
        assert stream.layout.name == "stereo"
        assert abs(float(stream.duration * stream.time_base) - seconds) < 0.05
        assert container.streams.video[0].frames == 25
        decoded = np.concatenate([f.to_ndarray() for f in container.decode(stream)], axis=1)
    # The pitch of each side, away from the encoder's start and end.
    for side, pitch in zip(decoded[:, 4096:36864], (440, 880), strict=True):
        spectrum = np.abs(np.fft.rfft(side * np.hanning(side.size)))
        assert abs(spectrum.argmax() * rate / side.size - pitch) < 3
        assert abs(np.sqrt(np.mean(side**2)) - 0.5 / np.sqrt(2)) < 0.02


def test_mp4_holds_on_to_one_chunk_at_a_time(tmp_path: Path) -> None:
    given: list[weakref.ref[Frames]] = []
    most_alive = 0

    def chunks() -> Iterator[Frames]:
        nonlocal most_alive
        for _ in range(6):
            chunk = clip(2)
            given.append(weakref.ref(chunk))
            yield chunk
            del chunk
            most_alive = max(most_alive, sum(reference() is not None for reference in given))

    media.save_video(tmp_path / "clip.mp4", chunks(), frame_rate=24)
    assert len(given) == 6
    assert most_alive <= 1


def test_sound_of_one_channel_is_refused(tmp_path: Path) -> None:
    mono = Audio(np.zeros((1, 100), np.float32), 48_000)
    with pytest.raises(ShapeError, match=r"\(2, n\)"):
        media.save_video(tmp_path / "a.mp4", [clip(1)], frame_rate=24, audio=mono)
    assert not list(tmp_path.iterdir())


def test_sound_at_a_rate_that_aac_lacks_is_refused(tmp_path: Path) -> None:
    odd = Audio(np.zeros((2, 100), np.float32), 47_999)
    with pytest.raises(ArgumentError, match="44100, 48000"):
        media.save_sound(tmp_path / "a.m4a", odd)
    assert not list(tmp_path.iterdir())


def test_webp_has_the_right_frames_durations_and_comment(tmp_path: Path) -> None:
    frames = clip()
    media.save_video(tmp_path / "a.webp", [frames], frame_rate=24, parameters=PARAMETERS)
    pictures, durations = read_animation(tmp_path / "a.webp")
    assert durations == [42, 41, 42, 42, 41, 42, 42, 41, 42]
    assert np.abs(pictures.astype(int) - frames).mean() < 2
    assert media.read_parameters(tmp_path / "a.webp") == PARAMETERS


def test_gif_has_the_right_frames_durations_and_comment(tmp_path: Path) -> None:
    frames = clip()
    media.save_video(tmp_path / "a.gif", [frames], frame_rate=24, parameters=PARAMETERS)
    pictures, durations = read_animation(tmp_path / "a.gif")
    assert durations == [40, 40, 40, 50, 40, 40, 40, 40, 50]
    assert np.abs(pictures.astype(int) - frames).mean() < 2
    assert media.read_parameters(tmp_path / "a.gif") == PARAMETERS


def test_gif_stores_equal_frames_as_one_longer_frame(tmp_path: Path) -> None:
    still = np.repeat(clip(1), 3, axis=0)
    media.save_video(tmp_path / "a.gif", [still, clip(9)[5:6]], frame_rate=10)
    _, durations = read_animation(tmp_path / "a.gif")
    assert durations == [300, 100]


def test_png_folder_holds_the_exact_frames_in_order(tmp_path: Path) -> None:
    frames = clip()
    saved = media.save_video(
        target(tmp_path, "frames/"), [frames[:4], frames[4:]], frame_rate=24, parameters=PARAMETERS
    )
    files = sorted(saved.path.iterdir())
    assert [file.name for file in files] == [f"{index:05d}.png" for index in range(9)]
    assert np.array_equal(np.stack([np.asarray(Image.open(file)) for file in files]), frames)
    assert media.read_parameters(saved.path) == PARAMETERS
    assert saved.size_bytes == sum(file.stat().st_size for file in files)


def test_png_folder_takes_frames_that_are_drawn_into_one_array(tmp_path: Path) -> None:
    frames = clip()

    def chunks() -> Iterator[Frames]:
        canvas = np.empty_like(frames[:1])
        for frame in frames:
            canvas[0] = frame
            yield canvas

    saved = media.save_video(target(tmp_path, "frames/"), chunks(), frame_rate=24)
    files = sorted(saved.path.iterdir())
    assert np.array_equal(np.stack([np.asarray(Image.open(file)) for file in files]), frames)


@pytest.mark.parametrize("failing", [0, 4, 8])
def test_png_folder_without_room_for_a_frame_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    save = images._save

    def run_out(path: Path, *arguments: Any) -> None:
        if path.name == f"{failing:05d}.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(path, *arguments)

    monkeypatch.setattr(images, "_save", run_out)
    with pytest.raises(OutputError, match="No space left"):
        media.save_video(target(tmp_path, "frames/"), [clip()], frame_rate=24)
    assert list(tmp_path.iterdir()) == []


def test_png_holds_one_exact_frame(tmp_path: Path) -> None:
    frames = clip(1)
    media.save_video(tmp_path / "a.png", [frames], frame_rate=24, parameters=PARAMETERS)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), frames[0])
    assert media.read_parameters(tmp_path / "a.png") == PARAMETERS


def test_png_refuses_a_second_frame(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="holds one frame"):
        media.save_video(tmp_path / "a.png", [clip(2)], frame_rate=24)
    assert list(tmp_path.iterdir()) == []


def test_latents_come_back_with_their_parameters(tmp_path: Path) -> None:
    video = np.random.default_rng(0).standard_normal((8, 3, 2, 4)).astype(np.float32)
    audio = np.random.default_rng(1).standard_normal((8, 6, 16)).astype(np.float32)
    path = tmp_path / "a.safetensors"
    media.save_latents(path, video, audio, parameters=PARAMETERS)
    got_video, got_audio = media.read_latents(path)
    assert got_video is not None and np.array_equal(got_video, video)
    assert got_audio is not None and np.array_equal(got_audio, audio)
    assert media.read_parameters(path) == PARAMETERS
    assert set(load_file(path)) == {"video_latent", "audio_latent"}


def test_latents_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    audio = np.full((8, 2, 16), np.nan, np.float32)
    with pytest.raises(ShapeError, match="audio_latent: holds values that are not finite"):
        media.save_latents(tmp_path / "a.safetensors", None, audio)
    assert not list(tmp_path.iterdir())


def test_latents_of_another_program_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(ArgumentError, match="no latents of ltx2cpp"):
        media.read_latents(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["a.mp4", "a.png", "a.safetensors"])
def test_read_parameters_refuses_what_is_no_such_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not at all")
    with pytest.raises(ArgumentError, match="cannot be read"):
        media.read_parameters(tmp_path / name)


def test_read_parameters_says_that_there_are_none(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ArgumentError, match="no generation parameters"):
        media.read_parameters(tmp_path / "a.png")


def test_parameters_must_have_a_json_form(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="JSON"):
        media.save_video(
            tmp_path / "a.mp4", [clip()], frame_rate=24, parameters={"sigma": float("nan")}
        )


class Broken(Exception):
    """Stands for anything that may go wrong while frames are computed."""


@pytest.mark.parametrize("name", ANIMATIONS)
@pytest.mark.parametrize("failure", [Broken, KeyboardInterrupt, FileNotFoundError])
def test_nothing_is_left_when_the_frames_fail(
    tmp_path: Path, name: str, failure: type[BaseException]
) -> None:
    def chunks() -> Iterator[Frames]:
        yield clip()
        raise failure("the computation, not the output")

    # An OSError of the computation must not be reported as one of the output.
    with pytest.raises(failure, match="the computation") as caught:
        media.save_video(target(tmp_path, name), chunks(), frame_rate=24)
    assert not isinstance(caught.value, OutputError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [*ANIMATIONS, "clip.png"])
def test_no_frames_are_refused_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match="at least one"):
        media.save_video(target(tmp_path, name), [], frame_rate=24)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "chunk",
    [
        np.zeros((2, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((2, 64, 64, 4), np.uint8),
    ],
)
def test_a_chunk_of_another_shape_or_dtype_is_refused(tmp_path: Path, chunk: Frames) -> None:
    with pytest.raises(ShapeError, match="expected uint8 of shape"):
        media.save_video(tmp_path / "a.mp4", [chunk], frame_rate=24)


def test_frames_of_two_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="one size"):
        media.save_video(tmp_path / "a.mp4", [clip(), clip(2, 32, 32)], frame_rate=24)
    assert list(tmp_path.iterdir()) == []


def test_frames_are_not_written_as_latents(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="not frames"):
        media.save_video(tmp_path / "a.safetensors", [clip()], frame_rate=24)


FULL_DISK = """
import resource, sys
import numpy as np
from ltx2cpp import media
from ltx2cpp.errors import OutputError

limit, name = int(sys.argv[1]), sys.argv[2]
noise = np.random.default_rng(0).integers(0, 255, (33, 64, 96, 3), np.uint8)
# The kernel refuses to let any file grow past the limit, in the same places as a full disk does.
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if name.endswith(".safetensors"):
        media.save_latents(name, noise.astype(np.float32).reshape(-1, 1, 1, 1))
    else:
        media.save_video(name, iter(np.split(noise, 33)), frame_rate=24)
except OutputError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize("limit", [0, 1000, 20_000])
@pytest.mark.parametrize("name", [*ANIMATIONS, "clip.safetensors"])
def test_a_full_disk_leaves_nothing_and_the_old_file(tmp_path: Path, name: str, limit: int) -> None:
    if name == "frames/" and limit == 20_000:
        limit = 10_000  # a single picture is smaller than the other files
    if not name.endswith("/"):
        (tmp_path / name).write_bytes(b"old")
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(limit), target(tmp_path, name)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert str(tmp_path) in done.stdout
    assert sorted(tmp_path.rglob("*")) == before
    assert all(path.read_bytes() == b"old" for path in before)


def test_the_same_clip_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        media.save_video(tmp_path / name, [clip()], frame_rate=24, parameters=PARAMETERS)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("name", ["bell.wav", "bell.m4a"])
def test_saved_sound_tells_the_length_of_the_file(tmp_path: Path, name: str) -> None:
    samples = np.zeros((2, 16_560), np.float32)
    saved = media.save_sound(tmp_path / name, Audio(samples, 24_000))
    assert saved.length_s == 0.69 == saved.to_dict()["length_s"]
    with av.open(str(saved.path)) as container:
        stream = container.streams.audio[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(saved.length_s, abs=1e-4)


def test_saved_clip_tells_the_length_of_the_pictures(tmp_path: Path) -> None:
    assert media.save_video(tmp_path / "a.mp4", [clip(12)], frame_rate=24).length_s == 0.5
    assert media.save_video(tmp_path / "a.png", [clip(1)], frame_rate=24).length_s is None
    latent = np.zeros((4, 1, 1, 1), np.float32)
    assert media.save_latents(tmp_path / "a.safetensors", latent).length_s is None
