"""Batches of the demo on a cluster of Ray with two nodes on this machine, whose parts are killed.

Every row has to end once, with the bytes of a run without Ray. Needs the extra `ray`; with `--s3`
clips go to a bucket of a server on this machine, and the packages `moto[server]` and `s3fs` are
needed too; the fault full-disk needs root. Prints a row of a table for each fault.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from full_disk import fill, own_disk
from ray.cluster_utils import Cluster

from ltx2cpp.batch.stores import CLIPS, open_store

STORE_BYTES = 80 << 20
PATIENCE_S = 900
STARTS = 4
NODE = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
# What the demo knows.
COLOURS = ("red", "green", "blue", "yellow", "white", "purple")
SHAPES = ("circle", "square", "triangle")
MOTIONS = ("moves left", "moves right", "moves up", "moves down", "stays still", "grows", "shrinks")
GROUNDS = ("black", "gray", "blue", "green")
# The shortest clip that has all phases.
CLIP = {"size": "32x32", "num_frames": 9, "num_inference_steps": 2}
# Where workers are killed, and how often each time.
POINTS = ("open", "encode", "denoise", "decode", "write")
KILLS = 3
WORKERS = Path(__file__).resolve().parent / "ray_workers"
# Exit codes: all made, some failed.
DONE, SOME_FAILED = 0, 5


@dataclass
class Scene:
    """A table, the digests of its clips, and the cluster that makes them once more.

    Attributes:
        folder: address that outputs go below.
        table: of the rows.
        rows: how many there are.
        plain: digest of each clip by id, made without Ray.
        cluster: with one node besides the head.
        second: that node.
        ends: folder that asks for the end of workers, see `ray_workers`.
    """

    folder: str
    table: Path
    rows: int
    plain: dict[str, str]
    cluster: Cluster
    second: Any
    ends: Path

    def start(self, out: str, workers: int = 2) -> subprocess.Popen[bytes]:
        """Start the batch on the cluster."""
        return batch(self.table, out, "--ray", self.cluster.address, "--workers", str(workers))


def rows_of(count: int) -> list[dict[str, Any]]:
    """Return rows, each with a prompt of its own as far as there are any."""
    prompts = [
        f"a {colour} {shape} {motion} on a {ground} background"
        for motion, shape, ground, colour in itertools.product(MOTIONS, SHAPES, GROUNDS, COLOURS)
    ]
    return [
        {"prompt": prompts[i % len(prompts)], "id": f"r{i}", "seed": i, **CLIP}
        for i in range(count)
    ]


def batch(table: Path, out: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a batch."""
    command = [sys.executable, "-m", "ltx2cpp", "batch", str(table), "-o", out, "-q"]
    return subprocess.Popen([*command, "--threads", "1", "--no-prompt-cache", *options])


def digests(out: str) -> dict[str, str]:
    """Return the SHA-256 of each clip whose mark is there, by its id."""
    found = {}
    for name, data in contents(out, "clips").items():
        mark = json.loads(data)
        clip = f"clips/{mark['id']}.mp4"
        found[mark["id"]] = hashlib.sha256(open_store(out).read([clip])[clip]).hexdigest()
        if found[mark["id"]] != mark["sha256"]:
            raise SystemExit(f"{out}: {name} is not the mark of its clip")
    return found


def contents(out: str, folder: str) -> dict[str, bytes]:
    """Return the JSON files in a folder of an output."""
    store = open_store(out)
    return store.read([f"{folder}/{each}" for each in store.names(folder) if ".json" in each])


def makers(out: str) -> Counter[int]:
    """Return how many clips each process has made."""
    marks = map(json.loads, contents(out, "clips").values())
    return Counter(mark["worker"]["process"] for mark in marks)


def clips(out: str) -> int:
    """Return the number of finished clips."""
    return sum(name.endswith(".json") for name in open_store(out).names("clips"))


def wait_until(what: str, holds: Callable[[], Any]) -> Any:
    """Return what becomes true."""
    end_s = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        if time.monotonic() > end_s:
            raise SystemExit(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.1)
    return found


def wait_for_clips(out: str, count: int) -> None:
    """Wait until so many clips are there."""
    wait_until(f"{count} clips in {out}", lambda: clips(out) >= count)


def no_fault(scene: Scene, out: str) -> int:
    """Let the batch run."""
    return scene.start(out).wait(PATIENCE_S)


