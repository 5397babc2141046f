"""Workers on a cluster, with a package in Ray's place whose actors answer as they are told to."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ltx2cpp.batch import ray_crew
from ltx2cpp.batch.crews import Failure, Trouble
from ltx2cpp.batch.maker import Made
from ltx2cpp.batch.models import Models
from ltx2cpp.batch.placement import on_assigned, share_of
from ltx2cpp.batch.ray_crew import RayCrew
from ltx2cpp.batch.tasks import Task
from ltx2cpp.cli.main import main
from ltx2cpp.devices import Devices
from ltx2cpp.errors import ArgumentError, BackendError
from ltx2cpp.requests.models import NamedModel

TASK = Task("a", 1, {"prompt": "a"}, "0" * 64)
MODELS = Models(NamedModel("demo", None, {"device": "cpu", "threads": None}))


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class OutOfMemoryError(RayError):
    pass


class Ray:
    """What the crew calls.

    Args:
        answers: of all actors, one after another; errors are raised.
        nodes: resources of each.
    """

    exceptions = SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, OutOfMemoryError=OutOfMemoryError
    )

    def __init__(self, answers: list[Any], nodes: list[dict[str, float]]) -> None:
        self._answers, self._nodes = deque(answers), nodes
        self.options: dict[str, Any] = {}
        self.actors: list[tuple[Any, ...]] = []
        self.killed = 0

    def init(self, **options: Any) -> None:
        if options["address"] == "nowhere":
            raise ConnectionError("no cluster there")

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": resources} for resources in self._nodes]

    def remote(self, **options: Any) -> Any:
        self.options = options
        return lambda _: SimpleNamespace(remote=self._started)

    def _started(self, *arguments: Any) -> Any:
        self.actors.append(arguments)
        call = SimpleNamespace(remote=lambda *_: object())
        return SimpleNamespace(ready=call, make=call)

    def wait(self, asked: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return asked, []

    def get(self, _: object) -> Any:
        answer = self._answers.popleft()
        if isinstance(answer, RayError):
            raise answer
        return answer

    def kill(self, _: object) -> None:
        self.killed += 1

    def shutdown(self) -> None:
        pass


def crew_of(
    monkeypatch: pytest.MonkeyPatch,
    answers: list[Any],
    *nodes: dict[str, float],
    count: int | None = 1,
    address: str = "auto",
) -> tuple[Ray, RayCrew]:
    ray = Ray(answers, list(nodes) or [{"CPU": 1}])
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_crew, "_FIRST_PAUSE_S", 0.0)
    return ray, RayCrew(MODELS, TASK, "out", address, count, 100)


def test_a_worker_that_ends_fails_its_task_and_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Made(1.0, 1)
    answers = [
        7,
        RayError("node lost\nmore"),
        RayError("not yet"),
        7,
        OutOfMemoryError("x"),
        7,
        made,
    ]
    ray, crew = crew_of(monkeypatch, answers)
    results = []
    while len(results) < 3:
        for worker in crew.free():
            assert crew.memory() == {worker: 7}
            crew.give(worker, TASK)
        results += [outcome.result for outcome in crew.outcomes(0.0)]
    assert results == [
        Failure(Trouble.DEATH, "RayError", "its process or node ended: node lost"),
        Failure(Trouble.MEMORY, "OutOfMemoryError", "its process or node ended: x"),
        made,
    ]
    crew.close()
    assert ray.killed == 1


def test_a_cluster_without_a_worker_ends_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    _, crew = crew_of(monkeypatch, [RayError("no room")] * 99)
    with pytest.raises(BackendError, match="no worker can be reached: no room"):
        for _ in range(99):
            crew.outcomes(0.0)
    _, crew = crew_of(monkeypatch, [ArgumentError("other version")])
    with pytest.raises(ArgumentError, match="other version"):
        crew.outcomes(0.0)
    with pytest.raises(ArgumentError, match="--ray nowhere: cannot be reached: no cluster there"):
        crew_of(monkeypatch, [], address="nowhere")
    # Nothing listens at the first port.
    with pytest.raises(ArgumentError, match=r"--ray 127\.0\.0\.1:1: .*refused"):
        crew_of(monkeypatch, [], address="127.0.0.1:1")


@pytest.mark.parametrize(
    ("nodes", "device", "threads", "gpus", "workers"),
    [
        ([{"CPU": 16, "GPU": 8}, {"CPU": 8, "GPU": 2}, {"CPU": 64}], "auto", 2, 1, 10),
        ([{"CPU": 16, "GPU": 8}, {"CPU": 4, "GPU": 1}], "denoise=cuda:0+cuda:2", 4, 2, 4),
        ([{"CPU": 16, "GPU": 8}, {"CPU": 9}], "cpu+cpu", 9, 0, 2),
        ([{"CPU": 4}, {"CPU": 8}, {}], "auto", 4, 0, 3),
        ([], "auto", 1, 0, 1),
    ],
)
def test_each_worker_has_the_gpus_of_the_command_or_the_processors_of_a_node(
    nodes: list[dict[str, float]], device: str, threads: int, gpus: int, workers: int
) -> None:
    share = share_of(nodes, None, Devices.spelled(device))
    assert (share.threads, share.gpus, share.workers) == (threads, gpus, workers)


@pytest.mark.parametrize(
    ("device", "assigned", "placed"),
    [
        ("auto", [3], "auto auto auto"),
        ("cuda:5", [3], "cuda:0 cuda:0 cuda:0"),
        ("encode=cpu,denoise=cuda:1+cuda:3,decode=CUDA", [4, 5, 7], "cpu cuda:1+cuda:2 cuda:0"),
        ("encode=cpu,denoise=vulkan:2+vulkan:2,decode=cpu", [6], "cpu vulkan:6+vulkan:6 cpu"),
    ],
)
def test_devices_are_those_that_a_worker_was_given(
    device: str, assigned: list[int], placed: str
) -> None:
    devices = on_assigned(Devices.spelled(device), assigned)
    denoise = "+".join((devices.denoise, *devices.guidance))
    assert f"{devices.encode} {denoise} {devices.decode}" == placed


def test_a_cluster_with_too_few_gpus_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"cuda:0\+cuda:1 wants 2 GPUs of a node, .* 1 at most"):
        share_of([{"CPU": 8, "GPU": 1}] * 4, None, Devices.spelled("cuda:0+cuda:1"))


def test_ray_starts_as_many_workers_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ray, _ = crew_of(monkeypatch, [], {"CPU": 4}, {"CPU": 8}, count=None)
    assert ray.options["max_restarts"] == -1 and ray.options["max_task_retries"] == 0
    assert [arguments[1:] for arguments in ray.actors] == [("out",)] * 3
    assert ray.actors[0][0].usual.options["threads"] == 4


def test_ray_is_asked_for_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "rows.txt").write_text("a fox\n")
    out = tmp_path / "out"
    assert main(["batch", str(tmp_path / "rows.txt"), "-o", str(out), "--ray", "auto"]) == 2
    assert "pip install 'ltx2cpp[ray]'" in capsys.readouterr().err
    assert not out.exists()
