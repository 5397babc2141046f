"""``ltx2cpp-cli generate`` with a pipeline of grey frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers import fake_pipeline
from helpers.fake_pipeline import FakeStream

from ltx2cpp import media
from ltx2cpp.cli.main import main
from ltx2cpp.conditioning import ImageCondition, ReferenceVideo, Retake, describe
from ltx2cpp.devices import Devices
from ltx2cpp.options import Guidance, LoraSpec, ModalityGuidance, Sampling
from ltx2cpp.values import Audio


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pipeline.install(monkeypatch)


def generate(*words: object) -> int:
    return main(["generate", *map(str, words)])


def told(images: Any) -> list[tuple[str, int, float, bool]]:
    return [(str(each.picture), each.frame, each.strength, each.append) for each in images]


def last_call() -> dict[str, Any]:
    return fake_pipeline.CALLS[-1]


def test_generate_writes_the_clip_and_prints_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "boat.mp4"
    assert generate("a boat", "-m", "x.gguf", "-o", out, "--seed", 7, "--fps", "23.976") == 0
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (64, 32, 9)
        assert str(stream.average_rate) == "24000/1001"
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{out}: 9 frames of 64 x 32, 23.976 fps, ")
    assert printed.out.endswith("seed 7\n") and printed.out.count("\n") == 1


def test_generate_says_where_time_and_memory_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate("a boat", "-o", tmp_path / "a.mp4") == 0
    rows = [line.split() for line in capsys.readouterr().err.splitlines()]
    table = rows[rows.index(["phase", "time", "share", "peak", "memory"]) :]
    assert table[1][:3] == ["denoise", "0.50", "s"] and table[1][-2:] == ["2", "GB"]
    assert table[2][:4] == ["decode", "video", "0.25", "s"] and table[2][-2:] == ["3", "GB"]
    assert table[-1][0] == "total" and table[-1][-2:] == ["3", "GB"]


def test_generate_quiet_prints_the_result_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate("a boat", "-o", tmp_path / "a.mp4", "--quiet") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "a.mp4" in printed.out


def test_generate_passes_every_option_on(tmp_path: Path) -> None:
    assert (
        generate(
            *("--prompt", "a boat", "--negative-prompt", "fog", "--model", "m.safetensors"),
            *("--text-encoder", "folder", "--transformer", "t.gguf", "--connectors", "c.gguf"),
            *("--text-projection", "p.gguf", "--video-vae", "v.gguf", "--audio-vae", "a.gguf"),
            *(
                "--tokenizer",
                "tokenizer.model",
                "--variant",
                "dev",
                "--device",
                "cpu",
                "--threads",
                3,
            ),
            *("--weight-type", "q8_0", "--width", 96, "--height", 64, "--num-frames", 17),
            *("--fps", "25", "--steps", 2, "--sigmas", "1,0.5,0", "--seed", 5),
            *("--guidance-scale", 4.5, "--no-audio", "--output", tmp_path / "a.mp4"),
            *("--two-stage", "--sampler", "res_2s", "--eta", 0.25, "--noise-seed", 8),
            *("--scheduler", "flow_shift", "--flow-shift", 2, "--scheduler-tokens", "clip"),
        )
        == 0
    )
    assert last_call() == {
        "prompt": "a boat",
        "negative_prompt": "fog",
        "paths": {
            "checkpoint": Path("m.safetensors"),
            "text_encoder": Path("folder"),
            "transformer": Path("t.gguf"),
            "connectors": Path("c.gguf"),
            "text_projection": Path("p.gguf"),
            "video_vae": Path("v.gguf"),
            "audio_vae": Path("a.gguf"),
            "tokenizer": Path("tokenizer.model"),
            "variant": "dev",
        },
        "device": Devices.spelled("cpu"),
        "threads": 3,
        "weight_type": "q8_0",
        "width": 96,
        "height": 64,
        "num_frames": 17,
        "frame_rate": 25.0,
        "num_inference_steps": 2,
        "sigmas": (1.0, 0.5, 0.0),
        "seed": 5,
        "guidance_scale": 4.5,
        "audio": False,
        "two_stage": True,
        "sampling": Sampling("res_2s", "flow_shift", "clip", 2.0, 0.25, 8),
    }


def test_generate_takes_the_names_of_sd_cli(tmp_path: Path) -> None:
    assert (
        generate(
            *("-m", "m.gguf", "-p", "a boat", "-n", "fog", "-W", 96, "-H", 64, "-s", 5, "-t", 2),
            *("-o", tmp_path / "a.mp4", "-v", "--video-frames", 17, "--cfg-scale", 3, "--fps", 24),
            *("--steps", 2, "--init-img", "first.png", "--end-img", "last.png"),
        )
        == 0
    )
    call = last_call()
    assert (call["prompt"], call["negative_prompt"], call["seed"]) == ("a boat", "fog", 5)
    assert (call["width"], call["height"], call["num_frames"]) == (96, 64, 17)
    assert (call["guidance_scale"], call["threads"]) == (3.0, 2)
    assert told(call["conditions"]) == [("first.png", 0, 1.0, False), ("last.png", -1, 1.0, False)]


def test_generate_leaves_unset_values_to_the_pipeline(tmp_path: Path) -> None:
    assert generate("a boat", "-o", tmp_path / "a.mp4") == 0
    assert set(last_call()) == {
        *("prompt", "paths", "device", "weight_type", "threads", "seed", "audio", "demo")
    }


@pytest.mark.parametrize("given", [[], ["--seed", "-1"]])
def test_generate_draws_prints_and_stores_a_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    seeds = set()
    for name in ("a.mp4", "b.mp4"):
        assert generate("a boat", "-o", tmp_path / name, *given) == 0
        seed = last_call()["seed"]
        printed = capsys.readouterr()
        assert f"seed: {seed}" in printed.err and printed.out.endswith(f"seed {seed}\n")
        assert media.read_parameters(tmp_path / name)["seed"] == seed
        seeds.add(seed)
    assert len(seeds) == 2


def test_generate_json_tells_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latents = tmp_path / "a.safetensors"
    assert generate("a boat", "-o", tmp_path / "a.mp4", "--json", "--latents-out", latents) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["output"] == str(tmp_path / "a.mp4")
    assert report["latents"] == str(latents) and latents.is_file()
    assert report["num_frames"] == 9
    assert report["size_bytes"] == (tmp_path / "a.mp4").stat().st_size
    assert report["parameters"] == media.read_parameters(tmp_path / "a.mp4")
    assert [phase["name"] for phase in report["phases"]] == ["denoise", "decode video"]


def test_generate_prints_the_length_of_the_sound_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Latents of sound do not divide a second as frames do.
    sound = Audio(np.zeros((2, 16_560), np.float32), 24_000)
    monkeypatch.setattr(FakeStream, "heard", sound)
    assert generate("a bell", "--num-frames", 17, "-q", "-o", tmp_path / "a.wav") == 0
    assert "sound of 0.69 s," in capsys.readouterr().out


def test_generate_writes_latents_without_decoding(tmp_path: Path) -> None:
    assert generate("a boat", "-o", tmp_path / "a.safetensors", "--seed", 3) == 0
    video, audio = media.read_latents(tmp_path / "a.safetensors")
    assert video is not None and video.shape == (4, 2, 1, 2) and audio is None
    assert media.read_parameters(tmp_path / "a.safetensors")["seed"] == 3


def test_generate_asks_for_one_frame_for_a_png(tmp_path: Path) -> None:
    assert generate("a boat", "-o", tmp_path / "a.png") == 0
    assert last_call()["num_frames"] == 1


def test_generate_like_makes_the_clip_again(tmp_path: Path) -> None:
    assert generate("a boat", "-o", tmp_path / "a.mp4", "--no-audio", "-W", 96, "-s", 9) == 0
    assert generate("--like", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4") == 0
    call = last_call()
    assert (call["prompt"], call["seed"], call["width"], call["audio"]) == ("a boat", 9, 96, False)
    assert call["sigmas"] == [1.0, 0.5, 0.0]
    video = ModalityGuidance(cfg=3.0, stg=1.0, modality=3.0, rescale=0.7)
    audio = ModalityGuidance(cfg=7.0, stg=1.0, modality=3.0, rescale=0.7)
    assert call["guidance"] == Guidance(video, audio, (2,))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_generate_like_lets_options_win(tmp_path: Path) -> None:
    assert generate("a boat", "-o", tmp_path / "a.mp4", "-s", 9) == 0
    changed = ["a ship", "--steps", 3, "--cfg-scale", 2, "-s", 1]
    assert generate("--like", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4", *changed) == 0
    call = last_call()
    assert (call["prompt"], call["seed"], call["num_inference_steps"]) == ("a ship", 1, 3)
    assert call["guidance_scale"] == 2.0
    assert "sigmas" not in call and "guidance" not in call


def test_generate_places_pictures(tmp_path: Path) -> None:
    pictures = ["--image", "a.png", "--image", "b@c.png@16:0.8", "--image", "d@e.png"]
    keyframes = ["--keyframe", "f.png@-1:.5", "--init-img", "g.png", "--image-crf", 20]
    assert generate("a boat", "-o", tmp_path / "a.mp4", *pictures, *keyframes) == 0
    images = last_call()["conditions"]
    assert told(images) == [
        ("a.png", 0, 1.0, False),
        ("b@c.png", 16, 0.8, False),
        ("d@e.png", 0, 1.0, False),
        ("g.png", 0, 1.0, False),
        ("f.png", -1, 0.5, True),
    ]
    assert {each.crf for each in images} == {20}


@pytest.mark.parametrize(("word", "given"), [("3", 3), ("24,8", (24, 8)), ("8,", (8,))])
def test_generate_generates_keyframes(tmp_path: Path, word: str, given: Any) -> None:
    words = ["--generated-keyframes", word]
    assert generate("a boat", "-o", tmp_path / "a.mp4", *words) == 0
    assert last_call()["generated_keyframes"] == given


def write_clip(path: Path, frame_rate: float = 24) -> Path:
    media.save_video(path, [np.zeros((9, 32, 32, 3), np.uint8)], frame_rate=frame_rate)
    return path


def test_generate_refuses_outputs_that_a_given_clip_is_too_fast_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--video", write_clip(tmp_path / "given.mp4", 60), "--extend", 1]
    assert generate("a boat", "-o", tmp_path / "a.gif", *words) == 2
    assert "at most 50 frames per second but the clip has 60" in capsys.readouterr().err
    assert generate("a boat", "-o", tmp_path / "a.gif", *words, "--fps", 30) == 0
    assert last_call()["frame_rate"] == 30


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        (["--temporal-upscale", "--fps", 30], 60),
        (["--pipeline", "dfr", "--temporal-rounds", 2], 96),
    ],
)
def test_generate_refuses_outputs_that_a_doubled_rate_is_too_fast_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[Any], rate: int
) -> None:
    assert generate("a boat", "-o", tmp_path / "a.gif", *words) == 2
    assert f"at most 50 frames per second but the clip has {rate}" in capsys.readouterr().err


def test_generate_retakes_and_follows_references(tmp_path: Path) -> None:
    given = write_clip(tmp_path / "given.mp4")
    retake = ["--video", given, "--retake", "1.5:", "--keep-audio"]
    reference = ["--reference", "b.mp4", "--reference-attention", 0.5, "--reference-downscale", 2]
    assert generate("a boat", "-o", tmp_path / "a.mp4", *retake, *reference) == 0
    followed, retaken = last_call()["conditions"]
    assert isinstance(followed, ReferenceVideo) and isinstance(retaken, Retake)
    assert (followed.video, followed.attention, followed.downscale) == (Path("b.mp4"), 0.5, 2)
    assert (retaken.start_s, retaken.end_s) == (1.5, float("inf"))
    assert (retaken.new_video, retaken.new_audio) == (True, False)


def test_generate_changes_single_strengths_of_the_models_guidance(tmp_path: Path) -> None:
    words = ["--stg-scale", 0.5, "--audio-guidance-scale", 5, "--skip-step", 1]
    assert generate("a boat", "-o", tmp_path / "a.mp4", *words) == 0
    video = ModalityGuidance(cfg=3.0, stg=0.5, modality=3.0, rescale=0.7, skip_step=1)
    audio = ModalityGuidance(cfg=5.0, stg=0.5, modality=3.0, rescale=0.7, skip_step=1)
    assert last_call()["guidance"] == Guidance(video, audio, (28,))
    assert "guidance_scale" not in last_call()


def test_generate_builds_guidance_from_one_scale(tmp_path: Path) -> None:
    words = ["--cfg-scale", 4, "--modality-scale", 2, "--rescale", 0.5, "--stg-blocks", "1,2"]
    assert generate("a boat", "-o", tmp_path / "a.mp4", *words) == 0
    each = ModalityGuidance(cfg=4.0, modality=2.0, rescale=0.5)
    assert last_call()["guidance"] == Guidance(each, each, (1, 2))


def test_generate_like_takes_pictures_and_stages_again(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    words = ["--image", "a.png@8:0.5", "--two-stage", "-s", 3]
    assert generate("a boat", "-o", tmp_path / "a.mp4", *words) == 0
    assert generate("--like", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4") == 0
    call = last_call()
    assert told(call["conditions"]) == [("a.png", 8, 0.5, False)]
    assert call["two_stage"] is True
    assert call["sampling"] == Sampling("euler")
    assert generate("--like", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4", "--image", "c.png") == 0
    assert told(last_call()["conditions"]) == [("c.png", 0, 1.0, False)]


def test_generate_like_takes_a_retake_again(tmp_path: Path) -> None:
    write_clip(tmp_path / "old.mp4")
    words = ["--video", "old.mp4", "--retake", ":"]
    assert generate("a boat", "-o", tmp_path / "a.mp4", *words) == 0
    assert generate("--like", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4") == 0
    (retake,) = last_call()["conditions"]
    assert (retake.video, retake.start_s, retake.end_s) == ("old.mp4", 0.0, float("inf"))


def test_generate_like_refuses_pictures_that_were_arrays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = describe(ImageCondition(np.zeros((8, 8, 3), np.uint8)))
    media.save_video(
        tmp_path / "a.mp4",
        [np.zeros((1, 32, 32, 3), np.uint8)],
        frame_rate=24,
        parameters={"prompt": "a boat", "seed": 1, "conditions": [image]},
    )
    assert generate("--like", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4") == 2
    assert "was made from arrays in memory" in capsys.readouterr().err


def test_generate_passes_loras_on(tmp_path: Path) -> None:
    words = ["--lora", "a.safetensors", "--lora", "b:c.safetensors:-0.5", "--lora-mode", "merge"]
    assert generate("a boat", "-o", tmp_path / "a.mp4", *words) == 0
    assert last_call()["loras"] == [LoraSpec("a.safetensors"), LoraSpec("b:c.safetensors", -0.5)]
    assert last_call()["lora_mode"] == "merge"


@pytest.mark.parametrize("word", ["a.safetensors:nan", "a.safetensors:1e9", ""])
def test_generate_refuses_bad_loras(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        generate("a boat", "-o", tmp_path / "a.mp4", "--lora", word)
    assert caught.value.code == 2
    assert "--lora" in capsys.readouterr().err


def test_generate_like_names_the_loras_of_the_clip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = [{"file": "style.safetensors", "strength": 0.5}]
    parameters = {"prompt": "a boat", "seed": 1, "loras": stored}
    monkeypatch.setattr(media, "read_parameters", lambda path: parameters)
    words = ["--like", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4"]
    assert generate(*words) == 0
    assert "give them as --lora: style.safetensors:0.5" in capsys.readouterr().err
    assert generate(*words, "--lora", "style.safetensors:0.5") == 0
    assert "give them as" not in capsys.readouterr().err


def test_generate_like_prints_no_commands_of_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b[2J\x9b2J\x07\u202e"
    told = {
        "prompt": f"a boat {hostile} <lora:{hostile}:1>",
        "seed": 3,
        "loras": [{"file": f"{hostile}.safetensors", "strength": 1.0}],
    }
    frames = np.zeros((1, 32, 64, 3), np.uint8)
    media.save_video(tmp_path / "a.mp4", [frames], frame_rate=24, parameters=told)
    assert generate("--like", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4") == 0
    error = capsys.readouterr().err
    assert "\\u001b[2J\\u009b2J\\u0007\\u202e.safetensors" in error
    assert not set(error) & set(hostile) - set("[2J")


def test_generate_like_refuses_a_file_without_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    media.save_video(tmp_path / "a.mp4", [np.zeros((1, 32, 32, 3), np.uint8)], frame_rate=24)
    assert generate("--like", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4") == 2
    assert "no prompt and seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-o", "a.mp4"], "no prompt is given"),
        (["a", "-p", "b", "-o", "a.mp4"], "given twice"),
        (["a", "-o", "a.avi"], "unknown extension '.avi'"),
        (["a", "-o", "nowhere/a.mp4"], "does not exist"),
        (["a", "-o", "a.png", "--num-frames", "9"], "holds one frame"),
        (["a", "-o", "a.gif", "--fps", "60"], "at most 50"),
        (["a", "-o", "a.mp4", "--fps", "0"], "out of range"),
        (["a", "-o", "a.mp4", "--latents-out", "b.mp4"], "written as .safetensors"),
        (["a", "-o", "a.safetensors", "--latents-out", "a.safetensors"], "the same file"),
        (["a", "-o", "a.mp4", "--image", "b.png@0:1.5"], "image strength: expected 0 to 1"),
        (["a", "-o", "a.mp4", "--image", "b.png", "--image-crf", "60"], "image crf: expected"),
        (["a", "-o", "a.mp4", "--image-crf", "18"], "no picture to compress"),
        (["a", "-o", "a.mp4", "--retake", "0:1"], "name it with --video"),
        (["a", "-o", "a.mp4", "--retake", "2:1", "--video", "b.mp4"], "0 <= start < end"),
        (["a", "-o", "a.mp4", "--video", "b.mp4"], "--video goes with --retake"),
        (["a", "-o", "a.mp4", "--audio-start", "1"], "--audio-start goes with --audio-in"),
        (["a", "-o", "a.mp4", "--audio-in", "b.wav", "--no-audio"], "exclude each other"),
        (["a", "-o", "a.mp4", "--audio-in", "b.wav", "--audio-start", "-1"], "0 or more seconds"),
        (["a", "-o", "a.mp4", "--audio-only"], "not as a.mp4"),
        (["a", "-o", "a.wav", "--audio-only", "--no-audio"], "exclude each other"),
        (["a", "-o", "a.wav", "--no-audio"], "holds nothing but sound"),
        (["a", "-o", "a.mp4", "--keep-audio"], "--keep-audio goes with --retake"),
        (["a", "-o", "a.mp4", "--eta", "2"], "eta: expected 0 to 1"),
        (["a", "-o", "a.mp4", "-s", "1", "--stg-scale", "nan"], "guidance stg: expected"),
        (["a", "-o", "a.mp4", "-s", "1", "--rescale", "2"], "guidance rescale: expected 0 to 1"),
    ],
)
def test_generate_refuses_bad_arguments_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert generate(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert sentence in error
    assert fake_pipeline.CALLS == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a"], "-o/--output"),
        (["a", "-o", "a.mp4", "--width", "wide"], "invalid int value: 'wide'"),
        (["a", "-o", "a.mp4", "--fps", "24/0"], "expected frames per second"),
        (["a", "-o", "a.mp4", "--sigmas", "1;0"], "separated by commas"),
        (["a", "-o", "a.mp4", "--weight-type", "q3"], "invalid choice: 'q3'"),
        (["a", "-o", "a.mp4", "--sampler", "heun"], "invalid choice: 'heun'"),
        (["a", "-o", "a.mp4", "--stg-blocks", "1;2"], "separated by commas"),
        (["a", "-o", "a.mp4", "--retake", "1"], "expected START:END"),
        (["a", "-o", "a.mp4", "--retake", "a:b"], "expected START:END"),
        (["a", "-o", "a.mp4", "--stepz", "3"], "unrecognized arguments: --stepz"),
    ],
)
def test_generate_usage_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        generate(*words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert sentence in error


def test_sound_that_leads_is_passed_on_and_found_again(tmp_path: Path) -> None:
    (tmp_path / "song.ogg").touch()
    made = ["--audio-in", "song.ogg", "--audio-start", 2.5]
    assert generate("a boat", "-o", tmp_path / "a.mp4", "-s", 3, *made) == 0
    first = last_call()["audio_condition"]
    assert (first.sound, first.start_s) == (Path("song.ogg"), 2.5)
    assert generate("-o", tmp_path / "b.mp4", "--like", tmp_path / "a.mp4") == 0
    again = last_call()["audio_condition"]
    assert again.describe() == first.describe()
    assert generate("-o", tmp_path / "c.mp4", "--like", tmp_path / "a.mp4", "--no-audio") == 0
    assert "audio_condition" not in last_call()


def test_a_length_left_to_the_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate("a", "-m", "x", "--num-frames", "auto", "-o", tmp_path / "a.mp4") == 0
    assert last_call()["num_frames"] == "auto"
    assert generate("a", "-m", "x", "--num-frames", "auto", "-o", tmp_path / "a.png") == 2
    assert "--num-frames auto: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        generate("a", "-m", "x", "--num-frames", "long", "-o", tmp_path / "a.mp4")
    assert "a number of frames, or auto; got 'long'" in capsys.readouterr().err
