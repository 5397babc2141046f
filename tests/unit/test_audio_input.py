"""Sound that is given: read from files, cut to the clip, held from end to end."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ltx2cpp import media
from ltx2cpp.conditioning import AudioCondition, LatentState
from ltx2cpp.conditioning.sound import as_audio_condition, cut_sound, hold_sound
from ltx2cpp.errors import ArgumentError, ShapeError
from ltx2cpp.latents import ClipShape, audio_positions
from ltx2cpp.values import Audio

SHAPE = ClipShape(64, 32, 25, 25.0)  # one second


def tone(seconds: float, rate: int, channels: int = 2) -> NDArray[np.float32]:
    time = np.arange(round(seconds * rate)) / rate
    pitches = 440.0 * (1 + np.arange(channels))[:, None]
    return (0.5 * np.sin(2 * np.pi * pitches * time)).astype(np.float32)


def write_pcm(path: Path, samples: NDArray[np.float32], rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(samples.T * 32768).astype("<i2").tobytes())
    return path


def write_float(path: Path, samples: NDArray[np.float32], rate: int) -> Path:
    with av.open(str(path), "w", format="wav") as container:
        stream: Any = container.add_stream("pcm_f32le", rate=rate, layout="stereo")
        packed = np.ascontiguousarray(samples.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="stereo")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_pcm_is_read_exactly(tmp_path: Path, rate: int, channels: int) -> None:
    given = tone(0.5, rate, channels)
    sound = media.read_audio(write_pcm(tmp_path / "a.wav", given, rate))
    assert (sound.sample_rate, sound.samples.shape) == (rate, (2, given.shape[1]))
    expected = np.broadcast_to(np.rint(given * 32768) / 32768, sound.samples.shape)
    np.testing.assert_array_equal(sound.samples, expected.astype(np.float32))


def test_a_part_is_read(tmp_path: Path) -> None:
    path = write_pcm(tmp_path / "a.wav", tone(2, 16000), 16000)
    whole = media.read_audio(path).samples
    part = media.read_audio(path, start_s=0.25, duration_s=0.5).samples
    np.testing.assert_array_equal(part, whole[:, 4000:12000])
    rest = media.read_audio(path, start_s=1.5, duration_s=9).samples
    np.testing.assert_array_equal(rest, whole[:, 24000:])


@pytest.mark.parametrize("name", ["a.m4a", "a.mp4"])
def test_compressed_sound_is_read(tmp_path: Path, name: str) -> None:
    given = tone(1, 48000)
    track = Audio(given, 48000)
    if name == "a.mp4":
        media.save_video(
            tmp_path / name, [np.zeros((25, 32, 32, 3), np.uint8)], frame_rate=25, audio=track
        )
    else:
        media.save_sound(tmp_path / name, track)
    sound = media.read_audio(tmp_path / name, duration_s=0.9)
    inner = slice(4096, 40000)
    # AAC noise; one sample off would be 0.03.
    assert np.sqrt(np.mean((sound.samples[:, inner] - given[:, inner]) ** 2)) < 0.02


# FL, FR, FC, LFE and two surrounds; the shares of BS.775.
SHARES = np.array([[1, 0, 0.5**0.5, 0, 0.5**0.5, 0], [0, 1, 0.5**0.5, 0, 0, 0.5**0.5]])


def write_surround(path: Path, levels: list[float], layout: str = "5.1") -> Path:
    """Write constant channels; an unnamed layout is that of a plain WAV."""
    samples = np.repeat(np.array(levels, np.float32)[:, None], 4800, axis=1)
    if layout == "unnamed":
        return write_pcm(path, samples, 48000)
    with av.open(str(path), "w") as container:
        if path.suffix == ".mkv":
            video: Any = container.add_stream("ffv1", rate=25)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv444p"
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        stream: Any = container.add_stream("pcm_f32le", rate=48000, layout=layout)
        packed = np.ascontiguousarray(samples.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = 48000
        if path.suffix == ".mkv":
            # As long as the sound.
            for _ in range(3):
                container.mux(video.encode(picture))
            container.mux(video.encode(None))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def both_readings(path: Path) -> list[NDArray[np.float32]]:
    """Return the sound of a file as a sound, and where it is a clip, as its sound."""
    readings = [media.read_audio(path).samples]
    if path.suffix == ".mkv":
        audio = media.read_video(path, with_audio=True).audio
        assert audio is not None
        readings.append(audio.samples)
    return readings


@pytest.mark.parametrize("channel", range(6))
@pytest.mark.parametrize(
    ("name", "layout"),
    [("a.wav", "5.1"), ("a.wav", "5.1(side)"), ("a.wav", "unnamed"), ("a.mkv", "5.1")],
)
def test_surround_is_mixed_down(tmp_path: Path, name: str, layout: str, channel: int) -> None:
    levels = [0.5 if index == channel else 0.0 for index in range(6)]
    for samples in both_readings(write_surround(tmp_path / name, levels, layout)):
        assert samples.shape == (2, 4800)
        np.testing.assert_allclose(samples[:, 2000], SHARES @ levels, atol=1e-4)


def test_a_loud_mix_does_not_clip(tmp_path: Path) -> None:
    levels = [0.9, 0.45, 0.9, 0.0, 0.9, 0.0]
    (samples,) = both_readings(write_surround(tmp_path / "a.wav", levels))
    mixed = SHARES @ levels
    np.testing.assert_allclose(samples[:, 2000], mixed / mixed.max(), atol=1e-4)


@pytest.mark.parametrize("name", ["a.wav", "a.mkv"])
def test_one_channel_keeps_its_level(tmp_path: Path, name: str) -> None:
    for samples in both_readings(write_surround(tmp_path / name, [0.5], "mono")):
        np.testing.assert_allclose(samples, 0.5, atol=1e-6)
        assert samples.shape == (2, 4800)


def bad_file(folder: Path, kind: str) -> Path:
    path = folder / "bad.wav"
    if kind == "corrupt":
        path.write_bytes(b"no sound at all" * 50)
    elif kind == "no stream":
        path = folder / "bad.mp4"
        media.save_video(path, [np.zeros((9, 32, 32, 3), np.uint8)], frame_rate=25)
    elif kind == "empty":
        write_pcm(path, np.zeros((2, 0), np.float32), 16000)
    elif kind == "three channels":
        write_pcm(path, tone(0.1, 16000, 3), 16000)
    elif kind == "nan":
        samples = tone(0.1, 16000)
        samples[1, 100] = np.nan
        write_float(path, samples, 16000)
    elif kind == "short":
        write_pcm(path, tone(0.5, 16000), 16000)
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "does not exist"),
        ("corrupt", "cannot be decoded"),
        ("no stream", "holds no audio stream"),
        ("empty", "holds no samples|cannot be decoded"),
        ("three channels", "has 3 channels and does not say which"),
        ("nan", "not finite"),
        ("short", "lasts 0.5 seconds, so nothing starts at 0.75"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, kind: str, sentence: str) -> None:
    start_s = 0.75 if kind == "short" else 0.0
    with pytest.raises(ArgumentError, match=sentence) as error:
        media.read_audio(bad_file(tmp_path, kind), start_s=start_s)
    assert "\n" not in str(error.value)


def test_a_file_that_ends_early_is_read_or_refused(tmp_path: Path) -> None:
    media.save_sound(tmp_path / "a.m4a", Audio(tone(1, 48000), 48000))
    whole = (tmp_path / "a.m4a").read_bytes()
    for share in (0.1, 0.5, 0.9):
        cut = tmp_path / "cut.m4a"
        cut.write_bytes(whole[: int(len(whole) * share)])
        try:
            assert np.isfinite(media.read_audio(cut).samples).all()
        except ArgumentError as error:
            assert str(cut) in str(error)


@pytest.mark.parametrize("from_file", [True, False])
def test_sound_is_cut_to_the_clip(tmp_path: Path, from_file: bool) -> None:
    samples = np.rint(tone(3, 24000) * 32768).astype(np.float32) / 32768
    if from_file:
        path = write_pcm(tmp_path / "a.wav", samples, 24000)
        lead = AudioCondition(path, start_s=0.5)
    else:
        lead = AudioCondition(samples, 24000, 0.5)
    sound = cut_sound(lead, SHAPE)
    assert sound.sample_rate == 24000
    np.testing.assert_array_equal(sound.samples, samples[:, 12000:36000])


def test_rates_that_no_file_holds_are_resampled() -> None:
    sound = cut_sound(AudioCondition(tone(1, 11000)[0], 11000), SHAPE)
    assert (sound.sample_rate, sound.samples.shape) == (48000, (2, 48000))
    inner = slice(2000, 46000)
    assert np.abs(sound.samples[:, inner] - tone(1, 48000)[0, inner]).max() < 5e-3


@pytest.mark.parametrize("frames", [3, 25, 40])
def test_held_sound_is_cut_or_filled_with_zeros(frames: int) -> None:
    latent = np.random.default_rng(0).standard_normal((2, frames, 16)).astype(np.float32)
    state = hold_sound(LatentState.empty(25, 32, audio_positions(25)), latent)
    state = state.noised(np.ones((25, 32), np.float32))
    assert not state.mask.any()
    kept = min(frames, 25)
    expected = latent.transpose(1, 0, 2).reshape(frames, 32)[:kept]
    np.testing.assert_array_equal(state.latent[:kept], expected)
    assert not state.latent[kept:].any()
    with pytest.raises(ShapeError, match="different models"):
        hold_sound(LatentState.empty(25, 48, audio_positions(25)), latent)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: AudioCondition("a.wav", start_s=-1), "0 or more seconds"),
        (lambda: AudioCondition("a.wav", start_s=float("nan")), "0 or more seconds"),
        (lambda: AudioCondition("a.wav", 48000), "a file has its own"),
        (lambda: AudioCondition(np.zeros((2, 9), np.float32)), "sample_rate: expected"),
        (lambda: AudioCondition(io.BytesIO()), "expected a file or an array"),  # type: ignore[arg-type]
        (lambda: as_audio_condition(7), "a file or an AudioCondition"),
        (lambda: cut_sound(AudioCondition(tone(1, 8000), 8000, 2.0), SHAPE), "lasts 1 seconds"),
        (lambda: cut_sound(AudioCondition(tone(0.01, 8000), 8000), SHAPE), "10 ms .* too short"),
    ],
)
def test_bad_conditions_are_refused(make: Any, sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        make()


def test_given_sound_comes_out_of_the_clip_again(tmp_path: Path) -> None:
    given = tone(1.4, 48000)
    sound = cut_sound(AudioCondition(write_pcm(tmp_path / "a.wav", given, 48000)), SHAPE)
    track = Audio(sound.samples, sound.sample_rate)
    pictures = np.zeros((25, 32, 32, 3), np.uint8)
    media.save_video(tmp_path / "a.mp4", [pictures], frame_rate=25, audio=track)
    again = media.read_audio(tmp_path / "a.mp4")
    assert abs(again.samples.shape[1] - 48000) <= 1024
    inner = slice(4096, 40000)
    assert np.sqrt(np.mean((again.samples[:, inner] - given[:, inner]) ** 2)) < 0.02


def test_sound_of_an_unknown_codec_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 8000, 100, "NONE", ""))
        file.writeframes(bytes(400))
    content = bytearray(path.read_bytes())
    # The number of the codec, behind the name and length of the chunk that holds it.
    content[20:22] = b"\x34\x12"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"a\.wav: its audio stream is of a codec that this"):
        media.read_audio(path)
