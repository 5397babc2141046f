"""What the machine can still give, read from made-up /proc and /sys."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from ltx2cpp.machine.process_memory import available_bytes, peak_memory_bytes, resident_bytes

GIB = 1 << 30
MEMINFO = f"MemTotal: 99 kB\nMemAvailable:   {64 << 20} kB\nCached: 5 kB\n"
MOUNT_2 = "31 24 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
MOUNT_1 = "40 32 0:35 {root} /sys/fs/cgroup/memory rw,nosuid shared:16 - cgroup cgroup rw,memory"
OTHER_1 = "41 32 0:36 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct"
NO_LIMIT_1 = 0x7FFFFFFFFFFFF000


def group_2(
    limit: int | str, usage: int, inactive: int = 0, high: int | str = "max"
) -> dict[str, str]:
    return {
        "memory.max": f"{limit}\n",
        "memory.high": f"{high}\n",
        "memory.current": f"{usage}\n",
        "memory.stat": f"anon 1\nfile 2\ninactive_file {inactive}\nactive_file 7\n",
    }


def group_1(limit: int, usage: int, inactive: int = 0) -> dict[str, str]:
    return {
        "memory.limit_in_bytes": f"{limit}\n",
        "memory.usage_in_bytes": f"{usage}\n",
        "memory.stat": f"cache 3\ninactive_file 1\ntotal_inactive_file {inactive}\n",
    }


def available(
    root: Path, cgroup: str, mounts: str, groups: Mapping[str, Mapping[str, str]]
) -> float:
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts}
    for folder, entries in groups.items():
        files |= {f"sys/fs/cgroup/{folder}/{name}": text for name, text in entries.items()}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return available_bytes(root) / GIB


TOP_2, TOP_1 = MOUNT_2.format(root="/"), MOUNT_1.format(root="/")


@pytest.mark.parametrize(
    ("cgroup", "mounts", "groups", "expected"),
    [
        pytest.param("0::/\n", TOP_2, {}, 64, id="no limit"),
        pytest.param("0::/\n", TOP_2, {".": group_2("max", GIB)}, 64, id="limit max"),
        pytest.param("0::/\n", TOP_2, {".": group_2(8 * GIB, 3 * GIB)}, 5, id="own limit"),
        pytest.param(
            "0::/\n", TOP_2, {".": group_2(8 * GIB, 7 * GIB, 4 * GIB)}, 5, id="cache is free"
        ),
        pytest.param(
            "0::/\n", TOP_2, {".": group_2(8 * GIB, GIB, high=4 * GIB)}, 3, id="throttled"
        ),
        pytest.param(
            "0::/a/b/c\n",
            TOP_2,
            {
                "a": group_2(20 * GIB, 14 * GIB),
                "a/b": group_2("max", GIB),
                "a/b/c": group_2(16 * GIB, 2 * GIB),
            },
            6,
            id="a parent is tighter",
        ),
        pytest.param(
            "0::/a/b\n", TOP_2, {"a/b": group_2(16 * GIB, 2 * GIB)}, 14, id="own group in depth"
        ),
        pytest.param(
            "0::/docker/x\n",
            MOUNT_2.format(root="/docker/x"),
            {".": group_2(4 * GIB, GIB)},
            3,
            id="a container's mount",
        ),
        pytest.param(
            "0::/../../elsewhere\n", TOP_2, {".": group_2(4 * GIB, GIB)}, 3, id="outside the mount"
        ),
        pytest.param(
            "5:cpu,cpuacct:/j\n4:memory:/j/k\n",
            f"{OTHER_1}\n{TOP_1}",
            {"memory/j": group_1(9 * GIB, 5 * GIB, 2 * GIB), "memory/j/k": group_1(NO_LIMIT_1, 1)},
            6,
            id="version 1",
        ),
        pytest.param(
            "4:memory:/docker/y\n",
            MOUNT_1.format(root="/docker/y"),
            {"memory": group_1(4 * GIB, 2 * GIB)},
            2,
            id="version 1 in a container",
        ),
        pytest.param(
            "4:memory:/j\n0::/j\n",
            f"{TOP_1}\n42 32 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
            {"memory/j": group_1(6 * GIB, GIB), "unified/j": {}},
            5,
            id="hybrid",
        ),
        pytest.param("0::/\n", TOP_2, {".": group_2(2 * GIB, 9 * GIB)}, 1 / GIB, id="over it"),
        pytest.param("nonsense\n", "\n- -\n", {".": {"memory.max": "many"}}, 64, id="nonsense"),
    ],
)
def test_memory_of_the_groups_around_a_process(
    tmp_path: Path,
    cgroup: str,
    mounts: str,
    groups: Mapping[str, Mapping[str, str]],
    expected: float,
) -> None:
    assert available(tmp_path, cgroup, mounts, groups) == expected


def test_nothing_known_is_zero(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) == 0


def test_this_machine_answers() -> None:
    assert available_bytes() > 0


def test_other_systems_tell_it_by_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=2 * GIB, peak_wset=3 * GIB))
    psutil = SimpleNamespace(
        Process=lambda: process, virtual_memory=lambda: SimpleNamespace(available=5 * GIB)
    )
    monkeypatch.setitem(sys.modules, "psutil", psutil)
    with monkeypatch.context() as there:
        there.setattr(sys, "platform", "win32")
        told = resident_bytes(), peak_memory_bytes(), available_bytes()
    assert told == (2 * GIB, 3 * GIB, 5 * GIB)
