"""Output files exist whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ltx2cpp import atomic
from ltx2cpp.atomic import atomic_file, atomic_folder, check_writable, remove_abandoned
from ltx2cpp.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_atomic_file_appears_under_its_name_only_at_the_end(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "clip.mp4") as temporary:
        temporary.write_bytes(b"whole")
        assert "clip.mp4" not in names(tmp_path)
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".mp4"
    assert names(tmp_path) == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == b"whole"


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_atomic_file_leaves_the_old_file_when_the_block_fails(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    final = tmp_path / "clip.mp4"
    final.write_bytes(b"old")
    with pytest.raises(failure), atomic_file(final) as temporary:
        temporary.write_bytes(b"half")
        raise failure
    assert names(tmp_path) == ["clip.mp4"]
    assert final.read_bytes() == b"old"


def test_atomic_file_replaces_an_existing_file(tmp_path: Path) -> None:
    final = tmp_path / "clip.mp4"
    final.write_bytes(b"old")
    with atomic_file(final) as temporary:
        temporary.write_bytes(b"new")
    assert final.read_bytes() == b"new"


def test_atomic_file_follows_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real" / "clip.mp4")
    with atomic_file(tmp_path / "link.mp4") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "link.mp4").is_symlink()
    assert (tmp_path / "real" / "clip.mp4").read_bytes() == b"new"


def test_atomic_file_respects_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "clip.mp4"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "clip.mp4").stat().st_mode) == 0o640


def test_atomic_file_takes_the_longest_file_name(tmp_path: Path) -> None:
    name = "n" * 251 + ".mp4"
    with atomic_file(tmp_path / name):
        pass
    assert names(tmp_path) == [name]


def test_atomic_file_says_that_the_folder_is_missing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"nowhere.*does not exist"),
        atomic_file(tmp_path / "nowhere" / "clip.mp4"),
    ):
        pass


def test_atomic_file_refuses_a_folder(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(OutputError, match="is a folder"), atomic_file(tmp_path / "clip.mp4"):
        pass


def test_atomic_file_refuses_a_device(tmp_path: Path) -> None:
    (tmp_path / "pipe.mp4").symlink_to("/dev/null")
    with pytest.raises(OutputError, match="device or a pipe"), atomic_file(tmp_path / "pipe.mp4"):
        pass
    assert not Path("/dev/null").is_file()


def test_atomic_file_names_the_output_when_the_system_refuses(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"clip\.mp4: cannot be written: No space left"),
        atomic_file(tmp_path / "clip.mp4"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert names(tmp_path) == []


def is_numbered(path: Path) -> bool:
    return path.stem.isdigit()


def test_atomic_folder_appears_under_its_name_only_at_the_end(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "frames", may_replace=is_numbered) as temporary:
        (temporary / "00000.png").write_bytes(b"x")
        assert "frames" not in names(tmp_path)
    assert names(tmp_path) == ["frames"]
    assert names(tmp_path / "frames") == ["00000.png"]


def test_atomic_folder_replaces_frames_of_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for index in range(3):
        (tmp_path / "frames" / f"{index:05d}.png").write_bytes(b"old")
    with atomic_folder(tmp_path / "frames", may_replace=is_numbered) as temporary:
        (temporary / "00000.png").write_bytes(b"new")
    assert names(tmp_path) == ["frames"]
    assert names(tmp_path / "frames") == ["00000.png"]


def test_atomic_folder_never_deletes_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "thesis.doc").write_bytes(b"precious")
    with (
        pytest.raises(OutputError, match=r"other files \('thesis\.doc'\)"),
        atomic_folder(tmp_path / "frames", may_replace=is_numbered),
    ):
        pass
    assert names(tmp_path / "frames") == ["thesis.doc"]


def test_atomic_folder_looks_again_before_it_replaces(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    with (
        pytest.raises(OutputError, match="other files"),
        atomic_folder(tmp_path / "frames", may_replace=is_numbered) as temporary,
    ):
        (temporary / "00000.png").write_bytes(b"new")
        (tmp_path / "frames" / "thesis.doc").write_bytes(b"precious")
    assert names(tmp_path) == ["frames"]
    assert names(tmp_path / "frames") == ["thesis.doc"]


def test_atomic_folder_leaves_nothing_when_the_block_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        atomic_folder(tmp_path / "frames", may_replace=is_numbered) as temporary,
    ):
        (temporary / "00000.png").write_bytes(b"x")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_check_writable_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "clip.mp4")
    assert names(tmp_path) == []


def test_check_writable_refuses_a_file_system_that_takes_no_files() -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable("/proc/self/clip.mp4")


def test_abandoned_files_are_removed_and_nothing_else(tmp_path: Path) -> None:
    abandoned = ".ltx2cpp-0123abcd-0123456789ab"
    (tmp_path / f"{abandoned}.mp4").write_bytes(b"half")
    (tmp_path / abandoned).mkdir()
    (tmp_path / abandoned / "00000.png").write_bytes(b"half")
    kept = [".ltx2cpp", ".ltx2cpp-notes.txt", ".ltx2cpp-replaced-0123456789ab", "clip.mp4"]
    for name in kept:
        (tmp_path / name).write_bytes(b"mine")
    link = ".ltx2cpp-0123abcd-ba9876543210"
    (tmp_path / link).symlink_to(tmp_path / "clip.mp4")
    remove_abandoned(tmp_path)
    assert names(tmp_path) == sorted([*kept, link])


def test_a_large_folder_is_not_looked_through_at_each_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_MANY_ENTRIES", 2)
    monkeypatch.setattr(atomic, "_SWEEP_PAUSE", 1e9)
    abandoned = tmp_path / ".ltx2cpp-0123abcd-0123456789ab"
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    remove_abandoned(tmp_path)
    abandoned.touch()
    remove_abandoned(tmp_path)
    assert abandoned.exists()
    monkeypatch.setattr(atomic, "_next_sweep_s", {})
    remove_abandoned(tmp_path)
    assert not abandoned.exists()


def test_files_that_are_being_written_are_not_abandoned(tmp_path: Path) -> None:
    with (
        atomic_file(tmp_path / "a.mp4") as first,
        atomic_folder(tmp_path / "frames", may_replace=is_numbered) as second,
    ):
        remove_abandoned(tmp_path)
        check_writable(tmp_path / "b.mp4")
        with atomic_file(tmp_path / "b.mp4"):
            assert first.exists() and second.exists()
    assert names(tmp_path) == ["a.mp4", "b.mp4", "frames"]


def test_another_process_tells_what_is_being_written(tmp_path: Path) -> None:
    program = f"""
from ltx2cpp.atomic import atomic_file
with atomic_file({str(tmp_path / "b.mp4")!r}):
    pass
"""
    with atomic_file(tmp_path / "a.mp4"):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert names(tmp_path) == ["a.mp4", "b.mp4"]


def test_a_missing_folder_has_nothing_abandoned(tmp_path: Path) -> None:
    remove_abandoned(tmp_path / "nowhere")


def test_outputs_are_written_where_nothing_can_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / ".ltx2cpp-0123abcd-0123456789ab").write_bytes(b"whose?")
    with atomic_file(tmp_path / "a.mp4"):
        pass
    assert names(tmp_path) == [".ltx2cpp-0123abcd-0123456789ab", "a.mp4"]
