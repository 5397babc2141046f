"""Gets the pinned ggml source tree and prints its path.

The source comes out of a hash-locked source package (``ggml.lock``) that carries ggml in a subfolder. Only ggml's
own folders are unpacked, the edits of ``patch_ggml.py`` are applied, and the tree is kept in a per-user cache whose
key covers both the package's hash and the edits. Standard library and pip only; nothing of the package is executed.

    python fetch_ggml.py [--sdist FILE] [--cache-dir FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import patch_ggml

HERE = Path(__file__).resolve().parent
LOCK = HERE / "ggml.lock"
KEEP = ("include/", "src/", "cmake/", "CMakeLists.txt", "LICENSE", "AUTHORS")

# pip asks a source package's build backend for metadata before it downloads; this answers in its place, so that no
# code of the package and none of its build requirements run.
STAND_IN_BACKEND = """
import pathlib

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    fields = {}
    for line in pathlib.Path("PKG-INFO").read_text(encoding="utf-8").splitlines():
        if not line:
            break
        key, _, value = line.partition(": ")
        fields.setdefault(key, value)
    name, version = fields["Name"], fields["Version"]
    folder = pathlib.Path(metadata_directory) / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    text = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")
    return folder.name
"""


class FetchError(Exception):
    """The pinned source cannot be had; the message says why and what to do."""


def read_lock() -> tuple[str, str]:
    """Returns the locked package name and the sha256 of its source file."""
    match = re.fullmatch(r"\s*([\w.-]+)==\S+\s+--hash=sha256:([0-9a-f]{64})\s*", LOCK.read_text())
    if match is None:
        raise FetchError(f"{LOCK}: expected one line 'name==version --hash=sha256:...'")
    return match[1], match[2]


def default_cache_dir() -> Path:
    if configured := os.environ.get("LTX2CPP_GGML_CACHE_DIR"):
        return Path(configured)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "ltx2cpp"


def download(name: str, folder: Path) -> Path:
    """Downloads the source package with pip, whose own configuration decides where from."""
    backend = folder / "backend" / "scikit_build_core"
    backend.mkdir(parents=True)
    (backend / "__init__.py").write_text("")
    (backend / "build.py").write_text(STAND_IN_BACKEND)
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check",
        "--no-deps", "--no-build-isolation", "--no-binary", name, "--require-hashes",
        "-r", str(LOCK), "--dest", str(folder),
    ]  # fmt: skip
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(backend.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    files = list(folder.glob("*.tar.gz"))
    if done.returncode != 0 or len(files) != 1:
        tail = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise FetchError(
            f"pip could not download the ggml source package {name}; without a network give the file with "
            f"-DLTX2CPP_GGML_SDIST=FILE or an unpacked tree with -DLTX2CPP_GGML_SOURCE_DIR=FOLDER. pip said:\n{tail}"
        )
    return files[0]


def verify(sdist: Path, expected: str) -> None:
    digest = hashlib.sha256()
    with sdist.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise FetchError(
            f"{sdist}: sha256 is {digest.hexdigest()}, but {LOCK.name} pins {expected}"
        )


def unpack(sdist: Path, target: Path) -> None:
    """Unpacks ggml's plain files only; links, devices and paths that leave the folder never match."""
    count = 0
    with tarfile.open(sdist) as archive:
        for member in archive:
            _, found, inside = member.name.partition("/vendor/llama.cpp/ggml/")
            if not found:
                _, found, inside = member.name.partition("/vendor/ggml/")
            if member.name.endswith("/vendor/llama.cpp/LICENSE"):  # there it covers ggml too
                found = inside = "LICENSE"
            if not found or not member.isfile() or not inside.startswith(KEEP) or ".." in inside:
                continue
            source = archive.extractfile(member)
            if source is None:
                continue
            path = target / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            with source, path.open("wb") as out:
                shutil.copyfileobj(source, out)
            count += 1
    if count == 0:
        raise FetchError(f"{sdist}: no ggml source tree inside")


def ready_tree(sdist: Path | None, cache_dir: Path) -> Path:
    """Returns the patched tree, made now unless the cache has it."""
    name, expected = read_lock()
    edits = (HERE / "patch_ggml.py").read_bytes()
    key = hashlib.sha256(expected.encode() + edits).hexdigest()[:16]
    tree = cache_dir / f"ggml-{key}"
    if tree.is_dir():
        return tree
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir) as temporary:
        folder = Path(temporary)
        if sdist is None:
            sdist = download(name, folder)
        verify(sdist, expected)
        staged = folder / "tree"
        unpack(sdist, staged)
        patch_ggml.apply(staged)
        try:
            staged.rename(tree)
        except OSError:
            if not tree.is_dir():  # otherwise another build was faster, and its tree is the same
                raise
    return tree


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sdist", type=Path, help="an already downloaded source package")
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    arguments = parser.parse_args()
    try:
        print(ready_tree(arguments.sdist, arguments.cache_dir))
    except (FetchError, patch_ggml.PatchError, OSError, tarfile.TarError) as error:
        print(f"fetch_ggml: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
