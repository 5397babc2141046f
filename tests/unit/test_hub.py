"""Models fetched by name, from a hub on 127.0.0.1 by the real client."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.stub_hub import Fault, Request, StubFile, StubHub

from ltx2cpp import ModelFiles
from ltx2cpp.batch.models import Models
from ltx2cpp.batch.tasks import Task
from ltx2cpp.cli.main import build_parser, main
from ltx2cpp.cli.options.row_models import models_of
from ltx2cpp.errors import HubError
from ltx2cpp.hub import Hub, download, file_systems, transfer
from ltx2cpp.observing import Observer
from ltx2cpp.options import LoraSpec

# Four pieces of the stub, and some bytes.
WEIGHTS = np.random.default_rng(0).bytes(4 * 65536 + 100)
NAME = "hf:o/n/w.safetensors"


def fetch(name: str = NAME, observer: Observer | None = None) -> Path:
    return Hub().find({"transformer": name}, newest=True).fetch(observer)["transformer"]


def faults(*faults: Fault) -> Callable[[Request], Fault]:
    """One fault for each request, the last one for all that follow."""
    left = list(faults)
    return lambda _request: left.pop(0) if len(left) > 1 else left[0]


def part(folder: Path) -> Path:
    return next(folder.rglob("*.part"))


def test_a_file_is_fetched_once_and_found_offline(stub: StubHub, tmp_path: Path) -> None:
    stub.add("o/n", {"w.safetensors": WEIGHTS, "README.md": b"words"})
    path = fetch()
    assert path.read_bytes() == WEIGHTS
    assert path.is_symlink() and path.resolve().name == hashlib.sha256(WEIGHTS).hexdigest()
    stub.forget()
    assert fetch() == path
    assert not stub.file_requests
    stub.forget()
    assert Hub(offline=True).find({"transformer": NAME}).fetch()["transformer"] == path
    assert not stub.requests
    # The layout is that of the client, which finds the file in it.
    import huggingface_hub

    assert huggingface_hub.try_to_load_from_cache("o/n", "w.safetensors") == str(path)


def test_listings_have_pages(stub: StubHub) -> None:
    stub.add("o/n", {**{f"{number}.json": b"{}" for number in range(5)}, "w.safetensors": WEIGHTS})
    stub.page_size = 2
    assert fetch().read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut_after=70_000),
        Fault(status=503),
        Fault(status=429, headers={"Retry-After": "0"}),
        Fault(status=403),
    ],
    ids=lambda fault: str(fault.status or "short body"),
)
def test_a_passing_fault_is_passed(stub: StubHub, fault: Fault) -> None:
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    stub.fault = faults(fault, Fault())
    assert fetch().read_bytes() == WEIGHTS
    assert sum(stub.sent.values()) <= len(WEIGHTS) + 65536


def test_the_next_try_goes_on(stub: StubHub, tmp_path: Path) -> None:
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    stub.fault = faults(Fault(cut_after=131072), Fault(status=503))
    with pytest.raises(HubError, match=r"fault of its own \(503\)"):
        fetch()
    kept = part(tmp_path).stat().st_size
    assert kept == 131072
    assert Hub().find({"transformer": NAME}).kept_bytes == kept
    assert not list(tmp_path.rglob("w.safetensors"))
    stub.forget()
    stub.fault = faults(Fault())
    assert fetch().read_bytes() == WEIGHTS
    assert stub.file_requests[0].headers["Range"] == f"bytes={kept}-"
    assert sum(stub.sent.values()) == len(WEIGHTS) - kept


def test_a_server_without_ranges_starts_again(stub: StubHub) -> None:
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    stub.fault = faults(Fault(cut_after=131072), Fault(ignores_range=True))
    assert fetch().read_bytes() == WEIGHTS
    assert sum(stub.sent.values()) == len(WEIGHTS) + 131072


def test_a_part_that_is_too_long_is_dropped(stub: StubHub, tmp_path: Path) -> None:
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    blobs = tmp_path / "hub" / "models--o--n" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(WEIGHTS).hexdigest()}.part").write_bytes(WEIGHTS + b"x")
    assert fetch().read_bytes() == WEIGHTS


# A fault that stays, what is said, and how many bytes are kept for the next try.
REFUSALS = {
    "401": (Fault(status=401), "refuses this \\(401\\)", 0),
    "404": (Fault(status=404), "answers 404|no such file", 0),
    "416": (Fault(status=416), "answers 416", 0),
    "429": (Fault(status=429, headers={"Retry-After": "900"}), "try again in 900 s", 0),
    "500": (Fault(status=500), "fault of its own \\(500\\)", 0),
    "wrong bytes": (Fault(changed=True), "has the hash .* it was thrown away", None),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_lasting_fault_is_said(stub: StubHub, tmp_path: Path, case: str) -> None:
    fault, words, kept = REFUSALS[case]
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    stub.fault = faults(fault)
    with pytest.raises(HubError, match=words) as error:
        fetch()
    assert error.value.exit_code == 3
    assert "\n" not in str(error.value)
    parts = [path.stat().st_size for path in tmp_path.rglob("*.part")]
    assert parts == ([] if kept is None else [kept])
    assert not list(tmp_path.rglob("w.safetensors"))


def test_the_token_stays_with_the_hub(stub: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to another host is followed without it."""
    monkeypatch.setenv("HF_TOKEN", "good")
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    with StubHub() as other:
        other.add("o/n", {"w.safetensors": WEIGHTS})
        stub.fault = lambda request: Fault(location=other.url + request.path)
        assert fetch().read_bytes() == WEIGHTS
        assert stub.file_requests[0].headers["authorization"] == "Bearer good"
        assert all("authorization" not in each.headers for each in other.file_requests)
        assert other.file_requests


