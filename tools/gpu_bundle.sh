#!/usr/bin/env bash
# Makes what a GPU machine without a network needs beside this repository: static archives of the core, of our CUDA
# kernels and of ggml's backend, and wheels of pure Python. tools/gpu_link.sh makes the extension of them there.
#
#     tools/gpu_bundle.sh BUNDLE [cuda|cpu]
#
# `cpu` leaves CUDA out, to try the way there on a machine without a GPU. ARCHITECTURES (default 90-real) is for cards as
# CMake names them; -real leaves out code for cards to come. The CUDA build takes some 8 minutes of one core from
# scratch. GGML_TREE names an unpacked tree of the pinned ggml with our edits; else it is fetched.
set -euo pipefail
[[ $# -ge 1 ]] || { sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
mkdir -p "$1"
bundle=$(cd "$1" && pwd)
kind=${2:-cuda}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
most_bytes=$((40 << 20))
level=x86-64-v3
build=$bundle/build-$kind
tree=${GGML_TREE:-$(python3 third_party/ggml/fetch_ggml.py)}
# The machine has another processor; kernels with newer instructions are chosen when it runs.
options=(-DLTX2CPP_TESTING=ON -DLTX2CPP_NATIVE=OFF -DLTX2CPP_GGML_SOURCE_DIR="$tree" -DCMAKE_BUILD_TYPE=Release
    -DPython_EXECUTABLE="$(command -v python3)" -Dpybind11_DIR="$(python3 -m pybind11 --cmakedir)")
command -v ninja >/dev/null && options+=(-G Ninja)
command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_C_COMPILER_LAUNCHER=ccache
    -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
if [[ $kind == cuda ]]; then
    python3 -m pip install --quiet --no-deps --target "$build/packages" 'nvidia-cublas==13.1.*'
    mkdir -p "$build/cublas"
    find "$build/packages" -name 'cublas*.h' -exec ln -sf {} "$build/cublas/" \;
    # Archives link nothing, so any file will do for the libraries.
    touch "$build/any.so"
    # Uncompressed code is packed far better by xz, all of it at once.
    options+=(-DLTX2CPP_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="${ARCHITECTURES:-90-real}" -DGGML_CUDA_COMPRESSION_MODE=none
        -DCMAKE_CUDA_FLAGS="-isystem $build/cublas" -DCUDA_cublas_LIBRARY="$build/any.so"
        -DCUDA_cublasLt_LIBRARY="$build/any.so")
fi
cmake -S . -B "$build" "${options[@]}"
cmake --build "$build" --parallel "${JOBS:-$(nproc)}" --target ltx2cpp_core ggml "ltx2cpp_ggml_$level"
rm -rf "$build/carry"
mkdir -p "$build/carry"
find "$build" -name 'lib*.a' -not -name '*emulated*' -not -path '*/carry/*' -exec cp {} "$build/carry/" \;
strip --strip-debug "$build"/carry/*.a
# ggml's part for the CPU is compiled for each level of processors; the extension there has one.
find "$build" -path "*ltx2cpp_ggml_$level.dir*" -name '*.o' -exec ar rcs "$build/carry/libggml-cpu.a" {} +
strip --strip-debug "$build"/carry/libggml-cpu.a
cp -r "$tree/include" "$build/carry/include"
tar -C "$build/carry" -cf - . | xz -9e -T2 >"$bundle/archives.tar.xz"
python3 -m pip download --quiet --no-deps --dest "$bundle" gguf pybind11 'diffusers==0.42.1' importlib-metadata
bytes=$(find "$bundle" -maxdepth 1 -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
echo "gpu_bundle: $((bytes >> 10)) KiB in $bundle after $SECONDS s"
if ((bytes > most_bytes)); then
    echo "gpu_bundle: more than the $((most_bytes >> 20)) MiB that may travel" >&2
    exit 1
fi
