#!/usr/bin/env bash
# Tests of operations, and of a small transformer, decoder, sound and text encoder, with each level of x86-64 processors that a
# portable package holds and this processor runs. Prints how many passed, and for each bound of tests/tolerances.py how often it
# was compared with and the worst error, a column for each level.
# Usage: tools/checks/levels.sh     Needs build/checks/portable, made by tools/checks/all.sh; what it makes stays below build/checks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

environment=$PWD/build/checks/portable
tables=$PWD/build/checks/levels
# Kernels for cards do not depend on the level.
tests=(tests/nn --ignore-glob "*cuda*" --ignore-glob "*warpgroup*"
  tests/models/test_{transformer,video_vae,audio,gemma3,stored_types}.py)
levels=()
failed=0

# package FOLDER LEVEL: the installed package with one level of processors.
package() {
  rm -rf "$1"
  mkdir -p "$1"
  cp -al "$installed" "$1/ltx2cpp"
  find "$1/ltx2cpp" -name '_core_x86-64*' ! -name "_core_$2.*" -delete
}

# The errors of all levels beside each other.
table() {
  # shellcheck disable=SC2016
  awk '
    FNR == 1 { ++columns; heading = heading sprintf(" %18s", FILENAME) }
    { row = sprintf("%-24s %7s", $1, $2); rows[row]; cell[row, columns] = sprintf("%s x %s", $3, $4) }
    END {
      printf "%-32s%s\n", "bound", heading
      for (row in rows) {
        line = row
        for (i = 1; i <= columns; ++i) line = line sprintf(" %18s", cell[row, i])
        print line | "sort"
      }
    }' "$@"
}

installed=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ltx2cpp
rm -rf "$tables"
mkdir -p "$tables"
for level in $(find "$installed" -name '_core_x86-64*' -printf '%f\n' | sed 's/_core_//; s/\..*//' | sort); do
  package "$tables/package" "$level"
  export PYTHONPATH=$tables/package
  if ! (cd "$tables" && "$environment/bin/python" -c 'import ltx2cpp' 2> /dev/null); then
    printf '%s: this processor does not run it\n' "$level"
    continue
  fi
  "$environment/bin/pytest" -q -p no:cacheprovider --figures "${tests[@]}" > "$tables/$level.log" 2>&1 || failed=1
  sed '1,/comparisons and the worst/d' "$tables/$level.log" | grep -E '^[A-Za-z0-9_]+ [^ ]+ [0-9]+ [^ ]+$' > "$tables/$level" || true
  printf '%s: %s\n' "$level" "$(tail -1 "$tables/$level.log")"
  levels+=("$level")
done
if [ ${#levels[@]} -eq 0 ]; then
  echo "no level of $installed runs on this processor"
  exit 1
fi
cd "$tables"
table "${levels[@]}"
exit $failed
