#!/usr/bin/env bash
# The package for 64-bit ARM: compiled by Debian's cross compiler, then the tests of operations, and of a small transformer, decoder,
# sound and text encoder, in qemu's emulation of several processors. Prints how many passed, and for each bound of
# tests/tolerances.py how often it was compared with and the worst error, a column for each processor.
# Usage: tools/checks/aarch64.sh [TESTS...]     TESTS: arguments of pytest in place of those
# Installs the Debian packages it needs; what it makes stays below build/checks/aarch64. Two processors are emulated at a time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tools/checks/figures.sh

checkout=$PWD
build=$PWD/build/checks/aarch64
sysroot=$build/sysroot
export LTX2CPP_GGML_CACHE_DIR="${LTX2CPP_GGML_CACHE_DIR:-$PWD/build/checks/ggml}"
tests+=(-k "not ($left_out)")
[ $# -eq 0 ] || tests=("$@")

debian_packages() {
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  "${root[@]}" dpkg --add-architecture arm64
  "${root[@]}" apt-get update -qq
  "${root[@]}" apt-get install -y -qq --no-install-recommends ccache cmake g++-aarch64-linux-gnu ninja-build python3-venv \
    qemu-user-static > /dev/null
}

# Debian's Python for ARM, its headers, and what they need, unpacked. Nothing of it is installed.
make_sysroot() {
  local packages package
  packages=$(apt-cache depends --recurse --no-{recommends,suggests,conflicts,breaks,replaces,enhances} \
    python3:arm64 libstdc++6:arm64 | grep -E '^[a-z].*:arm64$' | grep -vE '^(dpkg|tar|install-info):' | sort -u)
  rm -rf "$sysroot" "$build/debs"
  mkdir -p "$sysroot" "$build/debs"
  # shellcheck disable=SC2086
  (cd "$build/debs" && apt-get download -qq $packages "lib$python-dev:arm64" 2> /dev/null)
  for package in "$build/debs"/*.deb; do
    dpkg -x "$package" "$sysroot"
  done
}

# The packages that ltx2cpp and its tests import, as wheels for ARM.
make_site() {
  local platforms=(--platform "manylinux_2_28_aarch64" --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64) needed
  mapfile -t needed < <("$build/tools/bin/python" -c '
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*(each for each in project["dependencies"] if ";" not in each), "pytest>=8", sep="\n")')
  rm -rf "$build/site"
  "$build/tools/bin/pip" install --quiet --target "$build/site" "${platforms[@]}" --only-binary=:all: --implementation cp \
    --python-version "${python#python}" "${needed[@]}"
}

# package NAME SETTINGS...: the installed package, built with these definitions of CMake.
package() {
  local name=$1
  shift
  PATH=$build/tools/bin:$PATH cmake -S . -B "$build/$name" -G Ninja --toolchain "$checkout/tools/checks/aarch64/toolchain.cmake" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DLTX2CPP_SYSROOT="$sysroot" \
    -DLTX2CPP_NATIVE=OFF -DLTX2CPP_TESTING=ON "$@" -DPython_EXECUTABLE="$build/tools/bin/python" \
    -DPython_INCLUDE_DIR="$sysroot/usr/include/$python" -DPYTHON_MODULE_EXTENSION=".$soabi-aarch64-linux-gnu.so" \
    -DPYTHON_MODULE_DEBUG_POSTFIX="" -Dpybind11_DIR="$("$build/tools/bin/python" -m pybind11 --cmakedir)" > "$build/$name.log"
  cmake --build "$build/$name" --target _core >> "$build/$name.log"
  rm -rf "$build/$name/package"
  mkdir -p "$build/$name/package"
  cp -r ltx2cpp "$build/$name/package/"
  rm -f "$build/$name/package/ltx2cpp"/_core*.so
  cmake --install "$build/$name" --component ltx2cpp --prefix "$build/$name/package" >> "$build/$name.log"
}

# on PROCESSOR PACKAGE ARGUMENTS...: Python for ARM with a package. Outside a system of its own it is started by its path.
on() {
  local processor=$1 path=$build/$2/package:$build/site
  shift 2
  PYTHONPATH=$path PYTHONDONTWRITEBYTECODE=1 qemu-aarch64-static -cpu "$processor" -L "$sysroot" "$sysroot/usr/bin/$python" "$@"
}

# check PROCESSOR PACKAGE: the tests, in the column of the processor's name.
check() {
  local name=${1%%,*} status=0
  local log=$build/tables/$name.log
  on "$1" "$2" "$build/site/bin/pytest" -q -p no:cacheprovider --durations=20 --figures "${tests[@]}" > "$log" 2>&1 || status=$?
  figures "$log" > "$build/tables/$name"
  printf '%s (%s): %s\n' "$1" "$2" "$(tail -1 "$log")"
  return $status
}

# refused PROCESSOR PACKAGE: a package whose instructions the processor lacks says so in a sentence.
refused() {
  local answer
  answer=$(on "$1" "$2" -c 'from ltx2cpp import LTX2Pipeline; LTX2Pipeline.demo()' 2>&1 | tail -1) || true
  printf '%s (%s): %s\n' "$1" "$2" "$answer"
  [[ $answer == ltx2cpp.errors.UnsupportedError* ]]
}

mkdir -p "$build"
debian_packages
# Debian's, whose version that for ARM has: such as python3.11, and cpython-311 as its extensions are called.
python=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
soabi=cpython-${python#python}
soabi=${soabi/./}
if [ ! -e "$build/ready" ]; then
  /usr/bin/python3 -m venv --clear "$build/tools"
  "$build/tools/bin/pip" install --quiet "pip>=23.1" pybind11
  make_sysroot
  make_site
  touch "$build/ready"
fi
qemu-aarch64-static --version | head -1
# As a package for other machines is built, for every processor of this kind, and as builds for their own machine are: on a
# Raspberry Pi 5 or Graviton 2, and on Graviton 3.
package portable
package armv8.2 -DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod+fp16
package armv8.4 -DGGML_CPU_ARM_ARCH=armv8.4-a+dotprod+fp16+i8mm+bf16+sve

rm -rf "$build/tables"
mkdir -p "$build/tables"
failed=0
refused cortex-a72 armv8.2 || failed=1
# A Raspberry Pi 4, and all that this qemu knows, with vectors as long as those of Graviton 3.
check cortex-a72 portable &
first=$!
check neoverse-n1 armv8.2 || failed=1
wait $first || failed=1
# qemu's vectors of 256 bits are slow: one network of each kind.
[ $# -ne 0 ] || tests=("${one_of_each[@]}" -k "not ($left_out)")
check max,sve-default-vector-length=32 armv8.4 || failed=1
cd "$build/tables"
figures_table cortex-a72 neoverse-n1 max
exit $failed
