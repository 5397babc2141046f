"""How many threads compute where nobody says: affinity, and quotas in made-up /proc and /sys."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ltx2cpp.machine import processors
from ltx2cpp.machine.processors import default_threads, processor_quota

MOUNT_2 = "31 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
MOUNT_1 = "41 32 0:36 /docker/x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct"


@pytest.mark.parametrize(
    ("cgroup", "mounts", "files", "quota"),
    [
        pytest.param("0::/\n", MOUNT_2, {"cpu.max": "max 100000\n"}, math.inf, id="no limit"),
        pytest.param("0::/\n", MOUNT_2, {"cpu.max": "150000 100000\n"}, 1.5, id="version 2"),
        pytest.param(
            "0::/a/b\n",
            MOUNT_2,
            {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "400000 100000\n"},
            0.5,
            id="a parent is tighter",
        ),
        pytest.param(
            "3:cpu,cpuacct:/docker/x\n",
            MOUNT_1,
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3,
            id="version 1",
        ),
        pytest.param(
            "3:cpu,cpuacct:/docker/x\n",
            MOUNT_1,
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            math.inf,
            id="version 1 without limit",
        ),
        pytest.param("0::/\n", MOUNT_2, {"cpu.max": "much 0\n"}, math.inf, id="nonsense"),
    ],
)
def test_quota_of_the_groups_around_a_process(
    tmp_path: Path, cgroup: str, mounts: str, files: Mapping[str, str], quota: float
) -> None:
    texts = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts}
    texts |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert processor_quota(tmp_path) == quota


@pytest.fixture
def one_processor() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_processor")
def test_threads_follow_the_affinity_mask() -> None:
    assert default_threads() == 1


@pytest.mark.parametrize(("quota", "threads"), [(math.inf, 8), (2.5, 3), (0.2, 1), (64, 8)])
def test_threads_fill_the_quota_and_no_more(
    monkeypatch: pytest.MonkeyPatch, quota: float, threads: int
) -> None:
    monkeypatch.setattr(processors._core, "physical_cores", lambda: 8)
    monkeypatch.setattr(processors, "processor_quota", lambda: quota)
    assert default_threads() == threads
