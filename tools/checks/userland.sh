#!/usr/bin/env bash
# What a new user does on a fresh Debian, with the seconds of each command and those until the first clip.
# Usage: tools/checks/userland.sh SUITE [--python FOLDER] [--wheel FILE]
#   SUITE: a release of Debian, such as bookworm or trixie
#   --python FOLDER: an interpreter that the suite does not have, in whole: it is copied to where it lies here
#   --wheel FILE: this wheel, and no compiler; otherwise the checkout is built
# Needs root, debootstrap and a checkout without changes. The suite stays below build/checks; what its user does is removed first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

suite=${1:?a suite of Debian}
shift
python='' wheel=''
while [ $# -gt 0 ]; do
  case $1 in
    --python) python=$(realpath "$2") ;;
    --wheel) wheel=$(realpath "$2") ;;
    *) echo "userland.sh: $1 is no option" >&2; exit 2 ;;
  esac
  shift 2
done
root=$PWD/build/checks/userland-$suite${wheel:+-wheel}
prompt='a red circle moves right on a blue background'

# inside COMMAND: runs it in the userland with mounts of its own.
inside() {
  # shellcheck disable=SC2016
  unshare --mount bash -euc '
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    exec chroot "$1" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive bash -euc "$2"
  ' inside "$root" "$1"
}

# as_user COMMAND: shows and runs it as the new user, in the home folder.
as_user() {
  local begin=$SECONDS status=0
  printf '\n$ %s\n' "$1"
  inside "cd /home/new; exec setpriv --reuid=1000 --regid=1000 --clear-groups env -i HOME=/home/new LANG=C.UTF-8 \
    PATH=/home/new/venv/bin:/usr/bin:/bin PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1 \
    bash -c $(printf '%q' "$1")" 2>&1 || status=$?
  printf -- '-- exit code %d after %d s\n' $status $((SECONDS - begin))
  return $status
}

if [ ! -e "$root/etc/debian_version" ]; then
  mkdir -p "$root"
  debootstrap --variant=minbase "$suite" "$root" > /dev/null
fi
cp /etc/resolv.conf "$root/etc/"
packages='ca-certificates python3 python3-venv'
[ -n "$wheel" ] || packages+=' g++ python3-dev'
inside "apt-get update -qq; apt-get install -y -qq --no-install-recommends $packages > /dev/null"
# Those that this machine trusts, whatever it reaches a package index through.
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

rm -rf "$root/home/new"
mkdir -p "$root/home/new"
interpreter=python3
if [ -n "$python" ]; then
  interpreter=$python/bin/python3
  mkdir -p "$root$python"
  cp -a "$python/." "$root$python/"
  # The folders above it may be closed to others than root.
  above=$python
  while [ "$above" != / ]; do
    chmod a+x "$root$above"
    above=$(dirname "$above")
  done
fi
source=ltx2cpp
if [ -n "$wheel" ]; then
  cp "$wheel" "$root/home/new/"
  source=$(basename "$wheel")
else
  git clone -q --depth 1 "file://$PWD" "$root/home/new/ltx2cpp"
  source=./ltx2cpp
fi
chown -R 1000:1000 "$root/home/new"

begin=$SECONDS
printf 'Debian %s, %s, %s\n' "$(cat "$root/etc/debian_version")" \
  "$(inside "$interpreter --version")" "$([ -n "$wheel" ] && echo 'no compiler' || inside 'g++ --version' | head -1)"
as_user "$interpreter -m venv venv"
as_user "pip install --quiet $source && ltx2cpp-cli generate '$prompt' -o demo.mp4"
printf -- '-- the first clip after %d s\n' $((SECONDS - begin))
as_user 'ltx2cpp-cli --version'
as_user 'ltx2cpp-cli doctor'
as_user 'ltx2cpp-cli generate --like demo.mp4 -o again.mp4 && cmp demo.mp4 again.mp4'
as_user 'ltx2cpp-cli generate -m nowhere.gguf x -o x.mp4' || true
as_user 'cd / && python -c "from ltx2cpp import LTX2Pipeline
with LTX2Pipeline.demo() as pipe:
    print(pipe(\"a green square grows on a gray background\", seed=1))"'
if [ -z "$wheel" ]; then
  as_user "cd ltx2cpp && python -c 'import ltx2cpp; print(ltx2cpp.__version__)'"
fi
