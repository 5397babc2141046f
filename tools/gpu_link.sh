#!/usr/bin/env bash
# Links the extension for this machine's Python from a bundle of tools/gpu_bundle.sh, without a network.
#
#     tools/gpu_link.sh BUNDLE OUT
#
# OUT/package receives the package as it would be installed, OUT/packages the wheels that came along. Needs g++, Python's
# headers and, for CUDA, its runtime and cuBLAS among python's packages or in the toolkit.
set -euo pipefail
[[ $# -eq 2 && -f "$1/archives.tar.xz" ]] || { sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
bundle=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "$out"/{archives,objects,packages,package/ltx2cpp}
tar -C "$out/archives" -xf "$bundle/archives.tar.xz"
for wheel in "$bundle"/*.whl; do
    [[ ! -e "$wheel" ]] || python3 -m zipfile -e "$wheel" "$out/packages"
done
export PYTHONPATH="$out/packages"

# The first file NAME among python's nvidia packages, else in the toolkit.
library() {
    python3 - "$1" <<'PYTHON'
import pathlib, shutil, sys, sysconfig
roots = [pathlib.Path(sysconfig.get_paths()["purelib"]) / "nvidia"]
if nvcc := shutil.which("nvcc"):
    roots.append(pathlib.Path(nvcc).resolve().parents[1])
found = [path for root in roots for path in sorted(root.glob(f"**/{sys.argv[1]}*"))]
if not found:
    sys.exit(f"gpu_link: no {sys.argv[1]} among python's packages and in the toolkit")
print(found[0])
PYTHON
}

link=("$out"/archives/*.a)
libraries=(-lpthread -ldl -lrt)
if [[ -e "$out/archives/libggml-cuda.a" ]]; then
    for name in libcudart.so libcublas.so libcublasLt.so; do
        path=$(library "$name")
        libraries+=("$path" "-Wl,-rpath,$(dirname "$path")")
    done
fi
read -ra includes <<<"$(python3 -m pybind11 --includes)"
flags=(-O2 -std=c++20 -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -DLTX2CPP_TESTING=1 -DLTX2CPP_EMULATED_CUDA=0
    -Icsrc -isystem "$out/archives/include" "${includes[@]}")
compile() {
    local source=$1 folder=$2
    shift 2
    g++ "$@" -c "$source" -o "$folder/$(basename "$source" .cpp).o" || exit 255
}
export -f compile
printf '%s\0' csrc/bindings/*.cpp |
    xargs -0 -P "$(nproc)" -I{} bash -c 'compile "$@"' compile {} "$out/objects" "${flags[@]}"
suffix=$(python3 -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
g++ -shared -o "$out/package/ltx2cpp/_core$suffix" "$out"/objects/*.o -Wl,--start-group "${link[@]}" -Wl,--end-group \
    "${libraries[@]}"
# The extension beside the sources.
tar -C ltx2cpp --exclude='*.so' --exclude=__pycache__ -cf - . | tar -C "$out/package/ltx2cpp" -xf -
echo "gpu_link: linked in $SECONDS s"