def killed_at(point: str) -> Callable[[Scene, str], int]:
    """Return the fault that workers are killed at a point."""

    def fault(scene: Scene, out: str) -> int:
        asked = scene.ends / point
        asked.touch()
        process = scene.start(out)
        for number in range(1, KILLS + 1):
            wait_until(
                f"a worker comes to {point}",
                lambda: not asked.exists() or process.poll() is not None,
            )
            if asked.exists():
                raise SystemExit(f"the batch ended before {KILLS} workers came to {point}")
            if number < KILLS:
                # Models are opened at the start and after each end.
                wait_for_clips(out, 0 if point == "open" else scene.rows * number // KILLS)
                asked.touch()
        return process.wait(PATIENCE_S)

    return fault


def node_removed(scene: Scene, out: str) -> int:
    """Take a node away in the middle; the next fault finds another one."""
    process = scene.start(out)
    wait_for_clips(out, scene.rows // 2)
    scene.cluster.remove_node(scene.second, allow_graceful=False)
    code = process.wait(PATIENCE_S)
    scene.second = scene.cluster.add_node(**NODE)
    return code


def driver_killed(scene: Scene, out: str) -> int:
    """Kill the command in the middle, and start it again."""
    process = scene.start(out)
    wait_for_clips(out, scene.rows // 2)
    process.kill()
    process.wait()
    return scene.start(out).wait(PATIENCE_S)


def poison(scene: Scene, out: str) -> int:
    """Kill each worker that is given a row."""
    asked = scene.ends / f"poison r{scene.rows // 2}"
    asked.touch()
    code = scene.start(out).wait(PATIENCE_S)
    asked.unlink()
    return code


def two_drivers(scene: Scene, out: str) -> int:
    """Start the command twice at once."""
    both = [scene.start(out, workers=1) for _ in range(2)]
    return max(process.wait(PATIENCE_S) for process in both)


def full_disk(scene: Scene, out: str) -> int:
    """Have a node whose disk is full: clips can neither be put into OUT nor kept before that."""
    scene.cluster.remove_node(scene.second)
    remote = "://" in out
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) if remote else Path(out) / CLIPS
        disk.mkdir(parents=True, exist_ok=True)
        with own_disk(disk), variables(TMPDIR=str(disk)) if remote else contextlib.nullcontext():
            scene.second = scene.cluster.add_node(**NODE)
        raylet = scene.second.all_processes["raylet"][0].process.pid
        if not remote:
            fill(raylet, disk)
        process = scene.start(out)
        if remote:
            # Python takes another folder for temporary files where that disk is full at the start.
            wait_until("both nodes make clips", lambda: len(makers(out)) > 1)
            fill(raylet, disk)
        code = process.wait(PATIENCE_S)
        print(f"clips of each worker: {sorted(makers(out).values())}", flush=True)
        scene.cluster.remove_node(scene.second)
    scene.second = scene.cluster.add_node(**NODE)
    return code


FAULTS: dict[str, tuple[Callable[[Scene, str], int], int]] = {
    "none": (no_fault, 0),
    **{point: (killed_at(point), 0) for point in POINTS},
    "node": (node_removed, 0),
    "driver": (driver_killed, 0),
    "two-drivers": (two_drivers, 0),
    "poison": (poison, 1),
    "full-disk": (full_disk, 0),
}


def is_right(scene: Scene, name: str) -> bool:
    """Run the batch with a fault, print what came of it, and tell whether all is right."""
    fault, failing = FAULTS[name]
    out = f"{scene.folder}/{name}"
    started_s = time.monotonic()
    code = fault(scene, out)
    taken_s = time.monotonic() - started_s
    made = digests(out)
    failed = [json.loads(data) for data in contents(out, "failed").values()]
    ended_twice = len(set(made) & {each["id"] for each in failed})
    differing = sum(scene.plain[each] != digest for each, digest in made.items())
    tries = "".join(f", after {each['tries']} tries" for each in failed)
    left = len(open_store(out).names("clips")) - 2 * len(made)
    print(
        f"| {name} | {len(made)} | {len(failed)}{tries} | {differing} | {left} | {code} | "
        f"{taken_s:.0f} s |",
        flush=True,
    )
    right_code = SOME_FAILED if failing else DONE
    all_ended = len(made) == scene.rows - failing and len(failed) == failing
    return all_ended and not differing and not ended_twice and code == right_code


@contextlib.contextmanager
def variables(**values: str) -> Iterator[None]:
    """Start processes in the block with more variables."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def start_cluster() -> tuple[Cluster, Any]:
    """Return a cluster, and its node besides the head."""
    for _ in range(STARTS - 1):
        # Ray allows 30 s for the start of a node, which a busy machine may exceed.
        with contextlib.suppress(Exception):
            return _two_nodes()
    return _two_nodes()


def _two_nodes() -> tuple[Cluster, Any]:
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        return cluster, cluster.add_node(**NODE)
    except BaseException:
        cluster.shutdown()
        raise


def start_s3() -> str:
    """Start a server for this process and its children, and return the address of a bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    # It prints each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    os.environ.update(
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
    )
    boto3.client("s3").create_bucket(Bucket="bucket")
    return "s3://bucket/clips"


def main() -> None:
    """Run the batch with each fault and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--faults", nargs="*", choices=tuple(FAULTS), default=list(FAULTS))
    parser.add_argument("--s3", action="store_true", help="clips go to an object store")
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    rows = rows_of(arguments.rows)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "rows.jsonl"
        table.write_text("\n".join(map(json.dumps, rows)))
        if batch(table, f"{folder}/plain").wait():
            raise SystemExit("the batch without Ray failed")
        plain = digests(f"{folder}/plain")
        place = start_s3() if arguments.s3 else folder
        ends = Path(folder) / "ends"
        ends.mkdir()
        # Nodes that are started later end workers too.
        path = os.pathsep.join((str(WORKERS), os.environ.get("PYTHONPATH", "")))
        os.environ.update(LTX2CPP_CHECK_ENDS=str(ends), PYTHONPATH=path)
        cluster, second = start_cluster()
        scene = Scene(place, table, len(rows), plain, cluster, second, ends)
        print(f"{len(rows)} rows, {place}")
        print("| fault | clips | failed | differ | left behind | exit code | time |", flush=True)
        right = [is_right(scene, fault) for fault in arguments.faults]
        cluster.shutdown()
    if not all(right):
        raise SystemExit("not as it should be")


if __name__ == "__main__":
    main()
