#!/usr/bin/env bash
# Runs tools/quickstart in a small tree against recorded stand-ins for dpkg, apt, sudo, cmake and ctest: what it installs, when it
# asks the mirror again, what it hands on, and how it ends. The real thing is tests/bare_root.sh.
# shellcheck disable=SC2016  # scripts of stand-ins are quoted on purpose
set -uo pipefail
quickstart=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/tools/quickstart
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

stand_in() { # stand_in NAME SCRIPT: records its call, then runs the script
  printf '#!/bin/bash\necho "%s $*" >>"%s/calls"\n%s\n' "$1" "$scratch" "$2" >"$scratch/bin/$1"
  chmod +x "$scratch/bin/$1"
}

fresh() { # a tree with nothing but quickstart, a system on which nothing is installed and everything works
  rm -rf "${scratch:?}"/*
  mkdir -p "$scratch/bin" "$scratch/tree/tools"
  cp "$quickstart" "$scratch/tree/tools/"
  : >"$scratch/calls"
  stand_in dpkg-query "[[ -e $scratch/installed ]] && echo installed"
  stand_in apt-cache 'exit 0'
  stand_in apt-get "[[ \$* == *' install '* ]] && touch $scratch/installed; exit 0"
  stand_in sudo '[[ $1 == -* ]] && exit 0; exec "$@"'
  stand_in cmake "[[ \$1 == --preset ]] && echo '-- CUDA: no libengine_cuda.so, no nvcc'; if [[ \$1 == --build ]]; then mkdir -p build/release/bin && printf '#!/bin/bash\necho trained with \"\$*\"; exit 7\n' >build/release/bin/resnet-train && chmod +x build/release/bin/resnet-train; fi"
  stand_in ctest 'echo "100% tests passed, 0 tests failed out of 3"'
}

run() { # run ARGUMENTS...: into $output, $code and $calls
  output=$(cd "$scratch" && PATH=$scratch/bin:$PATH SUDO_USER='' "$scratch/tree/tools/quickstart" "$@" 2>&1 </dev/null)
  code=$?
  calls=$(grep -vE '^(dpkg-query|apt-cache|sudo)' "$scratch/calls")
}

expect() { # expect WHAT VALUE PATTERN: a glob
  # shellcheck disable=SC2053
  [[ $2 == $3 ]] && return
  printf '%s: %s\n  expected: %s\n  got: %s\n' "$title" "$1" "$3" "$2"
  failures=$((failures + 1))
}

title='train on a bare system'
fresh
run train --epochs 2
expect code "$code" 7
expect output "$output" '*apt-get install -y --no-install-recommends g++ cmake *CUDA: no libengine_cuda.so, no nvcc*trained with --epochs 2'
expect calls "$calls" 'apt-get * install -y --no-install-recommends g++ cmake *libprotozero-dev
cmake --preset release *
cmake --build --preset release -j * --target resnet-train'
expect 'no test packages' "${calls##*libgtest*}" "$calls"

title='train where everything is installed'
fresh
touch "$scratch/installed"
run train
expect code "$code" 7
expect calls "$calls" 'cmake --preset release *'

title='test'
fresh
run test -L data
expect code "$code" 0
expect output "$output" '*100% tests passed, 0 tests failed out of 3'
expect calls "$calls" 'apt-get *libgtest-dev libgmock-dev*
cmake --preset release -DENGINE_TESTS=ON -DENGINE_BENCH=ON
cmake --build --preset release -j *
ctest --preset release -L data'

title='no package lists yet'
fresh
stand_in apt-cache "[[ -e $scratch/updated ]]"
stand_in apt-get "[[ \$* == *update ]] && touch $scratch/updated; [[ \$* == *' install '* ]] && touch $scratch/installed; exit 0"
run build
expect code "$code" 0
expect calls "$calls" 'apt-get * update
apt-get * install *
cmake *'

title='old package lists: the first installation fails'
fresh
stand_in apt-get "[[ \$* == *update ]] && touch $scratch/updated; [[ -e $scratch/updated ]] || exit 100; touch $scratch/installed"
run build
expect code "$code" 0
expect calls "$calls" 'apt-get * install *
apt-get * update
apt-get * install *
cmake *'

title='a package that no source has'
fresh
stand_in apt-cache '[[ $* != *libdnnl-dev ]]'
run build
expect code "$code" 3
expect output "$output" "*no apt source offers libdnnl-dev; on Ubuntu, add 'universe'*"

title='the installation fails for good'
fresh
stand_in apt-get '[[ $* == *update ]] && exit 0; seq 100; exit 100'
run build
expect code "$code" 1
expect 'the last 40 lines' "$output" '*
61
62
*
100
quickstart: apt-get could not install the packages; the line to run by hand: apt-get install -y *'
expect 'not more' "${output##*$'\n'60$'\n'*}" "$output"

title='no apt'
fresh
touch "$scratch/installed"
run build --no-install
expect code "$code" 0
expect calls "$calls" 'cmake --preset release *'

title='the build fails'
fresh
stand_in cmake 'if [[ $1 == --build ]]; then echo "error: no such thing"; exit 1; fi'
run train
expect code "$code" 1
expect output "$output" '*error: no such thing*the build failed; *'

title='tests fail'
fresh
stand_in ctest 'exit 8'
run test
expect code "$code" 1
expect output "$output" '*tests failed; *'

title='usage'
fresh
run
expect code "$code" 0
run trian
expect code "$code" 2
expect output "$output" "quickstart: there is no command 'trian'; known are train, test, build, check and help"
run build --preset fast
expect output "$output" '*--preset fast: known are release, debug, asan and tsan'
run test --jobs none
expect output "$output" '*--jobs none: expected a number of 1 or more'
run build now
expect output "$output" "*build takes no argument 'now'"
expect code "$code" 2
run help
expect code "$code" 0
expect calls "$calls" ''

if ((EUID != 0)); then
  title='no root and no sudo'
  fresh
  stand_in sudo 'exit 1'
  run train
  expect code "$code" 3
  expect output "$output" '*ask an administrator to run: apt-get install *'
fi

title='what the configuration says of CUDA, and its warnings'
fresh
stand_in cmake "[[ \$1 == --preset ]] && printf '%s\n' '-- CUDA: by nvcc' 'CMake Warning at a.cmake:3 (message):' '  The compiler is g++, but conda' '  adds ld.' 'Call Stack (most recent call first):' '  b.cmake:4 (c)' '' '' '-- CUDA: no cudnn_graph.h' '-- Configuring done'; exit 0"
run build
expect code "$code" 0
expect output "$output" '*
CUDA: by nvcc
Warning: The compiler is g++, but conda adds ld.
CUDA: no cudnn_graph.h
Building*'
run build
expect 'of this run only' "$(grep -c 'CUDA: by nvcc' <<<"$output")" 1

title='docs/build.md names the same packages'
build_packages=() test_packages=()
# shellcheck disable=SC1090
source <(awk '/^(build|test)_packages=/ { on = 1 } on; /\)$/ { on = 0 }' "$quickstart")
expect packages "$(awk '/^apt-get install/,/[^\\]$/' "${quickstart%/*}/../docs/build.md" | tr -s ' \\\n' '\n' | grep -vE '^(apt-get|install|-.*)$')" \
  "$(printf '%s\n' "${build_packages[@]}" "${test_packages[@]}")"

((failures == 0)) && echo "every case ended as expected"
exit $((failures > 0))
