#!/usr/bin/env bash
# Tests of operations, and of a small transformer, decoder, sound and text encoder, with each level of x86-64 processors that a
# portable package holds and this processor runs, and on two processors that qemu makes of it: what is ours takes the best
# instructions that there are, whatever the level. Prints how many passed, and for each bound of tests/tolerances.py how often it
# was compared with and the worst error, a column for each level and processor.
# Usage: tools/checks/levels.sh     Needs build/checks/portable, made by tools/checks/all.sh; what it makes stays below build/checks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tools/checks/figures.sh

environment=$PWD/build/checks/portable
tables=$PWD/build/checks/levels
columns=()
failed=0

# package FOLDER LEVEL: the installed package with one level of processors.
package() {
  rm -rf "$1"
  mkdir -p "$1"
  cp -al "$installed" "$1/ltx2cpp"
  find "$1/ltx2cpp" -name '_core_x86-64*' ! -name "_core_$2.*" -delete
}

# check COLUMN PYTHON...: the tests.
check() {
  local log=$tables/$1.log status=0
  "${@:2}" "$environment/bin/pytest" -q -p no:cacheprovider --figures "${tests[@]}" > "$log" 2>&1 || status=$?
  figures "$log" > "$tables/$1"
  printf '%s: %s\n' "$1" "$(tail -1 "$log")"
  columns+=("$1")
  return $status
}

site=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
installed=$site/ltx2cpp
rm -rf "$tables"
mkdir -p "$tables"
for level in $(find "$installed" -name '_core_x86-64*' -printf '%f\n' | sed 's/_core_//; s/\..*//' | sort); do
  package "$tables/package" "$level"
  export PYTHONPATH=$tables/package
  if ! (cd "$tables" && "$environment/bin/python" -c 'import ltx2cpp' 2> /dev/null); then
    printf '%s: this processor does not run it\n' "$level"
    continue
  fi
  check "$level" "$environment/bin/python" || failed=1
done
# All levels, of which they run the lowest and the next. The interpreter of an environment finds its packages by its own path. A
# product fused with its sum takes qemu 80 ns, both apart 7: it calls the C library, whose instruction for it probably waits twice for
# registers that qemu's own code uses, 120 ns, unless the library is told that there is none. numpy's products, which are not what is
# tested, do without; and Haswell's column has one network of each kind.
rm -rf "$tables/package"
export PYTHONPATH=$site GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4 OPENBLAS_CORETYPE=Nehalem
python=$(readlink -f "$environment/bin/python")
tests+=(-k "not ($left_out)")
check Nehalem qemu-x86_64-static -cpu Nehalem "$python" || failed=1
tests=("${one_of_each[@]}" -k "not ($left_out or 2-3-2 or 3-3-5)")
check Haswell qemu-x86_64-static -cpu Haswell "$python" || failed=1
cd "$tables"
figures_table "${columns[@]}"
exit $failed