@pytest.mark.parametrize(
    ("token", "words"),
    [("", "wants terms accepted and a token"), ("other", "has not been let in"), ("good", "")],
)
def test_gates_are_asked_first(
    stub: StubHub, monkeypatch: pytest.MonkeyPatch, token: str, words: str
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    stub.add("o/gated", {"v.safetensors": WEIGHTS}, gated=True)
    names = {"transformer": NAME, "video_vae": "hf:o/gated"}
    if not words:
        assert set(Hub().find(names).fetch()) == set(names)
        return
    with pytest.raises(HubError, match=words):
        Hub().find(names).fetch()
    assert not stub.file_requests


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:o/none", "there is no such repository"),
        ("hf:o/n@v9", "revision v9: there is no such revision"),
        ("hf:o/n/x.safetensors", "holds no file x.safetensors; the nearest are w.safetensors"),
        ("hf:o/n/w.exe", "only .safetensors, .gguf"),
        ("https://h.test/o/n", "h.test: is not the host of the hub"),
        ("hf:o/outside", "lists the file '../w.safetensors'"),
        ("hf:o/absolute", "lists the file '/w.safetensors'"),
        ("ltx-2.3-distiled", "nearest names are ltx-2.3-distilled"),
        ("hf:o/two", "holds 2 model files; name one"),
        ("hf:o/words", "holds 0 model files"),
        ("w.safetensors", "is no name of a model"),
    ],
)
def test_a_wrong_name_is_one_sentence(
    stub: StubHub, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    stub.add("o/outside", {"../w.safetensors": WEIGHTS})
    stub.add("o/absolute", {"/w.safetensors": WEIGHTS})
    stub.add("o/two", {"a.safetensors": WEIGHTS, "b.safetensors": WEIGHTS})
    stub.add("o/words", {"README.md": b"words"})
    assert main(["download", name, "-q"]) == 3
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not stub.file_requests


def test_no_network_is_said(
    stub: StubHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    assert main(["download", NAME, "-q"]) == 3
    assert "the hub cannot be reached" in capsys.readouterr().err
    assert main(["download", NAME, "-q", "--offline"]) == 3
    assert "--offline keeps from fetching" in capsys.readouterr().err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["download", NAME, "-q"]) == 3
    assert not stub.requests


def test_a_full_disk_is_seen_before(
    stub: StubHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.add("o/n", {"w.safetensors": StubFile(size_only=10**18)})
    assert main(["download", NAME, "-q"]) == 3
    assert "are to be fetched, which wants" in capsys.readouterr().err
    assert not stub.file_requests


def test_a_read_only_cache_is_said(stub: StubHub, capsys: pytest.CaptureFixture[str]) -> None:
    """A file stands where the folder should be: also root cannot write there."""
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    Path("file").touch()
    assert main(["download", NAME, "-q", "--hub-dir", "file/hub"]) == 3
    assert "the cache folder cannot be written to" in capsys.readouterr().err


def test_a_file_system_of_small_files_is_seen_before(
    stub: StubHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    line = f"42 1 {os.major(device)}:{os.minor(device)} / /stick rw shared:5 - vfat /dev/sdb1 rw\n"
    mounts.write_text("broken\n" + line)
    limit = file_systems.largest_file(tmp_path, mounts)
    assert limit is not None and limit[0] == 2**32 - 1
    mounts.write_text(line.replace("vfat", "ext4"))
    assert file_systems.largest_file(tmp_path, mounts) is None
    assert file_systems.largest_file(tmp_path, tmp_path / "none") is None
    # The largest file counts, not their sum.
    stub.add("o/n", {"a.safetensors": b"x" * 60, "b.safetensors": b"y" * 60})
    monkeypatch.setattr(download, "largest_file", lambda _folder: (60, "it is small"))
    assert Hub().find({"transformer": "hf:o/n/a.safetensors"}).fetch()
    stub.add("o/m", {"c.safetensors": b"x" * 61})
    with pytest.raises(HubError, match=r"o/m/c.safetensors is: it is small; --hub-dir takes"):
        Hub().find({"transformer": "hf:o/m/c.safetensors"}).fetch()


@pytest.mark.parametrize(
    ("number", "words"), [(28, "No space left"), (27, "takes no file so large")]
)
def test_a_disk_that_fills_up_keeps_what_came(
    stub: StubHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    append = transfer.Transfer._append

    def full(self: Any, stream: Any, data: bytes) -> None:
        if self._done >= 65536:
            raise OSError(number, os.strerror(number))
        append(self, stream, data)

    with monkeypatch.context() as patch:
        patch.setattr(transfer.Transfer, "_append", full)
        with pytest.raises(HubError, match=words):
            fetch()
    kept = part(tmp_path).stat().st_size
    assert kept >= 65536
    stub.forget()
    assert fetch().read_bytes() == WEIGHTS
    assert stub.file_requests[0].headers["Range"] == f"bytes={kept}-"


def test_without_links_the_file_itself_takes_the_name(
    stub: StubHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    stub.add("o/n", {"w.safetensors": WEIGHTS})
    monkeypatch.setattr(Path, "symlink_to", refuse)
    path = fetch()
    assert not path.is_symlink() and path.read_bytes() == WEIGHTS
    stub.forget()
    assert fetch() == path
    assert not stub.file_requests


def test_a_new_commit_fetches_what_changed(stub: StubHub) -> None:
    stub.add("o/n", {"w.safetensors": WEIGHTS, "b.json": b"{}"})
    old = fetch()
    stub.add("o/n", {"w.safetensors": WEIGHTS, "b.json": b"[]"}, commit="d" * 40)
    stub.forget()
    new = fetch()
    assert new != old and new.samefile(old)
    assert not stub.file_requests


def test_a_stopped_process_is_gone_on_with(stub: StubHub, tmp_path: Path) -> None:
    """kill -9 in the middle; then two processes at once, which share one download."""
    data = np.random.default_rng(1).bytes(4 << 20)
    stub.add("o/n", {"w.safetensors": data})
    stub.on_piece = lambda: time.sleep(0.005)
    environment = {**os.environ, "HF_ENDPOINT": stub.url, "HF_HOME": str(tmp_path)}

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ltx2cpp.cli.main", "download", "-q", NAME]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    process = start()
    while stub.sent.get("w.safetensors", 0) < 2 << 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < part(tmp_path).stat().st_size < len(data)
    processes = [start(), start()]
    assert [process.wait() for process in processes] == [0, 0]
    path = next((tmp_path / "hub").rglob("w.safetensors"))
    assert path.read_bytes() == data
    # What was on its way when the process ended is sent again.
    assert stub.sent["w.safetensors"] <= len(data) + (1 << 20)


def test_another_machine_fetches_what_was_named_once(
    stub: StubHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    # The transfer is held up until a second process waits for it.
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 30)
    stub.add("o/n", {"w.safetensors": WEIGHTS})
    command = ["batch", "rows.txt", "-o", "out", "-q", "-y", "--transformer", NAME]
    task = Task("a", 1, {"prompt": "a", "loras": (NAME,)}, "0" * 64)
    sent = models_of(build_parser().parse_args(command), [task], lambda _bad: None)
    path = fetch()
    files = ModelFiles(transformer=path)
    assert sent.usual.files == files and sent.loras == {NAME: LoraSpec(path)}
    stub.forget()
    models: Models = pickle.loads(pickle.dumps(sent))
    assert models.on_this_machine().usual.files == files and not stub.requests

    waits, second = threading.Event(), []
    there = replace(models.meant[0], folder=tmp_path / "node")
    at_node = replace(models, meant=tuple(replace(m, folder=there.folder) for m in models.meant))

    class Waiting(Observer):
        def phase_progress(self, name: str, done: int, total: int) -> None:
            waits.set()

    waiter = threading.Thread(target=lambda: second.append(there.fetch(Waiting())), daemon=True)

    def in_the_middle() -> None:
        if waiter.ident is None:
            waiter.start()
            assert waits.wait(20)

    stub.on_piece = in_the_middle
    here = at_node.on_this_machine()
    waiter.join(60)
    fetched = tmp_path / "node" / path.relative_to(Hub().cache.folder)
    assert here.usual.files == ModelFiles(transformer=fetched)
    assert here.loras == {NAME: LoraSpec(fetched)}
    assert second == [{path: fetched}] and fetched.read_bytes() == WEIGHTS
    assert sum(stub.sent.values()) == len(WEIGHTS)

    # What was a path of the first machine is looked up by its name; with --offline it is refused.
    wanted = replace(there.wanted[0], here=tmp_path / "gone")
    third = replace(there, folder=tmp_path / "third", wanted=(wanted,))
    assert third.fetch()[path].read_bytes() == WEIGHTS
    with pytest.raises(HubError, match=r"o/n: is not here whole .* --offline keeps"):
        replace(there, folder=tmp_path / "fourth", offline=True).fetch()


def test_a_repository_is_asked_for_what_is_not_here(stub: StubHub) -> None:
    """What was fetched of it does not hide the rest; without a line it has to do."""
    import huggingface_hub

    stub.add("o/n", {"a-Q8_0.gguf": WEIGHTS, "a-Q4_K_M.gguf": WEIGHTS[1:]})
    q8, q4 = fetch("hf:o/n:q8_0"), fetch("hf:o/n:q4_k_m")
    assert (q8.read_bytes(), q4.read_bytes()) == (WEIGHTS, WEIGHTS[1:])
    q4.unlink()
    download = Hub().find({"transformer": "hf:o/n:q4_k_m"})
    assert download.paths()["transformer"] == q4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
        assert Hub().find({"transformer": "hf:o/n"}).fetch()["transformer"] == q8


def test_a_folder_of_folders_is_one_model(stub: StubHub) -> None:
    files = (
        "model_index.json",
        "vae/config.json",
        "vae/w.safetensors",
        "transformer/w.safetensors",
    )
    stub.add("o/n", {path: path.encode() for path in files})
    folder = Hub().find({"checkpoint": "hf:o/n"}).fetch()["checkpoint"]
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == set(files)


def test_speed_may_be_preferred(stub: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the client transfers; the hash is checked all the same."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_XET_HIGH_PERFORMANCE", True)
    stub.add("o/n", {"w.safetensors": WEIGHTS, "v.safetensors": WEIGHTS[1:]})
    assert fetch().read_bytes() == WEIGHTS
    stub.fault = faults(Fault(changed=True))
    with pytest.raises(HubError, match="has the hash"):
        fetch("hf:o/n/v.safetensors")
    assert Hub().find({"transformer": "hf:o/n/v.safetensors"}).missing_bytes == len(WEIGHTS) - 1
