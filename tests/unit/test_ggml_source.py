"""How the pinned ggml source is had: hash, unpacking, edits and forbidden options; no network."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
THIRD_PARTY = ROOT / "third_party" / "ggml"
PREFIX = "package-1.0/vendor/llama.cpp/ggml"


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(THIRD_PARTY))
    return importlib.import_module("fetch_ggml")


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(THIRD_PARTY))
    return importlib.import_module("patch_ggml")


def unpatched_text(patch: ModuleType, path: str) -> str:
    """A file in which every anchor for `path` occurs once; one may be the beginning of another."""
    anchors = [insertion.anchor for insertion in patch.INSERTIONS if insertion.path == path]
    longest = [a for a in anchors if not any(a != b and a in b for b in anchors)]
    return "// first\n" + "    body;\n}\n".join(longest) + "// last\n"


def write_sdist(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> str:
    """Write a source package; returns its sha256."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = target
    return entry


def files_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


class TestOptions:
    @pytest.mark.parametrize(
        "option", ["GGML_OPENMP_FETCH", "GGML_CPU_KLEIDIAI", "GGML_CUDA_CUB_3DOT2"]
    )
    def test_option_that_downloads_is_off(self, option: str) -> None:
        text = (THIRD_PARTY / "CMakeLists.txt").read_text()
        # A plain variable wins over a user's cache entry, under this policy and set before ggml.
        before = text[: text.index("add_subdirectory(")]
        assert re.findall(rf"\b{option}\b\s*([^)]*)\)", text) == ["OFF"]
        assert f"set({option} OFF)" in before
        assert "set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)" in before

    def test_nothing_else_sets_them(self) -> None:
        for name in [
            "CMakeLists.txt",
            "CMakePresets.json",
            "pyproject.toml",
            "csrc/CMakeLists.txt",
        ]:
            text = (ROOT / name).read_text()
            assert not re.search("OPENMP_FETCH|KLEIDIAI|CUB_3DOT2|FetchContent", text), name

    def test_presets_build_the_test_hooks(self) -> None:
        presets = json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]
        assert presets[0]["cacheVariables"]["LTX2CPP_TESTING"] == "ON"


class TestPatch:
    def apply_to(self, patch: ModuleType, tree: Path, texts: dict[str, str]) -> None:
        for name, text in texts.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        patch.apply(tree)

    def unpatched(self, patch: ModuleType) -> dict[str, str]:
        return {each.path: unpatched_text(patch, each.path) for each in patch.INSERTIONS}

    def test_insertions_go_beside_their_anchors_and_remove_nothing(
        self, patch: ModuleType, tmp_path: Path
    ) -> None:
        original = self.unpatched(patch)
        self.apply_to(patch, tmp_path, original)
        patched = {name: (tmp_path / name).read_text() for name in original}
        for insertion in patch.INSERTIONS:
            parts = [insertion.anchor, insertion.text]
            inserted = "".join(parts if insertion.after else parts[::-1])
            text = patched[insertion.path]
            assert text.count(inserted) == 1
            patched[insertion.path] = text.replace(inserted, insertion.anchor)
        assert patched == original

    def test_missing_anchor_stops_the_build(self, patch: ModuleType, tmp_path: Path) -> None:
        for insertion in patch.INSERTIONS:
            texts = self.unpatched(patch)
            texts[insertion.path] = texts[insertion.path].replace(insertion.anchor, "")
            with pytest.raises(patch.PatchError, match="occurs 0 times, expected once"):
                self.apply_to(patch, tmp_path, texts)

    def test_repeated_anchor_stops_the_build(self, patch: ModuleType, tmp_path: Path) -> None:
        for insertion in patch.INSERTIONS:
            texts = self.unpatched(patch)
            texts[insertion.path] += insertion.anchor
            with pytest.raises(patch.PatchError, match="occurs 2 times, expected once"):
                self.apply_to(patch, tmp_path, texts)


