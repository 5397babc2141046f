"""``tools/gpu_check.sh`` without a GPU, with programs that do nothing in place of compilers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "gpu_check.sh"
pytestmark = pytest.mark.skipif(
    not SCRIPT.exists() or shutil.which("bash") is None, reason="needs a checkout and bash"
)


def check(folder: Path, *phases: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script in a folder of its own."""
    for name in ("tools", "ltx2cpp", "ggml/include", "ggml/src/ggml-cuda", "cuda/bin"):
        (folder / name).mkdir(parents=True)
    for name in ("cuda/include/cublas_v2.h", "cuda/lib64/libcublas.so", "ggml/include/ggml.h"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "ggml/src/ggml-cuda/ggml-cuda.cu").write_text("ltx_set_custom_op")
    for name in ("nvcc", "cmake", "python3"):
        write_program(folder / "cuda/bin" / name, f'echo {name} "$@" >> {folder}/called')
    write_program(folder / "cuda/bin/nvidia-smi", "echo no devices >&2; exit 9")
    shutil.copy(SCRIPT, folder / "tools")
    (folder / "build/gpu/package/ltx2cpp").mkdir(parents=True)
    path = f"{folder}/cuda/bin:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", folder / "tools/gpu_check.sh", folder / "ggml", *phases],
        env={**os.environ, "ARCHITECTURES": "", "PATH": path, **environment},
        capture_output=True,
        text=True,
    )


def write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def test_build_for_a_named_architecture_succeeds(tmp_path: Path) -> None:
    done = check(tmp_path, "build", ARCHITECTURES="90")
    assert done.returncode == 0, done.stderr
    assert "-DCMAKE_CUDA_ARCHITECTURES=90" in (tmp_path / "called").read_text()
    report = (tmp_path / "build/gpu/report.txt").read_text()
    assert "no GPU here: built for 90 and not started" in report


@pytest.mark.parametrize(
    ("phase", "words"),
    [("build", "name its architecture, such as ARCHITECTURES=90"), ("test", "for 'test'")],
)
def test_what_needs_a_gpu_says_so(phase: str, words: str, tmp_path: Path) -> None:
    done = check(tmp_path, phase)
    assert done.returncode == 1 and not (tmp_path / "called").exists()
    assert done.stderr.startswith("gpu_check: no GPU here") and words in done.stderr
