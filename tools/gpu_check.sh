#!/usr/bin/env bash
# Builds for CUDA, tests and measures on the GPU of this machine, without a network.
#
#     tools/gpu_check.sh GGML_TREE [build|test|compare|bench]...
#
# GGML_TREE is an unpacked tree of the pinned ggml; one without our edits is copied and edited first.
# Phases run in the order given, all four without one; each adds its part to build/gpu/report.txt, so they may run in
# calls of their own: build takes some 65 core-minutes, the others a few minutes each. With ARCHITECTURES given (such as
# 90, as in sm_90) build needs no GPU; the others do.
#
# Needs nvcc, cmake, a C++ compiler, and a python3 with numpy, pybind11 and pytest; its torch and diffusers are compared
# with where they are there. cuBLAS is taken from the toolkit, else from python's nvidia-cublas.
set -euo pipefail

usage() {
    sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 2
}
[[ $# -ge 1 && -f "$1/include/ggml.h" ]] || usage
tree=$(cd "$1" && pwd)
shift
phases=("$@")
[[ $# -gt 0 ]] || phases=(build test compare bench)

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
out=$root/build/gpu
report=$out/report.txt
mkdir -p "$out/package"
export PYTHONPATH="$out/package:$root/tools"

section() {
    printf '\n== %s (%s)\n' "$*" "$(date -u +%FT%TZ)" | tee -a "$report"
}

has_gpu() {
    nvidia-smi --list-gpus 2>/dev/null | grep '^GPU ' >/dev/null
}

fail() {
    echo "gpu_check: $*" >&2
    exit 1
}

# Where the library or header NAME lies among python's nvidia packages.
in_packages() {
    python3 - "$1" <<'PYTHON'
import pathlib, sys, sysconfig
found = sorted(pathlib.Path(sysconfig.get_paths()["purelib"]).glob(f"nvidia/**/{sys.argv[1]}"))
print(found[0] if found else "")
PYTHON
}

# The first of the given files that exists.
first_of() {
    local file
    for file in "$@"; do
        if [[ -n "$file" && -e "$file" ]]; then
            echo "$file"
            return
        fi
    done
}

build() {
    section build
    local toolkit options header library driver
    has_gpu || [[ -n "${ARCHITECTURES:-}" ]] ||
        fail "no GPU here to build for; name its architecture, such as ARCHITECTURES=90"
    if ! grep -q ltx_set_custom_op "$tree/src/ggml-cuda/ggml-cuda.cu"; then
        rm -rf "$out/ggml"
        cp -r "$tree" "$out/ggml"
        tree=$out/ggml
        python3 -c 'import pathlib, sys; sys.path.insert(0, sys.argv[1]); import patch_ggml; patch_ggml.apply(pathlib.Path(sys.argv[2]))' \
            "$root/third_party/ggml" "$tree"
    fi
    toolkit=$(cd "$(dirname "$(readlink -f "$(command -v nvcc)")")/.." && pwd)
    options=(-DLTX2CPP_CUDA=ON -DLTX2CPP_TESTING=ON -DLTX2CPP_GGML_SOURCE_DIR="$tree" -DCMAKE_BUILD_TYPE=Release
        -DCMAKE_CUDA_ARCHITECTURES="${ARCHITECTURES:-native}" -DCMAKE_CUDA_COMPILER="$toolkit/bin/nvcc"
        -DPython_EXECUTABLE="$(command -v python3)" -Dpybind11_DIR="$(python3 -m pybind11 --cmakedir)"
        -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$out/package/ltx2cpp")
    if [[ ! -e "$toolkit/include/cublas_v2.h" ]]; then
        header=$(in_packages cublas_v2.h)
        [[ -n "$header" ]] || fail "no cublas_v2.h in $toolkit or python's packages"
        # Only cuBLAS: the packages may hold headers of another toolkit beside it.
        mkdir -p "$out/cublas"
        ln -sf "$(dirname "$header")"/cublas*.h "$out/cublas/"
        options+=(-DCMAKE_CUDA_FLAGS="-isystem $out/cublas")
    fi
    library=$(first_of "$toolkit"/lib64/libcublas.so "$(in_packages 'libcublas.so*')")
    [[ -n "$library" ]] || fail "no libcublas.so"
    options+=(-DCUDA_cublas_LIBRARY="$library" -DCMAKE_INSTALL_RPATH="$(dirname "$library")"
        -DCMAKE_BUILD_RPATH="$(dirname "$library")")
    driver=$(first_of "$toolkit"/lib64/stubs/libcuda.so /usr/local/nvidia/lib64/libcuda.so{,.1} \
        /usr/lib/x86_64-linux-gnu/libcuda.so{,.1})
    if [[ -n "$driver" ]]; then
        options+=(-DCUDA_cuda_driver_LIBRARY="$driver")
    else
        options+=(-DGGML_CUDA_NO_VMM=ON)
    fi
    command -v ninja >/dev/null && options+=(-G Ninja)
    cmake -S "$root" -B "$out/cmake" "${options[@]}"
    cmake --build "$out/cmake" --target _core --parallel "$(nproc)"
    # The package as it would be installed: the extension beside the sources.
    tar -C "$root/ltx2cpp" --exclude='*.so' --exclude=__pycache__ -cf - . | tar -C "$out/package/ltx2cpp" -xf -
    {
        nvcc --version | tail -n 2
        git -C "$root" log -1 --format='commit %h %s' 2>/dev/null || true
        if ! has_gpu; then
            echo "no GPU here: built for $ARCHITECTURES and not started"
            return
        fi
        nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader
        python3 -c 'from ltx2cpp import _core; print(_core.devices()); d = _core.Device("cuda"); print(d.name, "own operations:", d.runs_custom_ops)'
    } 2>&1 | tee -a "$report"
}

# The suite's networks and operations on the device; bounds are those of its number formats (tests/tolerances.py).
run_tests() {
    section test
    (cd "$root" && python3 -m pytest tests/nn tests/models -q --device cuda -p no:cacheprovider \
        --deselect tests/nn/test_cuda_kernels.py 2>&1 || true) | tail -n 60 | tee -a "$report"
}

compare() {
    section compare
    python3 "$root/tools/bench_gpu.py" compare 2>&1 | tee -a "$report"
}

bench() {
    section bench
    python3 "$root/tools/bench_gpu.py" attention 2>&1 | tee -a "$report"
    python3 "$root/tools/bench_gpu.py" decode 2>&1 | tee -a "$report"
    python3 "$root/tools/bench_gpu.py" transformer 2>&1 | tee -a "$report"
}

for phase in "${phases[@]}"; do
    [[ $phase == build ]] || has_gpu || fail "no GPU here for '$phase'"
    case $phase in
        build) build ;;
        test) run_tests ;;
        compare) compare ;;
        bench) bench ;;
        *) usage ;;
    esac
done
echo "report: $report"