class TestLock:
    def test_the_pin_is_one_line_with_a_hash(self, fetch: ModuleType) -> None:
        name, digest = fetch.read_lock()
        assert re.fullmatch(r"[\w.-]+", name)
        assert re.fullmatch(r"[0-9a-f]{64}", digest)

    @pytest.mark.parametrize(
        "text", ["", "pkg==1.0\n", f"pkg>=1.0 --hash=sha256:{'0' * 64}", "pkg==1 --hash=sha256:12"]
    )
    def test_a_lock_without_a_hash_is_refused(
        self, fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        monkeypatch.setattr(fetch, "LOCK", tmp_path / "lock")
        (tmp_path / "lock").write_text(text)
        with pytest.raises(fetch.FetchError, match="expected one line"):
            fetch.read_lock()


class TestUnpack:
    def test_only_plain_files_of_ggml_are_taken(self, fetch: ModuleType, tmp_path: Path) -> None:
        kept = ["include/ggml.h", "src/a/b.c", "cmake/x.cmake", "CMakeLists.txt", "LICENSE"]
        good = {f"{PREFIX}/{name}": name.encode() for name in kept}
        bad: dict[str, bytes | tarfile.TarInfo] = {
            "package-1.0/setup.py": b"evil",
            "package-1.0/vendor/other/src/a.c": b"evil",
            f"{PREFIX}/scripts/run.sh": b"evil",
            f"{PREFIX}/src/../../../../../escaped": b"evil",
            f"{PREFIX}/../src/escaped.c": b"evil",
            f"{PREFIX}//etc/escaped": b"evil",
            "/vendor/ggml/../escaped": b"evil",
            "symlink": link(f"{PREFIX}/src/symlink", tarfile.SYMTYPE, "../../../escaped"),
            "hard link": link(f"{PREFIX}/src/hard", tarfile.LNKTYPE, f"{PREFIX}/LICENSE"),
            "device": link(f"{PREFIX}/src/null", tarfile.CHRTYPE, ""),
            "pipe": link(f"{PREFIX}/src/pipe", tarfile.FIFOTYPE, ""),
            # What a link let through would be written outside.
            "folder": link(f"{PREFIX}/src/out", tarfile.SYMTYPE, str(tmp_path)),
        }
        sdist, target = tmp_path / "a.tar.gz", tmp_path / "deep" / "er" / "target"
        write_sdist(sdist, {**bad, **good, f"{PREFIX}/src/out/inside.c": b"kept inside"})
        fetch.unpack(sdist, target)
        names = {*kept, "src/out/inside.c"}
        assert files_below(target) == names
        assert files_below(tmp_path) == {f"deep/er/target/{name}" for name in names} | {"a.tar.gz"}
        assert (target / "src/a/b.c").read_bytes() == b"src/a/b.c"

    def test_the_licence_beside_ggml_is_taken_as_its_own(
        self, fetch: ModuleType, tmp_path: Path
    ) -> None:
        members: dict[str, bytes | tarfile.TarInfo] = {
            "package-1.0/LICENSE": b"the package's",
            "package-1.0/vendor/llama.cpp/LICENSE": b"ggml's",
            "package-1.0/vendor/llama.cpp/ggml/src/a.c": b"a",
        }
        write_sdist(tmp_path / "a.tar.gz", members)
        fetch.unpack(tmp_path / "a.tar.gz", tmp_path / "target")
        assert files_below(tmp_path / "target") == {"LICENSE", "src/a.c"}
        assert (tmp_path / "target" / "LICENSE").read_bytes() == b"ggml's"

    def test_a_package_without_ggml_is_refused(self, fetch: ModuleType, tmp_path: Path) -> None:
        write_sdist(tmp_path / "a.tar.gz", {"package-1.0/setup.py": b"x"})
        with pytest.raises(fetch.FetchError, match="no ggml source tree inside"):
            fetch.unpack(tmp_path / "a.tar.gz", tmp_path / "target")


class TestTree:
    """ready_tree with a package of our own under a lock of our own."""

    @pytest.fixture
    def sdist(
        self,
        fetch: ModuleType,
        patch: ModuleType,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Path:
        path = tmp_path / "package-1.0.tar.gz"
        digest = write_sdist(
            path,
            {
                f"{PREFIX}/include/ggml.h": b"// header\n",
                **{
                    f"{PREFIX}/{edit.path}": unpatched_text(patch, edit.path).encode()
                    for edit in patch.INSERTIONS
                },
            },
        )
        lock = tmp_path / "ggml.lock"
        lock.write_text(f"package==1.0 --hash=sha256:{digest}\n")
        monkeypatch.setattr(fetch, "LOCK", lock)
        monkeypatch.setattr(fetch, "download", self.no_download)
        return path

    @staticmethod
    def no_download(name: str, folder: Path) -> Path:
        raise AssertionError(f"would download {name} to {folder}")

    def test_the_tree_is_patched_and_kept(
        self, fetch: ModuleType, patch: ModuleType, sdist: Path, tmp_path: Path
    ) -> None:
        cache = tmp_path / "cache"
        tree = fetch.ready_tree(sdist, cache)
        assert (tree / "include" / "ggml.h").is_file()
        assert "ggml_backend_cuda_set_custom_op" in (tree / patch.CUDA).read_text()
        assert list(cache.iterdir()) == [tree]
        sdist.unlink()
        assert fetch.ready_tree(None, cache) == tree

    def test_other_edits_make_another_tree(
        self, fetch: ModuleType, sdist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = fetch.ready_tree(sdist, tmp_path / "cache")
        edits = (THIRD_PARTY / "patch_ggml.py").read_text()
        (tmp_path / "patch_ggml.py").write_text(edits + "# changed\n")
        monkeypatch.setattr(fetch, "HERE", tmp_path)
        assert fetch.ready_tree(sdist, tmp_path / "cache") != first

    def test_a_changed_package_is_refused_and_leaves_nothing(
        self, fetch: ModuleType, sdist: Path, tmp_path: Path
    ) -> None:
        sdist.write_bytes(sdist.read_bytes() + b"\0")
        with pytest.raises(fetch.FetchError, match=r"sha256 is [0-9a-f]{64}, but .* pins"):
            fetch.ready_tree(sdist, tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []

    def test_a_tree_the_edits_do_not_fit_leaves_nothing(
        self, fetch: ModuleType, patch: ModuleType, sdist: Path, tmp_path: Path
    ) -> None:
        digest = write_sdist(sdist, {f"{PREFIX}/{patch.CUDA}": b"// other\n"})
        fetch.LOCK.write_text(f"package==1.0 --hash=sha256:{digest}\n")
        with pytest.raises(patch.PatchError):
            fetch.ready_tree(sdist, tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []

    def test_the_command_prints_the_path_or_one_reason(
        self,
        fetch: ModuleType,
        sdist: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        arguments = ["fetch_ggml.py", "--sdist", str(sdist), "--cache-dir", str(tmp_path / "cache")]
        monkeypatch.setattr("sys.argv", arguments)
        assert fetch.main() == 0
        assert Path(capsys.readouterr().out.strip()).is_dir()
        monkeypatch.setattr("sys.argv", [*arguments[:3], "--cache-dir", str(tmp_path / "empty")])
        sdist.write_bytes(b"")
        assert fetch.main() == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("fetch_ggml: ") and "sha256" in captured.err


class TestDownload:
    """The call of pip, with pip replaced."""

    def run_with(
        self,
        fetch: ModuleType,
        monkeypatch: pytest.MonkeyPatch,
        folder: Path,
        pip: Callable[..., Any],
    ) -> tuple[Path, list[str], dict[str, str]]:
        seen: dict[str, Any] = {}

        def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
            seen.update(command=command, env=options["env"])
            return pip(command)  # type: ignore[no-any-return]

        monkeypatch.setattr(subprocess, "run", run)
        return fetch.download("package", folder), seen["command"], seen["env"]

    def test_pip_checks_the_hash_and_runs_nothing_of_the_package(
        self, fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def pip(command: list[str]) -> subprocess.CompletedProcess[str]:
            (tmp_path / "package-1.0.tar.gz").write_bytes(b"")
            return subprocess.CompletedProcess(command, 0, stdout="")

        path, command, env = self.run_with(fetch, monkeypatch, tmp_path, pip)
        assert path == tmp_path / "package-1.0.tar.gz"
        for option in ["--require-hashes", "--no-deps", "--no-build-isolation", "--no-input"]:
            assert option in command
        # Where from is pip's own configuration.
        assert not any("://" in part or "index" in part for part in command)
        assert (Path(env["PYTHONPATH"]) / "scikit_build_core" / "build.py").is_file()

    def test_a_failed_download_says_how_to_go_on_without_a_network(
        self, fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def pip(command: list[str]) -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess(command, 1, stdout="no route\n")

        with pytest.raises(fetch.FetchError, match=r"(?s)LTX2CPP_GGML_SDIST=FILE.*no route"):
            self.run_with(fetch, monkeypatch, tmp_path, pip)

    def test_the_stand_in_backend_answers_with_the_packages_metadata(
        self, fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "PKG-INFO").write_text("Name: a-b\nVersion: 1.0\n\nName: not this\n")
        (tmp_path / "out").mkdir()
        backend: dict[str, Any] = {}
        exec(fetch.STAND_IN_BACKEND, backend)
        assert backend["get_requires_for_build_wheel"]() == []
        folder = backend["prepare_metadata_for_build_wheel"](str(tmp_path / "out"))
        assert folder == "a_b-1.0.dist-info"
        metadata = (tmp_path / "out" / folder / "METADATA").read_text()
        assert metadata.splitlines()[1:] == ["Name: a-b", "Version: 1.0"]
