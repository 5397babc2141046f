"""Batches of the demo model: the bytes of single clips, and what a second run does."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from helpers.lora_writers import write_lora

from ltx2cpp import LTX2Pipeline
from ltx2cpp.batch import models
from ltx2cpp.batch.processes import ProcessCrew
from ltx2cpp.batch.tasks import Task
from ltx2cpp.cli.main import main
from ltx2cpp.demo import demo_files
from ltx2cpp.errors import NonFiniteError
from ltx2cpp.observing import Observer
from ltx2cpp.requests.models import NamedModel

PROMPTS = ("a red circle moves right on a blue background", "a green square on a black background")


def run(table: Path, out: Path, *options: str) -> int:
    return main(["batch", str(table), "-o", str(out), "-q", "--json", *options])


def write(table: Path, *rows: dict[str, object]) -> None:
    table.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "clips").iterdir()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished batch: table.jsonl, out/, and first/ with its marks."""
    folder = tmp_path_factory.mktemp("batch")
    table = folder / "table.jsonl"
    write(table, {"prompt": PROMPTS[0], "id": "red", "seed": [3, 4]}, {"prompt": PROMPTS[1]})
    assert run(table, folder / "out", "--no-prompt-cache") == 0
    # The marks of this run, which tests below do not change.
    (folder / "first").mkdir()
    for path in (folder / "out" / "clips").glob("*.json"):
        shutil.copy(path, folder / "first")
    return folder


def test_clips_are_those_of_single_calls(finished: Path, tmp_path: Path) -> None:
    with LTX2Pipeline.demo() as pipe:
        pipe(PROMPTS[0], seed=4).save(tmp_path / "single.mp4")
    clip = (finished / "out" / "clips" / "red-s4.mp4").read_bytes()
    assert clip == (tmp_path / "single.mp4").read_bytes()
    mark = json.loads((finished / "out" / "clips" / "red-s4.json").read_text())
    assert mark["sha256"] == hashlib.sha256(clip).hexdigest() and mark["bytes"] == len(clip)
    assert mark["parameters"]["seed"] == 4 and mark["parameters"]["prompt"] == PROMPTS[0]
    assert mark["phases"]["decode video"] > 0 and mark["worker"]["device"] == "cpu"
    manifest = json.loads((finished / "out" / "manifest.json").read_text())
    assert manifest["rows"] == 3 and manifest["models"][0]["id"] == mark["model_id"]
    assert len(list((finished / "out" / "clips").iterdir())) == 6
    assert not list((finished / "out" / "failed").iterdir())


def test_a_second_run_makes_what_is_missing(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = finished / "out"
    before = times(out)
    # A kill between clip and mark, and another that cut a mark off.
    (out / "clips" / "red-s3.json").unlink()
    cut = out / "clips" / "red-s4.json"
    cut.write_bytes(cut.read_bytes()[:100])
    kept = (out / "clips" / "red-s4.mp4").read_bytes()
    assert run(finished / "table.jsonl", out, "--no-prompt-cache") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"output": str(out), "made": 2, "there": 1, "failed": 0}
    changed = {name for name, time in times(out).items() if before[name] != time}
    assert changed == {f"red-s{seed}.{kind}" for seed in (3, 4) for kind in ("mp4", "json")}
    assert (out / "clips" / "red-s4.mp4").read_bytes() == kept
    assert run(finished / "table.jsonl", out, "--no-prompt-cache") == 0
    assert json.loads(capsys.readouterr().out)["made"] == 0


