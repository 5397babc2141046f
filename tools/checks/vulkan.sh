#!/usr/bin/env bash
# Builds the Vulkan backend in a Debian 13 userland and runs it on Mesa's software device there, because older systems have
# headers and a driver that do not serve (docs/vulkan.md).
# Usage: tools/checks/vulkan.sh [FIXTURES_A]      FIXTURES_A: reference checkpoints, with check_stages.py beside the folder
# Needs root and debootstrap. The userland and the build stay below build/checks, and the next run compiles what changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

userland=$PWD/build/checks/debian13
fixtures=$(realpath -m "${1:-../shared/fixtures/A}")
build=build/checks/vulkan
failed=()

# inside COMMAND [HIDDEN]: runs it in the userland, in the checkout, with a file of the userland empty. The mounts are its own.
inside() {
  # shellcheck disable=SC2016
  unshare --mount bash -euc '
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    mount --bind "$2" "$1/checkout"
    [ ! -d "$3" ] || mount --bind "$3" "$1/fixtures"
    [ -z "${5:-}" ] || mount --bind /dev/null "$1$5"
    exec chroot "$1" env -i HOME=/root LANG=C.UTF-8 PATH=/venv/bin:/usr/bin:/bin PYTHONPATH=/checkout \
      CCACHE_DIR=/ccache LTX2CPP_GGML_CACHE_DIR=/ggml GGML_VK_VISIBLE_DEVICES=0 bash -euc "cd /checkout; $4"
  ' inside "$userland" "$PWD" "$(dirname "$fixtures")" "$@"
}

# step NAME COMMAND [HIDDEN]: the same under a heading, with its time. The next step runs whatever comes of it.
step() {
  local name=$1 begin=$SECONDS status=0
  shift
  printf '\n-- %s\n' "$name"
  inside "$@" || status=$?
  printf -- '-- %s: exit code %d after %d s\n' "$name" $status $((SECONDS - begin))
  [ $status -eq 0 ] || failed+=("$name")
}

if [ ! -e "$userland/ready" ]; then
  debootstrap --variant=minbase trixie "$userland" > /dev/null
  mkdir -p "$userland"/{checkout,fixtures,ccache,ggml}
  cp /etc/resolv.conf "$userland/etc/"
  inside 'export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends ca-certificates ccache cmake g++ git glslc libvulkan-dev \
      mesa-vulkan-drivers ninja-build python3-dev python3-venv spirv-headers vulkan-validationlayers > /dev/null'
  # Those that this machine trusts, whatever it reaches a package index through.
  cp -L /etc/ssl/certs/ca-certificates.crt "$userland/etc/ssl/certs/"
  inside 'python3 -m venv /venv
    export PIP_CERT=/etc/ssl/certs/ca-certificates.crt
    pip install --quiet pybind11 pytest $(python -c "
import tomllib
print(*(each.replace(\" \", \"\") for each in tomllib.load(open(\"pyproject.toml\", \"rb\"))[\"project\"][\"dependencies\"]))")'
  touch "$userland/ready"
fi

step "configuration" "cmake --preset vulkan -B $build -G Ninja -Dpybind11_DIR=\$(python -m pybind11 --cmakedir) \
  -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache"
step "shaders and ggml's backend" "time cmake --build $build --target ggml-vulkan; \
  du -h $build/third_party/ggml/ggml/src/ggml-vulkan/libggml-vulkan.a"
step "our shaders" "time cmake --build $build --target \$(
    for each in csrc/ops/*/*.comp; do echo csrc/vulkan/shaders/\$(basename \$each .comp).spv; done)
  echo \$((4 * \$(cat $build/csrc/vulkan/shaders/*.spv | grep -o 0x | wc -l))) bytes of SPIR-V"
step "build" "cmake --build $build; du -h ltx2cpp/_core*-linux-gnu.so"
step "devices" "python -m ltx2cpp devices | grep -A1 vulkan:0"
step "tests" "pytest -q --figures tests/models/test_vulkan.py"
step "operations" "pytest -q --device vulkan:0 tests/nn/test_{ops,video_ops,snake,rounded_rows,window_attention}.py \
  tests/nn/test_ops_not_finite.py::test_{attention_shows_what_is_not_finite,a_lone_key_that_is_not_finite_shows}"
step "validation layers" "set -o pipefail
  VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation pytest -s -q tests/models/test_vulkan.py \
    -k 'decoded and f32 or connector or shader or axis' 2>&1 | tee $build/validation.log | tail -1
  ! grep -o 'VUID-[A-Za-z0-9-]*' $build/validation.log"
step "without a loader" 'devices=$(python -m ltx2cpp devices); ! grep vulkan <<< "$devices"' /usr/lib/x86_64-linux-gnu/libvulkan.so.1
if [ -e "$fixtures/../check_stages.py" ]; then
  for type in f32 bf16; do
    step "stages with $type weights" "python /fixtures/check_stages.py /fixtures/$(basename "$fixtures") \
      --stage text,transformer,video_vae,audio,upsampler --device vulkan:0 --weight-type $type"
  done
else
  printf '\n-- stages: left out, there is no check_stages.py beside %s\n' "$fixtures"
fi

if [ ${#failed[@]} -ne 0 ]; then
  printf -- '-- failed: %s\n' "${failed[@]}"
  exit 1
fi
