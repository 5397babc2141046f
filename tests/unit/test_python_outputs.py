"""What a generation gives in Python: saved into open files, shown in a line and in a notebook."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ltx2cpp import Audio, ClipOutput, GenerationOutput, PromptEmbedding
from ltx2cpp.errors import ArgumentError, OutputError
from ltx2cpp.media import Hdr, HdrCurve, HdrSpace

FRAMES = np.random.default_rng(0).integers(0, 255, (9, 64, 96, 3), np.uint8)
WAVE = Audio(np.zeros((2, 16000), np.float32), 16000)


def clip(**changed: Any) -> GenerationOutput:
    values: dict[str, Any] = {
        "video": FRAMES,
        "sound": WAVE,
        "frame_rate": 24.0,
        "video_latent": np.zeros((16, 2, 2, 3), np.float32),
        "audio_latent": np.zeros((8, 9, 16), np.float32),
        "info": {"seed": 7},
        **changed,
    }
    return (ClipOutput if values["video"] is not None else GenerationOutput)(**values)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_pictures_are_the_first_stream(tmp_path: Path, ending: str) -> None:
    clip().save(tmp_path / f"a.{ending}")
    with av.open(str(tmp_path / f"a.{ending}")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_rate_factor_and_preset_reach_the_encoder(tmp_path: Path) -> None:
    def written(**options: Any) -> bytes:
        clip().save(tmp_path / "a.mp4", **options)
        return (tmp_path / "a.mp4").read_bytes()

    usual = written()
    assert len(written(crf=40)) < len(usual) < len(written(crf=5))
    # The encoder writes its settings into the stream.
    assert b"subme=2" in usual and b"subme=0" in written(preset="ultrafast")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.mp4", {"crf": 52}, "crf: expected 0 to 51 for .mp4, found 52"),
        ("a.mp4", {"crf": "good"}, "crf: expected 0 to 51"),
        ("a.mp4", {"preset": "quick"}, "preset: expected one of ultrafast, "),
        ("a.webm", {"preset": "slow"}, "preset: .webm has none"),
        ("a.gif", {"crf": 20}, "crf and preset are of video files"),
        ("a.wav", {"crf": 20}, "crf and preset are of video files"),
        ("a.mp4", {"format": "mp4"}, "format: is of open files"),
        (7, {}, "path: expected a path"),
        (io.BytesIO(), {}, "format: expected an ending such as 'mp4'"),
        (io.BytesIO(), {"format": "avi"}, "unknown extension '.avi'"),
    ],
)
def test_what_cannot_be_saved_so_is_refused(
    tmp_path: Path, name: Any, options: dict[str, Any], words: str
) -> None:
    target = tmp_path / name if isinstance(name, str) else name
    with pytest.raises(ArgumentError, match=re.escape(words)):
        clip().save(target, **options)
    assert list(tmp_path.iterdir()) == []


def test_open_files_get_the_same_bytes(tmp_path: Path) -> None:
    clip().save(tmp_path / "a.mp4")
    memory = io.BytesIO()
    clip().save(memory, format=".mp4")
    assert memory.getvalue() == (tmp_path / "a.mp4").read_bytes()
    with (tmp_path / "b.wav").open("wb") as stream:
        clip().save(stream)
    assert (tmp_path / "b.wav").read_bytes().startswith(b"RIFF")
    with (tmp_path / "c.mp4").open("w") as text, pytest.raises(OutputError, match="open for bytes"):
        clip().save(text)  # type: ignore[arg-type]
    codes = clip(
        video=np.zeros((1, 64, 96, 3), np.float32), hdr=Hdr(HdrSpace.SRGB_LINEAR, HdrCurve.LOGC3)
    )
    with pytest.raises(ArgumentError, match="a clip in HDR is several files"):
        codes.save(io.BytesIO(), format="mp4")


def test_a_line_says_what_it_is() -> None:
    assert repr(clip()) == ("ClipOutput(9 frames of 96 x 64, 24 fps, sound of 1.00 s, seed 7)")
    assert repr(clip(video=None, sound=None)) == (
        "GenerationOutput(video latent (16, 2, 2, 3), audio latent (8, 9, 16), seed 7)"
    )
    assert repr(WAVE) == "Audio(samples=float32 (2, 16000), sample_rate=16000)"
    embedding = PromptEmbedding(np.zeros((4, 8)), np.zeros((4, 6)))
    assert repr(embedding) == "PromptEmbedding(video=float32 (4, 8), audio=float32 (4, 6))"


def test_a_notebook_shows_a_player() -> None:
    shown = clip()._repr_html_()
    data = re.search(r'<video controls loop src="data:video/mp4;base64,([^"]+)"', shown)
    assert data is not None
    with av.open(io.BytesIO(base64.b64decode(data[1]))) as container:
        assert container.streams.video[0].frames == 9
    assert '<audio controls src="data:audio/wav;base64,' in clip(video=None)._repr_html_()
    assert clip(video=None, sound=None)._repr_html_().startswith("<pre>GenerationOutput(")
