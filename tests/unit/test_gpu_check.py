"""``tools/gpu_check.sh``, ``gpu_build.sh`` and ``gpu_bundle.sh`` over programs that do nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
pytestmark = pytest.mark.skipif(
    not (TOOLS / "gpu_check.sh").exists() or shutil.which("bash") is None,
    reason="needs a checkout and bash",
)


def write_program(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def run(script: str, *arguments: object, path: Path, **environment: str) -> tuple[int, str, str]:
    """Run a script of the checkout with the programs of a folder in front."""
    done = subprocess.run(
        ["bash", TOOLS / script, *map(str, arguments)],
        env={**os.environ, "ARCHITECTURES": "", "PATH": f"{path}:{os.environ['PATH']}"}
        | environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A toolkit and a python3 that write down how they were called."""
    libraries = ("cuda/lib64/libcublas.so", "cuda/lib64/libcublasLt.so")
    for name in ("cuda/include/cublas_v2.h", *libraries, "ggml/include/ggml.h"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    marked = tmp_path / "ggml/src/ggml-cuda/ggml-cuda.cu"
    marked.parent.mkdir(parents=True)
    marked.write_text("ltx_set_custom_op")
    folder = tmp_path / "cuda/bin"
    for name in ("nvcc", "cmake", "python3"):
        write_program(folder / name, f'echo {name} "$@" >> {tmp_path}/called')
    write_program(folder / "nvidia-smi", "echo no devices >&2; exit 9")
    return folder


def test_build_for_a_named_architecture_succeeds(tmp_path: Path, programs: Path) -> None:
    """With virtual memory: recorded graphs do not outlive the other pool of ggml."""
    code, _, error = run(
        "gpu_build.sh", tmp_path / "ggml", tmp_path / "out", path=programs, ARCHITECTURES="90"
    )
    assert code == 0, error
    called = (tmp_path / "called").read_text()
    assert "-DCMAKE_CUDA_ARCHITECTURES=90" in called
    assert "NO_VMM" not in called
    assert f"-DCUDA_cublasLt_LIBRARY={tmp_path}/cuda/lib64/libcublasLt.so" in called


def test_what_travels_is_code_for_one_card_alone(tmp_path: Path, programs: Path) -> None:
    """Without -real a build holds code for later cards besides, which costs time and room."""
    (tmp_path / "bundle/build-cuda/packages").mkdir(parents=True)
    (tmp_path / "bundle/build-cuda/libcore.a").touch()
    write_program(programs / "strip", "")
    tree = str(tmp_path / "ggml")
    code, _, error = run("gpu_bundle.sh", tmp_path / "bundle", path=programs, GGML_TREE=tree)
    assert code == 0, error
    called = (tmp_path / "called").read_text()
    assert "-DCMAKE_CUDA_ARCHITECTURES=90-real " in called
    # Which tests and benchmarks import, and the machine does not have.
    assert f"pip download --quiet --no-deps --dest {tmp_path / 'bundle'} gguf " in called


def test_a_build_without_the_whole_of_cublas_is_refused(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "cuda/lib64/libcublasLt.so").unlink()
    code, _, error = run(
        "gpu_build.sh", tmp_path / "ggml", tmp_path / "out", path=programs, ARCHITECTURES="90"
    )
    assert code == 1 and "no libcublasLt.so beside" in error


def test_what_needs_a_gpu_says_so(tmp_path: Path, programs: Path) -> None:
    code, _, error = run("gpu_build.sh", tmp_path / "ggml", tmp_path / "out", path=programs)
    assert code == 1 and "name its architecture, such as ARCHITECTURES=90-real" in error
    code, _, error = run("gpu_check.sh", tmp_path / "out", "first", path=programs)
    assert code == 1 and error == "gpu_check: no GPU here\n"
    assert not (tmp_path / "called").exists()


def with_gpu(programs: Path, python: str) -> None:
    write_program(programs / "nvidia-smi", 'case "$1" in --list-gpus) echo "GPU 0: none" ;; esac')
    write_program(programs / "compute-sanitizer", 'shift 2; exec "$@"')
    write_program(programs / "python3", python)


def test_steps_leave_logs_whatever_becomes_of_them(tmp_path: Path, programs: Path) -> None:
    with_gpu(programs, 'case "$*" in *attention*) echo half; exit 3 ;; *) echo "5 passed" ;; esac')
    code, output, _ = run("gpu_check.sh", tmp_path / "out", "first", path=programs)
    assert code == 1 and "failed: attention race-attention\n" in output
    assert (tmp_path / "out/attention.log").read_text() == "half\n"
    assert (tmp_path / "out/decode.log").read_text() == "5 passed\n"
    report = (tmp_path / "out/report.txt").read_text()
    assert "-- attention: exit 3" in report and "-- decode: exit 0" in report


@pytest.mark.parametrize("words", ["3 skipped, 1 error", "0 passed", "no tests ran"])
def test_a_run_without_a_passing_test_is_a_failure(
    words: str, tmp_path: Path, programs: Path
) -> None:
    with_gpu(programs, f'echo "{words} in 0.01s"')
    code, output, _ = run("gpu_check.sh", tmp_path / "out", "first", path=programs)
    assert code == 1 and "operations: no test passed" in output


def test_tests_find_the_package_that_was_built(tmp_path: Path, programs: Path) -> None:
    """Not the checkout's, whose folder has no extension of this build."""
    package = tmp_path / "out/package/ltx2cpp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("NAME = 'built'")
    write_program(
        programs / "python3",
        f'case "$*" in *pytest*) shift 2; exec {sys.executable} -c '
        "\"import ltx2cpp; print(ltx2cpp.NAME, 1, 'passed')\" ;; esac",
    )
    write_program(programs / "nvidia-smi", "echo 'GPU 0: none'")
    run("gpu_check.sh", tmp_path / "out", "first", path=programs)
    assert (tmp_path / "out/operations.log").read_text() == "built 1 passed\n"
