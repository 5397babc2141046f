#!/usr/bin/env bash
# Builds the extension for CUDA on the machine it is for, without a network.
#
#     tools/gpu_build.sh GGML_TREE OUT
#
# GGML_TREE is an unpacked tree of the pinned ggml; one without our edits is copied and edited first. OUT/package receives
# the package as it would be installed. Takes some 12 minutes of one core. With ARCHITECTURES given (as CMake names them,
# such as 90-real) it needs no GPU.
#
# Needs nvcc, cmake, a C++ compiler, and a python3 with pybind11. cuBLAS and cuBLASLt are taken from the toolkit, else from
# python's nvidia-cublas.
set -euo pipefail
[[ $# -eq 2 && -f "$1/include/ggml.h" ]] || { sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
tree=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
mkdir -p "$out/package/ltx2cpp"

fail() {
    echo "gpu_build: $*" >&2
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

nvidia-smi --list-gpus 2>/dev/null | grep '^GPU ' >/dev/null || [[ -n "${ARCHITECTURES:-}" ]] ||
    fail "no GPU here to build for; name its architecture, such as ARCHITECTURES=90-real"
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
# Beside it, in toolkit and package alike, and of the same version.
lt=$(first_of "${library/libcublas.so/libcublasLt.so}")
[[ -n "$lt" ]] || fail "no libcublasLt.so beside $library"
options+=(-DCUDA_cublas_LIBRARY="$library" -DCUDA_cublasLt_LIBRARY="$lt" -DCMAKE_INSTALL_RPATH="$(dirname "$library")"
    -DCMAKE_BUILD_RPATH="$(dirname "$library")")
command -v ninja >/dev/null && options+=(-G Ninja)
cmake -S "$root" -B "$out/cmake" "${options[@]}"
cmake --build "$out/cmake" --target _core --parallel "$(nproc)"
# The package as it would be installed: the extension beside the sources.
tar -C "$root/ltx2cpp" --exclude='*.so' --exclude=__pycache__ -cf - . | tar -C "$out/package/ltx2cpp" -xf -
