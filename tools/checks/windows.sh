#!/usr/bin/env bash
# The core for Windows: compiled by mingw-w64, and its trial run in Wine. The extension itself needs a Python of Windows and is left out.
# Usage: tools/checks/windows.sh [FOLDER]     FOLDER: of the build (default: build/checks/windows)
# Installs the Debian packages it needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=${1:-build/checks/windows}
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo)
"${root[@]}" apt-get install -y -qq --no-install-recommends cmake g++-mingw-w64-x86-64-posix wine64 > /dev/null

# The level of a processor with AVX2, since -march=native is not for other machines. The headers of Debian 12 lack a structure that ggml's C
# names from Windows 8 on.
cmake -S . -B "$build" -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_SYSTEM_PROCESSOR=x86_64 -DLTX2CPP_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON \
  -DGGML_F16C=ON -DCMAKE_C_FLAGS=-D_WIN32_WINNT=0x0601 \
  -DCMAKE_C_COMPILER=x86_64-w64-mingw32-gcc-posix -DCMAKE_CXX_COMPILER=x86_64-w64-mingw32-g++-posix > "$build.log"
cmake --build "$build" --target trial >> "$build.log"
WINEPREFIX=$PWD/$build/wine WINEDEBUG=-all /usr/lib/wine/wine64 "$build/tools/checks/windows/trial.exe"
