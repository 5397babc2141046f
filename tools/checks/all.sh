#!/usr/bin/env bash
# What takes longer than .ci/run: the core under sanitizers, mutated files, other processors, ARM, Vulkan and Windows. Goes on after a
# step that fails, and ends with its names and exit code 1.
# Usage: tools/checks/all.sh [FILES]      FILES: how many mutated files are read (default: 200000)
# Installs the Debian packages it needs; everything else it makes stays below build/checks.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

files=${1:-200000}
build=$PWD/build/checks
# The tiny model of the tests, beside the checkout.
fixtures=$PWD/../shared/fixtures/A
export LTX2CPP_GGML_CACHE_DIR="$build/ggml"
export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"
# Compiled objects are found again by the next run.
export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
failed=()

# step NAME COMMAND...: runs a command under a heading and notes how it ended. A function stops at its first error.
step() {
  local name=$1 begin=$SECONDS status
  shift
  printf '\n== %s\n' "$name"
  (set -e; "$@")
  status=$?
  if [ $status -eq 0 ]; then
    printf '== %s: passed in %d s\n' "$name" $((SECONDS - begin))
  else
    printf '== %s: FAILED (exit code %d) in %d s\n' "$name" $status $((SECONDS - begin))
    failed+=("$name")
  fi
}

packages() {
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  "${root[@]}" apt-get update -qq
  "${root[@]}" apt-get install -y -qq --no-install-recommends \
    build-essential ccache chromium cmake debootstrap git python3-dev python3-venv qemu-user-static > /dev/null
}

# install NAME SETTINGS...: installs the checkout into an environment of its own, built with these definitions of CMake.
install() {
  local environment=$build/$1 settings=() setting
  shift
  for setting in LTX2CPP_TESTING=ON "$@"; do
    settings+=(-C "cmake.define.$setting")
  done
  python3 -m venv --clear "$environment"
  "$environment/bin/pip" install --quiet ".[test]" "${settings[@]}"
  "$environment/bin/pip" install --quiet -r tools/checks/requirements.txt
}

lint() {
  PATH=$build/plain/bin:$PATH tools/checks/lint.sh
}

# The other Python scripts beside this one are checks of their own, but one, which another imports.
single_checks() {
  local script arguments PATH=$build/plain/bin:$PATH
  "$build/plain/bin/pip" install --quiet -r tools/checks/requirements-server.txt 'ltx2cpp[ray,fsspec]'
  for script in tools/checks/*.py; do
    arguments=()
    case ${script##*/} in
      fuzz.py | full_disk.py) continue ;;
      address_space.py | signals.py) arguments=("$fixtures") ;;
    esac
    step "$script" "$build/plain/bin/python" "$script" "${arguments[@]}"
  done
}

# sanitized COMMAND...: runs Python with a core that is built with sanitizers, which end the process at the first fault. Python
# itself leaks, and the libraries have to be there before the module that needs them.
sanitized() {
  LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so) $(gcc -print-file-name=libstdc++.so)" \
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    "$build/sanitized/bin/python" "$@"
}

sanitized_tests() {
  sanitized "$build/sanitized/bin/pytest" -q tests/nn tests/models
}

sanitized_files() {
  sanitized tools/checks/fuzz.py --readers core-upsampler,core-connector,core-text-encoder --count $((files / 10))
}

# Each processor runs the demo's text encoder, or a sentence says what it lacks; none meets an instruction that it does not know.
old_processors() {
  local python=$build/portable/bin/python processor status worst=0
  PYTHONPATH=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  export PYTHONPATH
  # Elsewhere the sources would be found before the installed package.
  cd "$build"
  for processor in core2duo Nehalem SandyBridge IvyBridge Haswell; do
    status=0
    qemu-x86_64-static -cpu $processor "$(readlink -f "$python")" -c '
from ltx2cpp import LTX2Pipeline
with LTX2Pipeline.demo(threads=1) as pipe:
    pipe.encode_prompt("a red circle moves left on a blue background")
' 2> old.log || status=$?
    printf '%s: exit code %d %s\n' $processor $status "$(grep -a Error old.log | tail -1)"
    if [ $status -ne 0 ] && ! grep -aqE '^(ltx2cpp.errors.UnsupportedError|ImportError: this processor)' old.log; then
      worst=1
    fi
  done
  return $worst
}

mkdir -p "$build"
step "Debian packages" packages
step "installation" install plain
step "linters" lint
step "mutated files" "$build/plain/bin/python" tools/checks/fuzz.py --count "$files"
single_checks
step "installation with sanitizers" install sanitized LTX2CPP_SANITIZE=ON
step "tests under sanitizers" sanitized_tests
step "mutated files under sanitizers" sanitized_files
step "installation for any processor" install portable LTX2CPP_NATIVE=OFF
step "older processors" old_processors
step "levels of processors" tools/checks/levels.sh
step "64-bit ARM" tools/checks/aarch64.sh
step "Vulkan" tools/checks/vulkan.sh
step "Windows" tools/checks/windows.sh "$build/windows"
step "a fresh Debian 12" tools/checks/userland.sh bookworm
step "a fresh Debian 13" tools/checks/userland.sh trixie

printf '\n== finished in %d s\n' $SECONDS
if [ ${#failed[@]} -ne 0 ]; then
  printf '== failed: %s\n' "${failed[@]}"
  exit 1
fi
