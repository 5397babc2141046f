"""Shows how long pictures and sound are in the MP4 files that this package writes.

    python tools/check_stream_lengths.py

Writes a short clip of each number of frames and each rate, with a sound as long as the model would
make it, and prints what PyAV reads from the file. Fails where the streams differ by more than one
AAC frame.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ltx2cpp import media
from ltx2cpp.latents import audio_latent_frames
from ltx2cpp.values import Audio

_FRAMES = (9, 25, 121)
_RATES = (24, 25, 23.976, 50)
_SAMPLE_RATE = 48_000
_AAC_FRAME = 1024


def stream_lengths(path: Path) -> tuple[Fraction, Fraction]:
    """Return seconds of video and audio as the file's index says."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.duration and video.time_base and audio.duration and audio.time_base
        return video.duration * video.time_base, audio.duration * audio.time_base


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(arguments)
    worst = Fraction(0)
    print("frames     fps  made (s)  video (s)  audio (s)  apart (samples)")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        for frames in _FRAMES:
            for rate in _RATES:
                samples = (4 * audio_latent_frames(frames, rate) - 3) * _SAMPLE_RATE // 100
                wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(samples) / _SAMPLE_RATE)
                track = Audio(np.stack([wave, wave]).astype(np.float32), _SAMPLE_RATE)
                pictures = np.zeros((frames, 32, 32, 3), np.uint8)
                media.save_video(path, [pictures], frame_rate=rate, audio=track)
                video_s, audio_s = stream_lengths(path)
                apart = (audio_s - video_s) * _SAMPLE_RATE
                worst = max(worst, abs(apart))
                print(
                    f"{frames:6} {rate:7} {samples / _SAMPLE_RATE:9.4f} {float(video_s):10.4f} "
                    f"{float(audio_s):10.4f} {float(apart):16.1f}"
                )
    print(f"at most {float(worst):.1f} samples apart, one AAC frame has {_AAC_FRAME}")
    return 0 if worst <= _AAC_FRAME else 1


if __name__ == "__main__":
    raise SystemExit(main())
