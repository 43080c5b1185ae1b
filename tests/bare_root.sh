#!/usr/bin/env bash
# Runs a command of tools/quickstart, or any other, in a new and bare root: what somebody meets who has just installed the system.
set -euo pipefail

usage() {
  cat <<'USAGE'
tests/bare_root.sh [OPTIONS] COMMAND [ARGUMENTS]      (as root; needs debootstrap, unshare and a mirror)

  train, test, build, check   that command of tools/quickstart, with its arguments
  run SCRIPT                  a shell script, in the copy of the tree: run 'bash .ci/run'
  help                        this text

  --suite NAME      bookworm (default) or another that debootstrap knows, such as noble
  --mirror URL      default: http://deb.debian.org/debian, for Ubuntu's suites http://archive.ubuntu.com/ubuntu
  --worktree        copy the working tree, without what git ignores (default: what is committed, HEAD)
  --user            start as an ordinary user with sudo, not as root
  --keep            leave the root where it is and say where

The clean system is kept as a tar file in ${XDG_CACHE_HOME:-~/.cache}/engine, so that only the first run makes one.
Everything else is removed at the end; the mounts live in a namespace of their own and go with it. The exit code is the command's.
USAGE
}

fail() {
  printf 'bare_root: %s\n' "$*" >&2
  exit 2
}

suite=bookworm mirror='' source=HEAD as_user=no keep=no
original=("$@")
while (($#)); do
  case $1 in
    --suite | --mirror)
      (($# > 1)) || fail "$1 needs a value"
      if [[ $1 == --suite ]]; then suite=$2; else mirror=$2; fi
      shift ;;
    --worktree) source=worktree ;;
    --user) as_user=yes ;;
    --keep) keep=yes ;;
    *) break ;;
  esac
  shift
done
case ${1:-help} in
  help | -h | --help) usage && exit 0 ;;
  run) (($# == 2)) || fail "run takes one script, in quotes" ;;
  train | test | build | check) ;;
  *) fail "there is no command '$1'; known are train, test, build, check, run and help" ;;
esac
((EUID == 0)) || fail "making a root needs root: sudo $0 ${original[*]}"
type debootstrap unshare >/dev/null || fail "debootstrap or unshare is missing: apt-get install debootstrap util-linux"

# All mounts below are seen by this process alone, and the kernel removes them when it ends, however it ends.
if [[ ${BARE_ROOT_INSIDE:-} != yes ]]; then
  BARE_ROOT_INSIDE=yes exec unshare --mount --propagation private bash "${BASH_SOURCE[0]}" "${original[@]}"
fi

tree=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
components=main
case $suite in
  jammy | noble | questing) mirror=${mirror:-http://archive.ubuntu.com/ubuntu} components=main,universe ;;
  *) mirror=${mirror:-http://deb.debian.org/debian} ;;
esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/engine
base=$cache/$suite-minbase.tar
root=$(mktemp -d "${TMPDIR:-/tmp}/bare-$suite.XXXXXX")
# shellcheck disable=SC2317  # called by the trap
cleanup() {
  umount -l "$root/proc" "$root/dev" 2>/dev/null || true
  if [[ $keep == yes ]]; then echo "bare_root: kept in $root"; else rm -rf --one-file-system "$root"; fi
}
trap cleanup EXIT

if [[ ! -s $base ]]; then
  echo "bare_root: making a minimal $suite from $mirror, once"
  mkdir -p "$cache"
  debootstrap --variant=minbase --components="$components" "$suite" "$root" "$mirror" >"$cache/debootstrap.log" 2>&1 ||
    { tail -n 20 "$cache/debootstrap.log"; fail "debootstrap failed; the log is $cache/debootstrap.log"; }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$root" -cf "$base.new" . && mv "$base.new" "$base"
else
  tar -C "$root" -xf "$base"
fi
chmod 755 "$root"  # mktemp's 700 would lock out all users but root, apt's own among them
cp /etc/resolv.conf /etc/hosts "$root/etc/"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"

mkdir "$root/src"
if [[ $source == worktree ]]; then
  git -C "$tree" ls-files -z --cached --others --exclude-standard |
    tar -C "$tree" --ignore-failed-read --null -T - -cf - | tar -C "$root/src" -xf -
else
  git -C "$tree" archive "$source" | tar -C "$root/src" -xf -
fi

if [[ $1 == run ]]; then script=$2; else script="tools/quickstart $(printf '%q ' "$@")"; fi
shell=(bash)
if [[ $as_user == yes ]]; then
  chroot "$root" sh -c 'apt-get -q update && apt-get -q install -y --no-install-recommends sudo && rm -rf /var/lib/apt/lists/* &&
    useradd --create-home someone && echo "someone ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/someone && chown -R someone /src' >"$cache/user.log" 2>&1 ||
    { tail -n 20 "$cache/user.log"; fail "sudo could not be installed"; }
  shell=(runuser -u someone -- bash)
fi
echo "bare_root: $suite, $script"
status=0
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
  chroot "$root" "${shell[@]}" -c "cd /src && $script" || status=$?
echo "bare_root: exit code $status after $SECONDS s"
exit "$status"
