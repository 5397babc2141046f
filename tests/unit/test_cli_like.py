"""``generate --like CLIP``: a clip may come from anyone, and chooses only among local files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import fake_pipeline
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ltx2cpp import AudioCondition, Extend, Foley, ImageCondition, ReferenceVideo, VideoCondition
from ltx2cpp.cli.main import main
from ltx2cpp.conditioning import Retake, describe

MADE = {"prompt": "a boat", "seed": 1, "sigmas": [1.0, 0.0], "num_frames": 9}


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pipeline.install(monkeypatch)


def like(*words: str, **parameters: Any) -> int:
    info = PngInfo()
    info.add_text("comment", json.dumps({**MADE, **parameters}))
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("clip.png", pnginfo=info)
    return main(["generate", "--like", "clip.png", "-o", "out.webp", *words])


def test_all_six_kinds_are_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.mp4", "c.wav"):
        Path(name).touch()
    given = [
        ImageCondition("a.png", frame=-1, strength=0.5, crf=20, append=True),
        VideoCondition("b.mp4", frame=8),
        ReferenceVideo("b.mp4", attention=0.5, downscale=2, audio="c.wav"),
        Retake("b.mp4", start_s=1, new_audio=False),
        Extend("b.mp4", 2.0),
        Foley("b.mp4"),
    ]
    assert like(images=[describe(each) for each in given], frame_rate=24.0) == 0
    assert [describe(each) for each in fake_pipeline.CALLS[-1]["conditions"]] == list(
        map(describe, given)
    )
    assert "--like clip.png: reads a.png, b.mp4, c.wav\n" in capsys.readouterr().err


def test_the_sound_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("song.ogg").touch()
    assert like(audio_condition=AudioCondition("song.ogg", start_s=2).describe()) == 0
    assert "--like clip.png: reads song.ogg\n" in capsys.readouterr().err
    # Its own sound is not read where another is given.
    Path("song.ogg").unlink()
    stored = AudioCondition("song.ogg").describe()
    assert like("--audio-in", "other.ogg", audio_condition=stored) == 0
    assert "reads" not in capsys.readouterr().err


def test_nothing_is_said_where_nothing_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert like(images=[]) == 0
    assert "reads" not in capsys.readouterr().err
    Path("a.png").touch()
    assert like("-q", images=[describe(ImageCondition("a.png"))]) == 0
    assert "reads" not in capsys.readouterr().err


def test_a_written_out_prompt_is_not_written_again(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "its enhanced_prompt cannot be read", enhanced_prompt=["a"])
    written = {"enhanced_prompt": "A boat glides."}
    for words in ((), ("--prompt", "a boat"), ("--seed", "7")):
        assert like(*words, **written) == 0
        call = fake_pipeline.CALLS[-1]
        assert call["enhanced_prompt"] == "A boat glides."
        assert "enhance_prompt" not in call
    # Another prompt, or written anew.
    for words in (("--prompt", "a car"), ("--enhance",)):
        assert like(*words, **written) == 0
        assert "enhanced_prompt" not in fake_pipeline.CALLS[-1]
    assert fake_pipeline.CALLS[-1]["enhance_prompt"] is True


def test_generated_keyframes_are_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "its generated_keyframes cannot be read", generated_keyframes=[0.5])
    assert like(generated_keyframes=[5, 13]) == 0
    assert fake_pipeline.CALLS[-1]["generated_keyframes"] == [5, 13]


def test_refinement_is_made_again_by_its_pipeline_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = {"pipeline": "dfr", "temporal_rounds": 1, "detail_reference": False}
    for bad in ({"temporal_rounds": "1"}, {"detail_reference": 1}):
        refused(capsys, f"its {next(iter(bad))} cannot be read", **{**made, **bad})
    assert like(**made) == 0
    call = fake_pipeline.CALLS[-1]
    assert (call["pipeline"], call["temporal_rounds"], call["detail_reference"]) == (
        "dfr",
        1,
        False,
    )
    assert like("--pipeline", "distilled", **made) == 0
    assert "temporal_rounds" not in fake_pipeline.CALLS[-1]
    assert like("--pipeline", "dfr", generated_keyframes=[5]) == 0
    assert "generated_keyframes" not in fake_pipeline.CALLS[-1]


KINDS: list[dict[str, Any]] = [
    {"kind": "ImageCondition", "picture": ...},
    {"kind": "VideoCondition", "video": ...},
    {"kind": "ReferenceVideo", "video": ...},
    {"kind": "ReferenceVideo", "video": "here.mp4", "audio": ...},
    {"kind": "Retake", "video": ...},
    {"kind": "Extend", "video": ..., "seconds": 1},
    {"kind": "Foley", "video": ...},
    {"sound": ..., "start_s": 0.0},
]
ADDRESSES = (
    *("http://127.0.0.1:9/a", "tcp://127.0.0.1:9", "file:here.mp4", "concat:here.mp4|here.mp4"),
    *("//127.0.0.1/a", r"\\127.0.0.1\a", "crypto+http://a", "data:text/plain,a"),
)


def with_file(stored: dict[str, Any], file: object) -> dict[str, Any]:
    filled = {name: file if value is ... else value for name, value in stored.items()}
    return {"images": [filled]} if "kind" in filled else {"audio_condition": filled}


def test_a_file_may_be_called_like_an_address() -> None:
    Path("scene: one.png").touch()
    assert like(images=[describe(ImageCondition("scene: one.png"))]) == 0


def refused(capsys: pytest.CaptureFixture[str], sentence: str, **parameters: Any) -> None:
    assert like(**parameters) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --like clip.png: ") and error.count("\n") == 1
    assert sentence in error
    assert fake_pipeline.CALLS == []
    assert not Path("out.webp").exists()


@pytest.mark.parametrize("stored", KINDS)
@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_refused(
    capsys: pytest.CaptureFixture[str], address: str, stored: dict[str, Any]
) -> None:
    Path("here.mp4").touch()
    refused(capsys, "which is not followed", **with_file(stored, address))


@pytest.mark.parametrize("stored", KINDS)
@pytest.mark.parametrize(
    "name", ["nothing.mp4", "folder", "pipe", "/dev/zero", "a\0b", "", 300 * "a"]
)
def test_all_but_regular_files_is_refused(
    capsys: pytest.CaptureFixture[str], name: str, stored: dict[str, Any]
) -> None:
    Path("here.mp4").touch()
    Path("folder").mkdir()
    os.mkfifo("pipe")
    refused(capsys, "is no file here", **with_file(stored, name))


@pytest.mark.parametrize("kind", ["LTX2Pipeline", "PromptEmbedding", "__doc__", "convert", 3, None])
def test_other_kinds_are_refused(capsys: pytest.CaptureFixture[str], kind: object) -> None:
    refused(capsys, "expected one of ImageCondition, ", images=[{"kind": kind, "files": "a"}])


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ({}, "expected a list"),
        ("http://a", "expected a list"),
        (["a.png"], "expected one of ImageCondition"),
        ([{"kind": "Foley", "video": 0}], "takes no video 0"),
        ([{"kind": "Foley", "video": None}], "takes no video None"),
        ([{"kind": "Foley", "video": ["a.mp4"]}], "takes no video"),
        ([{"kind": "Foley", "picture": "here.mp4"}], "takes no picture"),
        ([{"kind": "Foley", "video": "here.mp4", "hook": 1}], "takes no hook"),
        ([{"kind": "Foley"}], "missing"),
        ([{"kind": "ImageCondition", "picture": "here.mp4", "append": 1}], "takes no append"),
        ([{"kind": "ImageCondition", "picture": "here.mp4", "crf": "1"}], "takes no crf"),
        ([{"kind": "Retake", "video": "here.mp4", "mask": "here.mp4"}], "takes no mask"),
        ([{"kind": "Retake", "video": "here.mp4", "start_s": None}], "cannot be read"),
    ],
)
def test_values_of_other_types_are_refused(
    capsys: pytest.CaptureFixture[str], images: object, sentence: str
) -> None:
    Path("here.mp4").touch()
    refused(capsys, sentence, images=images)


def test_the_files_of_the_clip_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out.webp").write_bytes(b"precious")
    assert like(images=[describe(VideoCondition("out.webp"))]) == 2
    assert "out.webp, which is read for --like" in capsys.readouterr().err
    assert Path("out.webp").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "x"),
        ("seed", float("inf")),
        ("frame_rate", []),
        ("frame_rate", 10**400),
        ("sigmas", [10**400]),
        ("width", 64.5),
        ("sigmas", ["a"]),
        ("negative_prompt", 3),
        ("guidance", {"video": {"bins": [[1]]}, "audio": {}, "stg_blocks": []}),
        ("guidance", {"video": {}, "audio": {}, "stg_blocks": ["a"]}),
        ("guidance", {"video": {"cfg": "3"}, "audio": {}, "stg_blocks": []}),
    ],
)
def test_parameters_of_other_types_are_refused(
    capsys: pytest.CaptureFixture[str], name: str, value: Any
) -> None:
    assert like(**{name: value}) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --like clip.png: ")
    assert name in said


def test_nothing_of_the_clip_reaches_the_terminal_as_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    like(loras=[{"file": "\x1b]0;owned\x07", "strength": "\x1b[2J"}])
    said = capsys.readouterr().err
    assert "\\u001b]0;owned\\u0007:\\u001b[2J" in said
    assert "\x1b" not in said


def test_comments_nested_without_end_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    info = PngInfo()
    info.add_text("comment", "[" * 100_000)
    Image.new("RGB", (8, 8)).save("deep.png", pnginfo=info)
    assert main(["generate", "--like", "deep.png", "-o", "out.webp"]) == 2
    assert "carries no generation parameters" in capsys.readouterr().err
