"""Tables of prompts, the tasks they give, and what is refused in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ltx2cpp.batch.crews import Failure, Outcome, Trouble
from ltx2cpp.batch.driver import Count, Driver
from ltx2cpp.batch.maker import Made
from ltx2cpp.batch.planning import PlannedTask, of_shard, ordered
from ltx2cpp.batch.rows import BadRow, Row, TableFormat, read_rows, rows_of_bytes
from ltx2cpp.batch.stores import FolderStore
from ltx2cpp.batch.tasks import COLUMNS, Task, TaskReader
from ltx2cpp.errors import ArgumentError


def tasks_of(
    *rows: dict[str, Any], folder: Path | None = None, **defaults: Any
) -> tuple[list[Task], list[BadRow]]:
    reader = TaskReader(folder or Path(), defaults)
    return reader.read([Row(line, values) for line, values in enumerate(rows, 1)])


def test_the_same_rows_in_all_formats(tmp_path: Path) -> None:
    rows = [{"prompt": 'a "red" fox,\nat night', "seed": 3}, {"prompt": "a dog", "seed": 4}]
    (tmp_path / "r.jsonl").write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    (tmp_path / "r.csv").write_text('prompt,seed,fps\n"a ""red"" fox,\nat night",3,\na dog,4,\n')
    digests = []
    for table in (TableFormat.JSONL, TableFormat.CSV):
        read = read_rows(tmp_path / f"r.{table.value}", table, COLUMNS)
        tasks, bad = TaskReader(tmp_path, {}).read(read)
        assert not bad
        digests.append([task.row_sha256 for task in tasks])
    assert digests[0] == digests[1]


def test_parquet_is_read_as_json_lines_are(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra `parquet`")
    import pyarrow

    rows = [{"prompt": "a", "seed": 3}, {"prompt": "b", "seed": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "r.parquet")
    read = read_rows(tmp_path / "r.parquet", TableFormat.PARQUET, COLUMNS)
    assert read == [Row(1, {"prompt": "a", "seed": 3}), Row(2, {"prompt": "b"})]
    with pytest.raises(ArgumentError, match="there is no column 'seed'"):
        read_rows(tmp_path / "r.parquet", TableFormat.PARQUET, ["prompt"])
    (tmp_path / "r.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArgumentError, match="cannot be read as Parquet"):
        read_rows(tmp_path / "r.parquet", TableFormat.PARQUET, COLUMNS)


def test_lines_are_counted_as_editors_do() -> None:
    table = b'prompt,seed\n"two\nlines",1\n\na,2,3\nb,x\n'
    rows = rows_of_bytes(table, "t", TableFormat.CSV, COLUMNS)
    tasks, bad = TaskReader(Path(), {}).read(rows)
    assert [task.line for task in tasks] == [2]
    assert [row.line for row in bad] == [5, 6]
    assert "expected 2 cells, found 3" in bad[0].reason and "seed: expected" in bad[1].reason


def test_a_table_without_a_name_is_looked_at() -> None:
    assert rows_of_bytes(b'{"prompt": "a"}\n', "-", None, COLUMNS) == [Row(1, {"prompt": "a"})]
    separator = "a\u2028fox".encode()
    assert rows_of_bytes(separator, "-", None, COLUMNS) == [Row(1, {"prompt": "a\u2028fox"})]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prompt": "a", "sede": 1}, "sede: is no field of this request; did you mean 'seed'?"),
        ({"seed": 1}, "prompt: is missing"),
        ({"prompt": "a", "fps": 24, "frame_rate": 24}, "frame_rate: is the same as fps"),
        ({"prompt": "a", "id": "../../etc/x"}, "id: expected text of the form"),
        ({"prompt": "a", "seed": [1, 1]}, "seed: expected seeds that differ"),
        ({"prompt": "a", "seed": [1], "seeds": 2}, "seeds: excludes a list as seed"),
        ({"prompt": "a", "size": "96x64", "width": 96}, "size: excludes width and height"),
        ({"prompt": "a", "input_reference": "none.png"}, "none.png is no file here"),
        ({"prompt": "a", "input_reference": "/dev/zero"}, "/dev/zero is no file here"),
        ({"prompt": "a", "input_reference": "text.png"}, "expected a picture (JPEG"),
        ({"prompt": "a", "audio_reference": "p.png"}, "is a picture, expected a sound"),
    ],
)
def test_wrong_rows_are_told(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    (tmp_path / "text.png").write_text("no picture at all")
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    tasks, bad = tasks_of({"prompt": "a dog"}, values, folder=tmp_path)
    assert len(tasks) == 1
    assert [row.line for row in bad] == [2] and words in bad[0].reason


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"[1]", "expected an object of columns, found list"),
        (b'{"prompt": NaN}', "is no JSON: NaN is no number"),
        (b'{"prompt": "a"', "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_lines_that_are_no_rows(line: bytes, words: str) -> None:
    (row,) = rows_of_bytes(line, "t", TableFormat.JSONL, COLUMNS)
    assert isinstance(row, BadRow) and words in row.reason


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"prompt,sed\na,1\n", "t, line 1: there is no column 'sed'; did you mean 'seed'?"),
        (b"prompt,prompt\na,b\n", "has the column 'prompt' twice"),
        (b"prompt\n\xff\n", "t, line 2: is no UTF-8 text"),
    ],
)
def test_tables_that_cannot_be_read(table: bytes, words: str) -> None:
    with pytest.raises(ArgumentError, match=words.replace("?", r"\?")):
        rows_of_bytes(table, "t", TableFormat.CSV, COLUMNS)


def test_ids_follow_from_what_a_row_asks_for() -> None:
    tasks, bad = tasks_of(
        {"prompt": "a", "fps": 24},
        {"prompt": "b", "fps": 24},
        {"frame_rate": "24.0", "prompt": "a"},
    )
    assert not bad
    assert [task.line for task in tasks] == [1, 2], "the third is the first by other words"
    assert tasks[0].id == tasks[0].row_sha256[:16] != tasks[1].id


def test_seeds_give_a_clip_each() -> None:
    tasks, bad = tasks_of(
        {"prompt": "a", "id": "fox", "seeds": 2},
        {"prompt": "b", "id": "dog", "seed": [7, 9]},
        {"prompt": "c", "id": "cat", "seed": "7, 8", "seeds": None},
        {"prompt": "d", "id": "owl"},
    )
    assert not bad
    names = "fox-s1 fox-s2 dog-s7 dog-s9 cat-s7 cat-s8 owl"
    assert [task.id for task in tasks] == names.split()
    assert [task.request["seed"] for task in tasks[:6]] == [1, 2, 7, 9, 7, 8]
    # Drawn from the row, the same every time.
    again, _ = tasks_of({"prompt": "d", "id": "owl"})
    assert again[0].request["seed"] == tasks[-1].request["seed"]
    more, _ = tasks_of({"prompt": "a", "id": "fox", "seeds": 3})
    assert [task.row_sha256 for task in more[:2]] == [task.row_sha256 for task in tasks[:2]]


def test_equal_rows_are_one_clip_and_equal_ids_of_others_are_refused() -> None:
    tasks, bad = tasks_of({"prompt": "a"}, {"prompt": "a"}, {"prompt": "a", "id": "x"})
    assert len(tasks) == 2 and not bad
    tasks, bad = tasks_of({"prompt": "a", "id": "x"}, {"prompt": "b", "id": "x"})
    assert len(tasks) == 1 and "x is that of line 1 too" in bad[0].reason


def test_pictures_go_with_their_own_row_and_count_by_content(tmp_path: Path) -> None:
    for name, level in (("p.png", 0), ("q.png", 9)):
        Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / name)
    rows = (
        {"prompt": "a", "input_reference": "p.png"},
        {"prompt": "b", "images": '["p.png", "q.png"]'},
    )
    tasks, bad = tasks_of(*rows, folder=tmp_path)
    assert not bad
    placed = [[(Path(i["file"]).name, i["frame"]) for i in t.request["inputs"]] for t in tasks]
    assert placed == [[("p.png", 0)], [("p.png", 0), ("q.png", -1)]]
    Image.new("RGB", (8, 8), (5, 5, 5)).save(tmp_path / "q.png")
    again, _ = tasks_of(*rows, folder=tmp_path)
    assert again[0].id == tasks[0].id and again[1].id != tasks[1].id


def test_defaults_give_way_to_what_a_row_says() -> None:
    (task, other), bad = tasks_of(
        {"prompt": "a"}, {"prompt": "a", "width": 64, "height": 64}, size="96x64", seconds="1"
    )
    assert not bad and (task.request["width"], task.request["height"]) == (96, 64)
    assert other.request["width"] == 64 and other.request["seconds"] == "1"


def planned(name: str, **changes: Any) -> PlannedTask:
    request = {"prompt": name, "width": 64, "height": 64, "num_frames": 9, **changes}
    return PlannedTask(Task(name, 1, request, "0" * 64), 1.0, 1.0)


def test_the_order_keeps_shapes_and_prompts_together() -> None:
    tasks = [planned("b"), planned("a", width=96), planned("a"), planned("c", width=96)]
    order = [(each.task.request["width"], each.task.id) for each in ordered(tasks)]
    assert order == [(64, "a"), (64, "b"), (96, "a"), (96, "c")]


def test_the_order_opens_each_model_once(tmp_path: Path) -> None:
    (tmp_path / "own.gguf").touch()
    loras: list[Any] = ["x.safetensors:0.5@1", None, '["x.safetensors:0.5@1"]', [], None, []]
    models = ["own.gguf", "name", "own.gguf", "name", "own.gguf", None]
    rows = [
        {"prompt": f"{i}", "model": model, "loras": lora}
        for i, (model, lora) in enumerate(zip(models, loras, strict=True))
    ]
    rows = [{name: each for name, each in row.items() if each is not None} for row in rows]
    tasks, bad = tasks_of(*rows, folder=tmp_path)
    assert not bad and tasks[0].request["loras"] == tasks[2].request["loras"]
    sizes = {"width": 64, "height": 64, "num_frames": 9}
    all_planned = [
        PlannedTask(replace(task, request={**task.request, **sizes}), seconds, 1.0)
        for seconds, task in enumerate(tasks)
    ]
    for several in (False, True):
        order = [each.task.line - 1 for each in ordered(all_planned * 3, several=several)]
        assert order[::3] == [5, 4, 0, 2, 1, 3]
    _, bad = tasks_of({"prompt": "a", "loras": "x:999"}, {"prompt": "a", "loras": 3})
    assert [row.reason.partition(":")[0] for row in bad] == ["loras", "loras"]
    assert "lora strength: expected -100 to 100" in bad[0].reason


def test_shards_divide_the_tasks() -> None:
    tasks, _ = tasks_of(*({"prompt": f"clip {i}"} for i in range(60)))
    shares = [of_shard(tasks, index, 3) for index in (1, 2, 3)]
    assert sorted(t.id for share in shares for t in share) == sorted(t.id for t in tasks)
    assert all(10 < len(share) < 30 for share in shares)


class ScriptedCrew:
    """Workers that answer as they are told to.

    Args:
        memory: of each worker.
        script: of each task, what comes of it, one try after another; afterwards it is made.
    """

    def __init__(self, memory: dict[int, int], script: dict[str, list[Trouble]]) -> None:
        self._memory, self._script = memory, script
        self._given: dict[int, Task] = {}
        self.history: list[tuple[str, int]] = []

    def free(self) -> list[int]:
        return [worker for worker in self._memory if worker not in self._given]

    def memory(self) -> dict[int, int]:
        return self._memory

    def give(self, worker: int, task: Task) -> None:
        assert worker not in self._given
        self._given[worker] = task
        self.history.append((task.id, worker))

    def outcomes(self, patience_s: float) -> list[Outcome]:
        worker, task = self._given.popitem()
        troubles = self._script.get(task.id)
        if not troubles:
            return [Outcome(worker, task, Made(1.0, 1))]
        trouble = troubles.pop(0)
        return [Outcome(worker, task, Failure(trouble, "Error", f"it had {trouble.value}"))]

    def close(self) -> None:
        pass


def drive(tmp_path: Path, crew: ScriptedCrew, *names: str, retries: int = 2) -> Count:
    store = FolderStore(str(tmp_path))
    store.prepare()
    return Driver(store, crew, retries, lambda _: None).run([planned(name) for name in names])


def test_what_is_tried_again(tmp_path: Path) -> None:
    script = {
        "wrong": [Trouble.ARGUMENT] * 9,
        "dies": [Trouble.DEATH] * 2,
        "kills": [Trouble.DEATH] * 9,
        "disk": [Trouble.PLACE],
    }
    crew = ScriptedCrew({0: 8}, script)
    count = drive(tmp_path, crew, *script, "fine")
    assert (count.made, count.failed) == (3, 2)
    tries = {name: [n for n, _ in crew.history].count(name) for name in (*script, "fine")}
    assert tries == {"wrong": 1, "dies": 3, "kills": 3, "disk": 2, "fine": 1}
    failed = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "failed").iterdir()}
    assert set(failed) == {"wrong", "kills"}
    assert failed["kills"]["tries"] == 3 and failed["kills"]["error"]["message"] == "it had death"
    assert failed["wrong"]["request"]["prompt"] == "wrong"


def test_what_another_run_is_at_comes_last(tmp_path: Path) -> None:
    store = FolderStore(str(tmp_path))
    store.prepare()
    assert all(store.claim(f"claims/{name}") for name in ("first", "third"))
    crew = ScriptedCrew({0: 8}, {"third": [Trouble.ARGUMENT], "second": [Trouble.DEATH]})
    assert drive(tmp_path, crew, "first", "second", "third", "fourth").failed == 1
    assert [name for name, _ in crew.history] == ["second", "fourth", "first", "second", "third"]
    # Workers remove those of clips, the driver those of failures.
    assert {path.name for path in (tmp_path / "claims").iterdir()} == {"first", "second", "fourth"}
    assert not store.claim("claims/first") and store.claim("claims/third")


def test_memory_is_asked_of_a_larger_worker_once(tmp_path: Path) -> None:
    crew = ScriptedCrew({0: 8, 1: 16}, {"large": [Trouble.MEMORY]})
    assert drive(tmp_path, crew, "large").made == 1
    assert crew.history == [("large", 0), ("large", 1)]
    crew = ScriptedCrew({0: 8}, {"large": [Trouble.MEMORY] * 3})
    assert drive(tmp_path, crew, "large").failed == 1
    assert crew.history == [("large", 0)], "no worker has more"
