"""Sound that is given, and sound for given pictures, from the command line to a file."""

from __future__ import annotations

import re
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ltx2cpp import media
from ltx2cpp.cli.main import main
from ltx2cpp.values import Audio

Floats = NDArray[np.float32]
RATE = 44_100
CLIP = ("--width", 96, "--height", 64, "--num-frames", 17)
# Past the encoder's first frame, and before the last.
INNER = slice(2048, 28_000)


@pytest.fixture
def model(fixture_a: Path) -> list[str]:
    checkpoint, encoder = fixture_a / "ltx-2.3-tiny.safetensors", fixture_a / "gemma-3-tiny"
    return ["--model", str(checkpoint), "--text-encoder", str(encoder), "--device", "cpu"]


def generate(model: list[str], out: Path, *words: object) -> int:
    common = ["--prompt", "A small red boat and a bell.", "--seed", 7, "--threads", 2, "--steps", 1]
    return main(["generate", *model, *map(str, common), "--output", str(out), *map(str, words)])


def speech(seconds: float) -> Floats:
    """A voice of sorts: pulses at a gliding pitch through three resonances, in syllables."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = np.cumsum(2 * np.pi * (120 + 30 * np.sin(2 * np.pi * 1.3 * time)) / RATE)
    voice = np.zeros_like(time)
    for harmonic in range(1, 30):
        pitch = harmonic * 120
        level = sum(1 / (1 + ((pitch - formant) / 90) ** 2) for formant in (600, 1200, 2600))
        voice += level * np.sin(harmonic * phase)
    voice *= 0.5 - 0.5 * np.cos(2 * np.pi * 4 * time)
    left: Floats = (0.6 * voice / np.abs(voice).max()).astype(np.float32)
    return np.stack([left, 0.7 * left])


def write_clip(
    path: Path, frames: int, rate: float = 24, size: tuple[int, int] = (70, 100)
) -> Path:
    """A bright bar that moves, without sound."""
    pictures = np.full((frames, *size, 3), 40, np.uint8)
    for index in range(frames):
        pictures[index, :, index * 2 : index * 2 + 30] = (220, 180, 60)
    media.save_video(path, [pictures], frame_rate=rate)
    return path


def test_a_given_recording_is_in_the_clip(model: list[str], tmp_path: Path) -> None:
    given = speech(1.5)
    media.save_sound(tmp_path / "voice.wav", Audio(given, RATE))
    words = ["--audio-in", tmp_path / "voice.wav", "--audio-start", 0.25]
    assert generate(model, tmp_path / "boat.mp4", *CLIP, *words) == 0
    got = media.read_audio(tmp_path / "boat.mp4")
    assert got.sample_rate == RATE
    # 17 frames at 24 per second.
    assert abs(got.samples.shape[1] - 17 / 24 * RATE) <= 1024
    want = given[:, round(0.25 * RATE) :][:, INNER]
    error = got.samples[:, INNER] - want
    # What AAC loses; a sound made anew would be off by more than the whole.
    assert np.linalg.norm(error) < 0.05 * np.linalg.norm(want)


@pytest.mark.parametrize(("frames", "rate"), [(17, 24), (20, 25)])
def test_pictures_get_a_sound_and_stay(
    model: list[str], tmp_path: Path, frames: int, rate: float
) -> None:
    clip = write_clip(tmp_path / "silent.mp4", frames, rate)
    words = ["--video-in", clip, "--audio-out"]
    assert generate(model, tmp_path / "loud.mp4", *words) == 0
    before, after = media.read_video(clip), media.read_video(tmp_path / "loud.mp4", with_audio=True)
    assert after.frames.shape == before.frames.shape == (frames, 70, 100, 3)
    assert after.frame_rate == before.frame_rate
    # Compressed once more, not painted anew.
    assert np.abs(after.frames.astype(int) - before.frames).mean() < 2
    assert after.audio is not None and np.abs(after.audio.samples).max() > 0
    seconds = after.audio.samples.shape[1] / after.audio.sample_rate
    assert abs(seconds - frames / rate) <= 1024 / after.audio.sample_rate
    used = media.read_parameters(tmp_path / "loud.mp4")
    assert used["conditions"][0]["kind"] == "Foley"


def test_pictures_of_another_rate_are_taken_by_time(model: list[str], tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "silent.mp4", 17, 24)
    words = ["--video-in", clip, "--audio-out", "--fps", 30]
    assert generate(model, tmp_path / "loud.mp4", *words) == 0
    after = media.read_video(tmp_path / "loud.mp4")
    assert (after.frame_rate, len(after.frames)) == (30, 21)


def test_sound_of_pictures_alone(model: list[str], tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "silent.mp4", 9)
    words = ["--video-in", clip, "--audio-out"]
    assert generate(model, tmp_path / "loud.wav", *words) == 0
    with av.open(str(tmp_path / "loud.wav")) as container:
        assert not container.streams.video and container.streams.audio[0].rate == 48_000


def test_printed_latents_are_those_that_were_written(
    model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(model, tmp_path / "a.safetensors", "--audio-only") == 0
    printed = capsys.readouterr().out
    video, audio = media.read_latents(tmp_path / "a.safetensors")
    assert video is None and audio is not None
    assert f"latents: {audio.shape[1]} latent frames of sound, " in printed
    assert " x " not in printed


def bad_sound(path: Path, kind: str) -> Path:
    if kind == "corrupt":
        path.write_bytes(b"no sound at all" * 50)
    elif kind == "silent film":
        write_clip(path, 9)
    elif kind == "empty":
        with wave.open(str(path), "wb") as file:
            file.setparams((2, 2, RATE, 0, "NONE", ""))
    elif kind == "three channels":
        with wave.open(str(path), "wb") as file:
            file.setparams((3, 2, RATE, 0, "NONE", ""))
            file.writeframes(bytes(6 * (RATE // 4)))
    elif kind != "missing":
        samples = np.zeros((2, RATE // 4), np.float32)
        if kind == "nan":
            samples[0, 500] = np.nan
        with av.open(str(path), "w", format="wav") as container:
            stream = container.add_stream("pcm_f32le", rate=RATE, layout="stereo")
            packed = np.ascontiguousarray(samples.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="stereo")
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("kind", "words", "sentence"),
    [
        ("missing", [], "does not exist"),
        ("corrupt", [], "cannot be decoded"),
        ("silent film", [], "holds no audio stream"),
        ("empty", [], "holds no samples|cannot be decoded"),
        ("three channels", [], "has 3 channels and does not say which"),
        ("nan", [], "not finite"),
        ("short", ["--audio-start", "3"], r"lasts 0\.25 seconds, so nothing starts at 3"),
        ("short", ["--audio-start", "-1"], "0 or more seconds"),
        ("short", ["--no-audio"], "exclude each other"),
        ("short", ["--video-in", "a.mp4", "--audio-out"], "excludes? "),
    ],
)
def test_bad_sound_is_one_sentence(
    model: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    words: list[str],
    sentence: str,
) -> None:
    path = bad_sound(tmp_path / ("in.mp4" if kind == "silent film" else "in.wav"), kind)
    before = list(tmp_path.iterdir())
    words = ["--audio-in", str(path), *words]
    assert generate(model, tmp_path / "boat.mp4", *CLIP, "--quiet", *words) == 2
    refused(capsys, sentence)
    assert list(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--video-in", "{folder}/lost.mp4", "--audio-out"], "lost.mp4: does not exist"),
        (["--video-in", "{folder}/corrupt.mp4", "--audio-out"], "cannot be decoded"),
        (["--video-in", "{folder}/sound.wav", "--audio-out"], "holds no video stream"),
        (["--video-in", "{folder}/tiny.mp4", "--audio-out"], "smaller than 32 x 32"),
        (["--video-in", "{folder}/clip.mp4"], "goes with --audio-out"),
        (["--audio-out"], "--audio-out.*--video-in"),
        (["--video-in", "{folder}/clip.mp4", "--audio-out", "--no-audio"], "exclude"),
        (["--video-in", "{folder}/clip.mp4", "--audio-out", "--audio-only"], "--audio-only"),
        (["--video-in", "{folder}/clip.mp4", "--audio-out", "--num-frames", "33"], "has 9 frames"),
        (["--video-in", "{folder}/clip.mp4", "--audio-out", "--init-img", "a.png"], "nothing else"),
    ],
)
def test_bad_pictures_are_one_sentence(
    model: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    write_clip(tmp_path / "clip.mp4", 9)
    write_clip(tmp_path / "tiny.mp4", 9, size=(16, 16))
    (tmp_path / "corrupt.mp4").write_bytes(b"no pictures at all" * 50)
    media.save_sound(tmp_path / "sound.wav", Audio(speech(0.5), RATE))
    before = sorted(tmp_path.iterdir())
    words = [word.format(folder=tmp_path) for word in words]
    assert generate(model, tmp_path / "boat.mp4", "--quiet", *words) == 2
    refused(capsys, sentence)
    assert sorted(tmp_path.iterdir()) == before


def refused(capsys: pytest.CaptureFixture[str], sentence: str) -> None:
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and re.search(sentence, errors[0])
