"""``ltx2cpp-cli encode`` and what `generate` makes of its work, with the demo model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ltx2cpp.cli.main import main
from ltx2cpp.cli.options.cache import prompt_folder
from ltx2cpp.media import read_latents

PROMPT = "a red circle moves right on a blue background"
QUICK = ("--num-frames", "9", "--steps", "1", "--seed", "3", "--threads", "1", "--quiet")


def generate(*words: object, out: Path) -> np.ndarray:
    assert main(["generate", *map(str, words), *QUICK, "-o", str(out)]) == 0
    video, _ = read_latents(out)
    assert video is not None
    return video


def test_prompts_are_kept_unless_told_otherwise(tmp_path: Path, encoders: list[str]) -> None:
    first = generate(PROMPT, out=tmp_path / "a.safetensors")
    np.testing.assert_array_equal(generate(PROMPT, out=tmp_path / "b.safetensors"), first)
    assert encoders == ["encoder"]
    assert len(list(prompt_folder().iterdir())) == 1
    anew = generate(PROMPT, "--no-prompt-cache", out=tmp_path / "c.safetensors")
    np.testing.assert_array_equal(anew, first)
    assert len(encoders) == 2


def test_encoded_prompts_need_no_encoder(
    tmp_path: Path, encoders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, files = [PROMPT, "a green square"], [tmp_path / "a.safetensors", "b.safetensors"]
    words = [word for file in files for word in ("-o", str(file))]
    assert main(["encode", *prompts, *words, "--json", "--quiet"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {"prompts": prompts, "outputs": [str(file) for file in files]}
    assert encoders == ["encoder"]
    given = generate("--embedding", files[0], out=tmp_path / "given.safetensors")
    typed = generate(PROMPT, out=tmp_path / "typed.safetensors")
    np.testing.assert_array_equal(given, typed)
    assert encoders == ["encoder"]


def test_encode_alone_fills_the_cache(
    encoders: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["encode", PROMPT]) == 0
    assert capsys.readouterr().out == f"kept: {PROMPT}\n"
    generate(PROMPT, out=tmp_path / "a.safetensors")
    assert encoders == ["encoder"]


def test_a_clip_of_an_embedding_is_made_again_with_it(tmp_path: Path) -> None:
    assert main(["encode", PROMPT, "-o", str(tmp_path / "a.safetensors"), "--quiet"]) == 0
    embedding = ("--embedding", str(tmp_path / "a.safetensors"))
    clip, again = str(tmp_path / "a.webp"), str(tmp_path / "b.webp")
    assert main(["generate", *embedding, *QUICK, "-o", clip]) == 0
    assert main(["generate", *embedding, "--like", clip, "--quiet", "-o", again]) == 0
    assert Path(clip).read_bytes() == Path(again).read_bytes()
    assert main(["generate", "--like", clip, "--quiet", "-o", again]) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["encode", "a", "b", "-o", "a.safetensors"], "expected one for each of the 2 prompts"),
        (["encode", "a", "-o", "a.mp4"], "written as .safetensors"),
        (["encode", "a", "--no-prompt-cache"], "leaves nothing of the work"),
        (["encode", "a", "-o", "none/a.safetensors"], "does not exist"),
        (["encode", *"ab", "-o", "a.safetensors", "-o", "./a.safetensors"], "the same file twice"),
        (["generate", "a", "--embedding", "x", "-o", "a.mp4"], "as text and as --embedding"),
        (["generate", "-o", "a.mp4"], "no prompt is given"),
        (["generate", "--embedding", "x", "-o", "a.mp4"], "x: no such file"),
        (
            ["generate", "a", "-n", "b", "--negative-embedding", "x", "-o", "a.mp4"],
            "the negative prompt is given twice",
        ),
    ],
)
def test_what_is_refused(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) in (2, 3)
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
