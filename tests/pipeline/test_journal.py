"""A generation that is killed and gone on with gives the latents of one that was not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from ltx2cpp import (
    Guidance,
    LTX2Pipeline,
    ModalityGuidance,
    ModelFiles,
    PromptEmbedding,
    Sampling,
    Step,
    StepCache,
)
from ltx2cpp.cli.display import Display
from ltx2cpp.cli.main import main
from ltx2cpp.errors import ArgumentError, OutputError
from ltx2cpp.generation import journalling
from ltx2cpp.journal import Journal, KeptLatents, flattened, read_request
from ltx2cpp.journal.records import header_bytes, read_header, whole_records

CLIP = {"width": 64, "height": 64, "num_frames": 9, "seed": 3, "output": "latents"}
ONE_STAGE = {**CLIP, "sigmas": [1.0, 0.8, 0.4, 0.0]}
TWO_STAGES = {
    **CLIP,
    "two_stage": True,
    "sigmas": [1.0, 0.5, 0.0],
    "sampling": Sampling(sampler="euler_ancestral", stage_2_sigmas=(0.9, 0.4, 0.0)),
}
# The sound is asked for every other step only.
SKIPPING = Guidance(
    ModalityGuidance(cfg=2.0), ModalityGuidance(cfg=1.0, skip_step=1), stg_blocks=()
)


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def pipe(fixture_a: Path) -> Iterator[LTX2Pipeline]:
    files = ModelFiles(
        fixture_a / "ltx-2.3-tiny.safetensors",
        text_encoder=fixture_a / "gemma-3-tiny",
        spatial_upsampler=fixture_a / "ltx-2.3-tiny-spatial-upscaler-x2.safetensors",
        temporal_upsampler=fixture_a / "ltx-2.3-tiny-temporal-upscaler-x2.safetensors",
    )
    with LTX2Pipeline(files, device="cpu", weight_type="f32", threads=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def contexts(fixture_a: Path) -> PromptEmbedding:
    text = np.load(fixture_a / "ref" / "text.npz")
    # A few rows do here.
    return PromptEmbedding(text["P0.video_context"][-64:], text["P0.audio_context"][-64:])


@pytest.fixture
def calls(pipe: LTX2Pipeline, monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], list[int]]:
    """Makes the transformer fail after so many calls; returns how many there were."""
    transformer = pipe.networks.transformer
    velocity = transformer.velocity

    def limited(most: int | None) -> list[int]:
        done = [0]

        def call(*arguments: Any, **options: Any) -> Any:
            if done[0] == most:
                raise Killed
            done[0] += 1
            return velocity(*arguments, **options)

        monkeypatch.setattr(transformer, "velocity", call)
        return done

    return limited


def assert_equal(got: Any, expected: Any) -> None:
    for name in ("video_latent", "audio_latent"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), strict=True)


@pytest.mark.parametrize(
    "arguments",
    [
        {**ONE_STAGE, "sampling": Sampling(sampler="euler")},
        {**ONE_STAGE, "sampling": Sampling(sampler="gradient_estimation")},
        {**ONE_STAGE, "sampling": Sampling(sampler="euler_ancestral")},
        {**ONE_STAGE, "sampling": Sampling(sampler="res_2s")},
        {**ONE_STAGE, "guidance": SKIPPING},
        {
            **CLIP,
            "sigmas": [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.0],
            "step_cache": StepCache("taylorseer", 1.0),
        },
        {**TWO_STAGES, "temporal_upscale": True},
    ],
    ids=[
        "euler",
        "gradient_estimation",
        "euler_ancestral",
        "res_2s",
        "skipping",
        "step_cache",
        "two_stages",
    ],
)
def test_killed_at_every_call_of_the_network(
    pipe: LTX2Pipeline,
    contexts: PromptEmbedding,
    calls: Callable[[int | None], list[int]],
    tmp_path: Path,
    arguments: dict[str, Any],
) -> None:
    guided = {"negative_prompt": contexts} if "guidance" in arguments else {}
    arguments = {**arguments, **guided}
    whole = calls(None)
    expected = pipe(contexts, **arguments)
    per_answer = 2 if guided else 1
    finished = 0
    for _ in range(whole[0] // per_answer - 1):
        done = calls(per_answer)
        with pytest.raises(Killed):
            pipe(contexts, **arguments, journal=tmp_path)
        finished += done[0]
    done = calls(None)
    assert_equal(pipe(contexts, **arguments, journal=tmp_path), expected)
    # Nothing that was computed is computed again.
    assert finished + done[0] == whole[0]


def test_finished_latents_are_decoded_alone(
    pipe: LTX2Pipeline,
    contexts: PromptEmbedding,
    calls: Callable[[int | None], list[int]],
    tmp_path: Path,
) -> None:
    arguments: dict[str, Any] = {**ONE_STAGE, "output": "media"}
    stream = pipe.stream(contexts, **arguments, journal=tmp_path)
    calls(0)
    again = pipe(contexts, **arguments, journal=tmp_path)
    assert_equal(again, stream)
    assert again.video is not None and again.sound is not None
    np.testing.assert_array_equal(again.video, np.concatenate(list(stream)))


def test_the_seed_is_that_of_the_journal(
    pipe: LTX2Pipeline, contexts: PromptEmbedding, tmp_path: Path
) -> None:
    first = pipe(contexts, **ONE_STAGE, journal=tmp_path)
    rest = {name: value for name, value in ONE_STAGE.items() if name != "seed"}
    assert_equal(pipe(contexts, **rest, journal=tmp_path), first)
    request = read_request(tmp_path)
    assert request is not None and request["seed"] == ONE_STAGE["seed"]


def test_journals_of_others_are_refused_by_the_field_that_differs(
    pipe: LTX2Pipeline,
    contexts: PromptEmbedding,
    calls: Callable[[int | None], list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls(1)
    with pytest.raises(Killed):
        pipe(contexts, **ONE_STAGE, journal=tmp_path)
    kept = (tmp_path / "journal").read_bytes()

    def refused(message: str, prompt: PromptEmbedding = contexts, **changes: Any) -> None:
        with pytest.raises(ArgumentError, match=message):
            pipe(prompt, **{**ONE_STAGE, **changes}, journal=tmp_path)
        assert (tmp_path / "journal").read_bytes() == kept

    refused(r"differs in .*noise_seed .*, seed \(3 there, 4 here\); repeat the call", seed=4)
    refused(r"stages.0.sigmas;", sigmas=[1.0, 0.8, 0.3, 0.0])
    refused(
        r"stages.0.sampler.name \(euler there, euler_ancestral",
        sampling=Sampling("euler_ancestral"),
    )
    refused(r"prompt.video;", PromptEmbedding(contexts.video + 1, contexts.audio))
    backend = pipe.networks.backend
    with monkeypatch.context() as other:
        arithmetic = {**backend.arithmetic(), "device": "cuda"}
        other.setattr(backend, "arithmetic", lambda: arithmetic)
        refused(r"differs in device \(cpu there, cuda here\); repeat the call")
    with monkeypatch.context() as other:
        other.setattr(journalling, "package_version", lambda: "9.9")
        refused(r"differs in ltx2cpp \(.* there, 9.9 here\)")
    with monkeypatch.context() as other:
        other.setattr(journalling, "weights_identity", lambda components: b"")
        refused("differs in weights of denoise;")


def test_the_command_goes_on_without_being_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def generate(*words: str) -> int:
        return main(["generate", *words, "--threads", "2"])

    step = Display.step
    with monkeypatch.context() as interrupted:

        def stop(self: Display, at: Step) -> None:
            if at.index == 5:
                self._interrupt.ask()
            step(self, at)

        interrupted.setattr(Display, "step", stop)
        first = ("a red circle moves right", "--sampler", "euler_ancestral", "-o", "a.safetensors")
        assert generate(*first, "--resume", "kept") == 130
    assert not Path("a.safetensors").exists()
    assert generate("--resume", "kept", "-o", "a.safetensors") == 0
    assert generate("--like", "a.safetensors", "-o", "b.safetensors") == 0
    # The order of a header's entries is not fixed, so not the bytes of the files.
    latents = [load_file(name)["video_latent"] for name in ("a.safetensors", "b.safetensors")]
    np.testing.assert_array_equal(*latents, strict=True)
    capsys.readouterr()
    assert generate("--resume", "kept", "--steps", "4", "-o", "a.safetensors") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: kept/journal: is the journal of another generation, which")
    assert generate("a", "--resume", "kept", "--seeds", "2", "-o", "{seed}.mp4") == 2
    assert "--resume keeps one clip" in capsys.readouterr().err


FIELDS = flattened("", {"seed": 3})
LATENT = np.arange(6, dtype=np.float32).reshape(3, 2)


def test_a_torn_tail_is_dropped_wherever_it_is_torn(tmp_path: Path) -> None:
    with Journal(tmp_path, FIELDS, {}) as journal:
        empty = (tmp_path / "journal").stat().st_size
        answers = journal.answers(0)
        ends = [empty]
        for _ in range(2):
            answers.keep({"video": LATENT})
            ends.append((tmp_path / "journal").stat().st_size)
    whole = (tmp_path / "journal").read_bytes()
    flipped = bytearray(whole)
    flipped[ends[1] + 40] ^= 1
    cuts = [
        (whole[:end], sum(each <= end for each in ends[1:]))
        for end in range(empty, ends[2] + 1, 23)
    ]
    for content, count in [*cuts, (bytes(flipped), 1), (whole + bytes(100), 2)]:
        (tmp_path / "journal").write_bytes(content)
        with Journal(tmp_path, FIELDS, {}) as journal:
            answers = journal.answers(0)
            for _ in range(count):
                recalled = answers.recall({"video": LATENT.shape})
                assert recalled is not None
                np.testing.assert_array_equal(recalled["video"], LATENT, strict=True)
            assert answers.recall({"video": LATENT.shape}) is None
            answers.keep({"video": LATENT})
        assert (tmp_path / "journal").stat().st_size == ends[1] + count * (ends[1] - empty)


def test_latents_replace_what_they_were_computed_from(tmp_path: Path) -> None:
    with Journal(tmp_path, FIELDS, {"prompt": "a fox"}) as journal:
        journal.answers(0).keep({"video": LATENT})
        journal.keep_latents(KeptLatents("denoise, stage 1", {"video_latent": LATENT}, 12))
        journal.answers(1).keep({"audio": LATENT})
    with Journal(tmp_path, FIELDS, {}) as journal:
        assert journal.answers(0).recall({"video": LATENT.shape}) is None
        assert journal.answers(1).recall({"audio": LATENT.shape}) is not None
        latents = journal.latents
    assert latents is not None
    assert (latents.phase, latents.drawn) == ("denoise, stage 1", 12)
    np.testing.assert_array_equal(latents.arrays["video_latent"], LATENT, strict=True)
    assert read_request(tmp_path) == {"prompt": "a fox"}
    with (tmp_path / "journal").open("rb") as file:
        file.seek(len(header_bytes({"fields": FIELDS, "request": {"prompt": "a fox"}})))
        assert len(list(whole_records(file))) == 2


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    header = header_bytes({"fields": FIELDS, "request": {}})
    for content, message in (
        (b"", "is no journal"),
        (b"RIFF" + bytes(40), "is no journal"),
        (header[:8] + b"\2" + header[9:], "version 2, expected 1"),
        (header[:12] + b"\xff\xff\xff\x7f" + header[16:], "header of the journal is damaged"),
        (header[:20] + b"x" + header[21:], "header of the journal is damaged"),
        (header[:-1], "header of the journal is damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(ArgumentError, match=message):
            Journal(tmp_path, FIELDS, {})
        with pytest.raises(ArgumentError, match=message):
            read_request(tmp_path)
        assert path.read_bytes() == content
    path.unlink()
    path.mkdir()
    with pytest.raises(ArgumentError, match="is no regular file"):
        Journal(tmp_path, FIELDS, {})
    assert read_request(tmp_path / "nothing") is None


def test_a_folder_serves_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        Journal(tmp_path, FIELDS, {}),
        pytest.raises(ArgumentError, match="another run is writing"),
    ):
        Journal(tmp_path, FIELDS, {})
    Journal(tmp_path, FIELDS, {}).close()


def test_a_full_disk_is_told_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with Journal(tmp_path, FIELDS, {}) as journal:
        answers = journal.answers(0)
        answers.keep({"video": LATENT})
        with monkeypatch.context() as disk:
            disk.setattr("os.fsync", full)
            with pytest.raises(OutputError, match="journal cannot be written: No space left"):
                answers.keep({"video": LATENT})
            with pytest.raises(OutputError, match="cannot be written: No space left"):
                journal.keep_latents(KeptLatents("denoise", {"video_latent": LATENT}, 0))
    with Journal(tmp_path, FIELDS, {}) as journal:
        assert journal.answers(0).recall({"video": LATENT.shape}) is not None
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="journal cannot be written: "):
        Journal(tmp_path / "file", FIELDS, {})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_record_that_fits_in_part_does_not_count(tmp_path: Path) -> None:
    import resource

    with Journal(tmp_path, FIELDS, {}) as journal:
        answers = journal.answers(0)
        answers.keep({"video": LATENT})
        end = (tmp_path / "journal").stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (end + 50, limits[1]))
        try:
            with pytest.raises(OutputError, match="journal cannot be written: File too large"):
                answers.keep({"video": LATENT})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (tmp_path / "journal").stat().st_size == end + 50
    with Journal(tmp_path, FIELDS, {}) as journal:
        assert (tmp_path / "journal").stat().st_size == end
        assert journal.answers(0).recall({"video": LATENT.shape}) is not None


def test_latents_of_an_unknown_phase_are_refused(
    pipe: LTX2Pipeline, contexts: PromptEmbedding, tmp_path: Path
) -> None:
    pipe(contexts, **ONE_STAGE, journal=tmp_path)
    path = tmp_path / "journal"
    with path.open("rb") as file:
        content = read_header("journal", file)
    latents = KeptLatents("paint", {"video_latent": LATENT}, 0)
    path.unlink()
    with Journal(tmp_path, content["fields"], {}) as journal:
        journal.keep_latents(latents)
    with pytest.raises(ArgumentError, match="holds latents of 'paint', expected those of one of"):
        pipe(contexts, **ONE_STAGE, journal=tmp_path)


def test_answers_of_another_shape_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, FIELDS, {}) as journal:
        journal.answers(0).keep({"video": LATENT})
    with Journal(tmp_path, FIELDS, {}) as journal:
        for shapes in ({"video": (1, 2)}, {"audio": LATENT.shape}):
            with pytest.raises(ArgumentError, match=r"answer 0 of stage 1 is .*, expected"):
                journal.answers(0).recall(shapes)


def test_values_without_a_place_in_a_journal_are_told() -> None:
    assert flattened("a", (1, float("inf"), np.float32(0.5))) == {
        "a.length": 3,
        "a.0": 1,
        "a.1": "inf",
        "a.2": 0.5,
    }
    with pytest.raises(TypeError, match=r"a\.x: set has no place"):
        flattened("a", {"x": {1}})