def test_rows_have_models_and_loras_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each model is opened once to plan, and once by the worker; a row that lacks its is named."""
    opened: list[str] = []
    open_model = models.open_model

    def counted(model: NamedModel, observer: Observer) -> LTX2Pipeline:
        opened.append(model.name)
        return open_model(model, observer)

    monkeypatch.setattr(models, "open_model", counted)
    files = demo_files()
    assert files.checkpoint is not None
    (tmp_path / "other.gguf").symlink_to(files.checkpoint)
    write_lora(tmp_path / "l.safetensors", Path(files.checkpoint), rank=1, seed=1)
    table, out = tmp_path / "t.jsonl", tmp_path / "out"
    small = {"width": 64, "height": 64, "num_frames": 1, "num_inference_steps": 1, "seed": 1}
    small |= {"prompt": PROMPTS[0], "generate_sound": False}
    rows: list[dict[str, object]] = [
        {**small, "id": "other", "model": "other.gguf"},
        {**small, "id": "usual"},
        {**small, "id": "changed", "model": "other.gguf", "loras": "l.safetensors:5"},
        {**small, "id": "again"},
    ]
    options = ("--text-encoder", str(files.text_encoder), "--model", str(files.checkpoint))
    write(table, *rows, {**small, "model": "nowhere.gguf"})
    assert run(table, out, *options) == 2
    assert f"{table}, line 5: " in capsys.readouterr().err
    opened.clear()
    write(table, *rows)
    assert run(table, out, *options) == 0
    assert opened == ["demo-distilled", "other"] * 2
    marks = {path.stem: json.loads(path.read_text()) for path in (out / "clips").glob("*.json")}
    assert len({mark["model_id"] for mark in marks.values()}) == 2
    assert marks["other"]["sha256"] == marks["usual"]["sha256"] != marks["changed"]["sha256"]
    assert marks["changed"]["parameters"]["loras"][0]["file"] == "l.safetensors"
    assert run(table, out, *options) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["there"] == 4


def test_a_mark_of_another_row_or_model_does_not_count(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = finished / "other.jsonl", finished / "out"
    write(table, {"prompt": PROMPTS[1], "id": "red-s3"})
    assert run(table, out, "--no-prompt-cache") == 0
    assert json.loads(capsys.readouterr().out)["made"] == 1
    assert run(table, out, "--no-prompt-cache", "--weight-type", "f16") == 0
    assert json.loads(capsys.readouterr().out)["made"] == 1


def test_all_rows_are_checked_before_the_first_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "t.jsonl"
    write(table, {"prompt": PROMPTS[0]}, {"prompt": "a", "width": 100, "height": 64})
    assert run(table, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert f"{table}, line 2: width: " in told and "1 row cannot be made" in told
    assert not list((tmp_path / "out" / "clips").iterdir())


def test_a_row_that_fails_leaves_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = LTX2Pipeline.stream

    def poisoned(pipe: LTX2Pipeline, prompt: str, **arguments: object) -> object:
        if prompt == PROMPTS[1]:
            raise NonFiniteError("transformer: gave numbers that are not finite")
        return stream(pipe, prompt, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(LTX2Pipeline, "stream", poisoned)
    table, out = tmp_path / "t.jsonl", tmp_path / "out"
    write(table, {"prompt": PROMPTS[0], "id": "fine"}, {"prompt": PROMPTS[1], "id": "poison"})
    assert run(table, out) == 5
    assert "1 of 2 rows failed" in capsys.readouterr().err
    failed = json.loads((out / "failed" / "poison.json").read_text())
    assert failed["tries"] == 1 and failed["error"]["type"] == "NonFiniteError"
    assert (out / "clips" / "fine.json").is_file()
    assert not list((out / "claims").iterdir())
    monkeypatch.setattr(LTX2Pipeline, "stream", stream)
    assert run(table, out) == 0
    assert not list((out / "failed").iterdir())


def test_a_worker_that_is_killed_costs_its_clip_one_try(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give, killed = ProcessCrew.give, []

    def give_and_kill(crew: ProcessCrew, worker: int, task: Task) -> None:
        give(crew, worker, task)
        if not killed:
            killed.append(task.id)
            crew._workers[worker].process.kill()

    monkeypatch.setattr(ProcessCrew, "give", give_and_kill)
    out = tmp_path / "out"
    assert run(finished / "table.jsonl", out, "--workers", "2") == 0
    assert killed
    marks = {path.stem: json.loads(path.read_text()) for path in (out / "clips").glob("*.json")}
    assert len(marks) == 3 and not list((out / "failed").iterdir())
    alone = finished / "first"
    assert {name: mark["sha256"] for name, mark in marks.items()} == {
        path.stem: json.loads(path.read_text())["sha256"] for path in alone.iterdir()
    }
