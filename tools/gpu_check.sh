#!/usr/bin/env bash
# Tests and measures on the GPU of this machine, without a network, in two parts of at most 400 and 300 seconds.
#
#     tools/gpu_check.sh OUT first|second...
#
# OUT/package holds the extension (tools/gpu_link.sh or tools/gpu_build.sh). OUT receives report.txt and a log of each
# step, written as it goes; a step that fails or passes its time does not stop the next. What can be learned nowhere
# else comes first. Exits with 1 if any step failed.
#
# Needs a python3 with numpy, pytest, safetensors, pyyaml and tqdm; its torch and diffusers are compared with where they
# are there.
set -euo pipefail

usage() {
    sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}
[[ $# -ge 2 ]] || usage
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
report=$out/report.txt
failed=()
# The checkout's own package, which has no extension, must not be found first.
export PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONPATH="$out/package:$out/packages:$root/tools"

note() {
    echo "$*" | tee -a "$report"
}

# step NAME LIMIT COMMAND...: runs it for at most LIMIT seconds.
step() {
    local name=$1 limit=$2 status=0 started=$SECONDS
    shift 2
    note "== $name ($(date -u +%T), at most $limit s): $*"
    timeout --kill-after=5 "$limit" "$@" 2>&1 | tee "$out/$name.log" || status=$?
    echo  # what was cut off may end within a line
    note "-- $name: exit $status after $((SECONDS - started)) s"
    [[ $status -eq 0 ]] || failed+=("$name")
}

# The suite on the device, from a folder where nothing hides the package. Foreign plugins may warn; none passing is a
# failure, whatever pytest says of it.
tests() {
    local name=$1 limit=$2 parallel=()
    shift 2
    ! python3 -c 'import xdist' 2>/dev/null || parallel=(-n 6)
    step "$name" "$limit" python3 -m pytest -q --rootdir "$root" -c "$root/pyproject.toml" --device cuda --figures \
        -o filterwarnings=default -p no:benchmark -p no:cacheprovider --continue-on-collection-errors "${parallel[@]}" "$@"
    if ! grep -Eq '(^|[^0-9])[1-9][0-9]* passed' "$out/$name.log"; then
        note "-- $name: no test passed"
        failed+=("$name")
    fi
}

bench() {
    local name=$1 limit=$2
    shift 2
    step "$name" "$limit" python3 "$root/tools/bench_gpu.py" "$@"
}

# A tool of the toolkit on one case of an operation.
under() {
    local name=$1 limit=$2 case=$3
    shift 3
    if ! command -v "$1" >/dev/null; then
        note "-- $name: no $1 here"
        return
    fi
    step "$name" "$limit" "$@" python3 "$root/tools/bench_gpu.py" "$case" --rounds 1 --small
}

first() {
    step device 30 python3 -c 'from ltx2cpp import _core; print(_core.devices()); d = _core.Device("cuda")
print(d.name, "own operations:", d.runs_custom_ops); assert d.runs_custom_ops'
    tests operations 90 "$root/tests/nn" --ignore "$root/tests/nn/test_cuda_kernels.py"
    bench compare 60 compare --networks "transformer bf16"
    bench attention 30 attention --keys 6144 14336 --rounds 3
    bench int8 20 int8 --rounds 3
    bench transformer 80 transformer --weights bf16 --blocks 48 --only resident --rounds 3 --profile
    bench decode 30 decode --rounds 3
    under race-attention 30 attention compute-sanitizer --tool racecheck
    under race-decode 30 decode compute-sanitizer --tool racecheck
}

second() {
    bench compare-int8 30 compare --networks "transformer int8_convrot" --int8
    bench transformer-int8 40 transformer --weights int8_convrot --blocks 16 --only resident --rounds 3 --profile --int8
    bench streamed 40 transformer --weights bf16 --blocks 16 --only streamed --tokens 6144 --rounds 3
    bench compare-all 50 compare
    tests networks 60 "$root/tests/models"
    bench in-passes 20 transformer --weights bf16 --blocks 16 --only resident --tokens 6144 --rounds 3 --in-passes
    bench diffusers 30 transformer --weights q8_0 --blocks 48 --only resident --tokens 6144 --rounds 3 --reference
    under clocks 15 attention ncu --clock-control none -k regex:attention_kernel -c 1 --set basic
    # Last: barriers that never end would hold the device until the limit.
    bench warpgroups 15 attention --keys 6144 14336 --rounds 3 --warpgroups
}

nvidia-smi --list-gpus 2>/dev/null | grep '^GPU ' >/dev/null || {
    echo "gpu_check: no GPU here" >&2
    exit 1
}
for package in numpy pytest safetensors yaml tqdm; do
    python3 -c "import $package" 2>/dev/null || note "-- python3 has no $package: steps that import it will fail"
done
nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader | tee -a "$report"
mkdir -p "$out/run"
cd "$out/run"
for part in "$@"; do
    case $part in
        first) first ;;
        second) second ;;
        *) usage ;;
    esac
done
note "report: $report; failed: ${failed[*]:-none}"
[[ ${#failed[@]} -eq 0 ]]
