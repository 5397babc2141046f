#!/usr/bin/env bash
# Compiles our CUDA sources and the file of ggml that carries our hook, and links nothing: a check where there is no GPU.
#
#     tools/compile_cuda.sh OUT_FOLDER
#
# Says so and succeeds where there is no nvcc. ARCHITECTURE (default 90) is a number as in sm_90; what is for sm_90a alone
# is compiled for that. cuBLAS's headers are taken from the toolkit; where it has none, python's pip installs NVIDIA's
# package below OUT_FOLDER.
set -euo pipefail
out=${1:?usage: tools/compile_cuda.sh OUT_FOLDER}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v nvcc >/dev/null; then
    echo "compile_cuda: no nvcc here, so no CUDA source was compiled"
    exit 0
fi
SECONDS=0
tree=$(python3 third_party/ggml/fetch_ggml.py)
toolkit=$(cd "$(dirname "$(readlink -f "$(command -v nvcc)")")/.." && pwd)
flags=(-std=c++20 -O3 "-arch=sm_${ARCHITECTURE:-90}" -Icsrc "-I$tree/include" "-I$tree/src" -DGGML_CUDA_USE_GRAPHS)
if [[ ! -e "$toolkit/include/cublas_v2.h" ]]; then
    version=$(nvcc --version | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
    package=nvidia-cublas
    [[ "$version" -ge 13 ]] || package=nvidia-cublas-cu$version
    python3 -m pip install --quiet --no-deps --target "$out/packages" "$package==$version.*"
    mkdir -p "$out/cublas"
    # Only cuBLAS: the package may hold headers of another toolkit beside it.
    find "$out/packages" -name 'cublas*.h' -exec ln -sf {} "$out/cublas/" \;
    flags+=(-isystem "$out/cublas")
fi
mapfile -t sources < <(find csrc/kernels csrc/ops -name '*.cu' | sort)
sources+=("$tree/src/ggml-cuda/ggml-cuda.cu" third_party/ggml/cuda_driver.cpp)
compile() {
    local source=$1
    shift
    [[ $source != */warpgroups.cu ]] || set -- "${@/#-arch=*/-arch=sm_90a}"
    nvcc "$@" -c "$source" -o /dev/null || { echo "compile_cuda: $source failed" >&2; return 255; }
}
export -f compile
printf '%s\0' "${sources[@]}" |
    xargs -0 -P "$(nproc)" -I{} bash -c 'compile "$@"' compile {} "${flags[@]}" 2>"$out/messages.txt" ||
    { cat "$out/messages.txt" >&2; exit 1; }
echo "compile_cuda: ${#sources[@]} CUDA sources compiled in ${SECONDS} s"
