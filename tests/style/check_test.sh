#!/usr/bin/env bash
# Plants one offence at a time in a small tree and expects check.sh to name it: a check that finds nothing proves nothing.
set -uo pipefail
check=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/check.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cd "$tree" || exit 2
failures=0

fresh() {
  rm -rf ./*
  mkdir -p kernels/gpu engine/cpu models tools bench tests
  printf '#pragma once\n#include <vector>\n#include "kernels/types.h"\n' >engine/tensor.h
  printf '#include "engine/tensor.h"\n#include <fmt/core.h>\n' >engine/tensor.cpp
  printf '#pragma once\n// The table of a device. Private to the engine.\n' >engine/backend.h
  printf '#pragma once\n#include <dnnl.hpp>\n' >engine/cpu/dnnl.h
  printf '#include <dnnl.hpp>\n#include "engine/backend.h"\n' >engine/cpu/conv.cpp
  printf '#include "kernels/gpu.h"\n#include "kernels/types.h"\n' >kernels/conv.cu
  printf '#pragma once\n#include <cuda_bf16.h>\n// asm("trap;") <<<>>>\n' >kernels/gpu/ptx.h
  printf '#include <CLI/CLI.hpp>\n#include "models/resnet.h"\nusing namespace engine;\n' >tools/train.cpp
  printf '#include "tools/args.h"\n#include "engine/backend.h"\n' >tests/args_test.cpp
}

expect_clean() {
  local output
  output=$(bash "$check" . 2>&1) || { echo "a clean tree was refused: $output"; failures=$((failures + 1)); }
}

expect() { # expect FILE TEXT OFFENCE: a tree with TEXT appended to FILE is refused with a line that contains OFFENCE
  local output
  fresh
  printf '%b\n' "$2" >>"$1"
  if output=$(bash "$check" . 2>&1); then
    echo "$1 with '${2:0:60}' was accepted, expected: $3"
    failures=$((failures + 1))
  elif [[ $output != *"$3"* || $(wc -l <<<"$output") != 1 ]]; then
    printf "%s with '%s'\n  expected one line with: %s\n  got: %s\n" "$1" "${2:0:60}" "$3" "$output"
    failures=$((failures + 1))
  fi
}

fresh
expect_clean

expect kernels/conv.cu '#include "engine/tensor.h"' 'kernels/conv.cu:3: kernels includes "engine/tensor.h"'
expect engine/tensor.cpp '#include "models/resnet.h"' 'engine/tensor.cpp:3: engine includes "models/resnet.h"'
expect models/resnet.cpp '#include "tools/args.h"' 'models/resnet.cpp:1: models includes "tools/args.h"'
expect tools/train.cpp '#include "bench/timer.h"' 'tools includes "bench/timer.h"'
expect engine/tensor.cpp '#include "tests/reference.h"' 'engine includes "tests/reference.h"'
expect engine/tensor.cpp '  #  include "shape.h"' 'an include path is the path in the repository'
expect engine/tensor.h '#include "engine/backend.h"' 'a public header includes "engine/backend.h", which is private to engine/'
expect engine/tensor.h '#include "engine/cpu/dnnl.h"' 'a public header includes "engine/cpu/dnnl.h", which is private to engine/cpu/'
expect models/resnet.cpp '#include "engine/backend.h"' '"engine/backend.h" is private to engine/'
expect engine/tensor.cpp '#include "engine/cpu/dnnl.h"' '"engine/cpu/dnnl.h" is private to engine/cpu/'
expect engine/tensor.h '#include <sys/mman.h>' 'a public header includes <sys/mman.h>'
expect engine/tensor.cpp '#include <dnnl.hpp>' '<dnnl.hpp> belongs into engine/cpu/'
expect engine/tensor.cpp '#include <cuda_runtime.h>' '<cuda_runtime.h> belongs into kernels/gpu/ and kernels/cuda/'
expect kernels/gpu/ptx.h '#include <cub/block/block_reduce.cuh>' '<cub/block/block_reduce.cuh> moves with every CUDA release'
expect kernels/conv.cu '#include <cuda_fp16.h>' 'kernels/conv.cu:3: <cuda_fp16.h> belongs into kernels/gpu/'
expect engine/tensor.cpp '#include "kernels/gpu/ptx.h"' '"kernels/gpu/ptx.h" is private to kernels/'
expect kernels/conv.cu 'asm("trap;");' 'kernels/conv.cu:3: asm belongs into kernels/gpu/'
expect kernels/conv.cu 'kernel<<<1, 32>>>(x);' 'kernels/conv.cu:3: <<<>>> belongs into kernels/gpu/'
expect kernels/conv.cu 'extern __shared__ char x[];' 'extern __shared__ belongs into kernels/gpu/'
expect kernels/conv.cu '#if __CUDA_ARCH__ >= 900' '__CUDA_ARCH__ belongs into kernels/gpu/'
expect engine/tensor.cpp '#include <spdlog/spdlog.h>' '<spdlog/spdlog.h> belongs into engine/train/log.cpp'
expect engine/tensor.cpp '#include <CLI/CLI.hpp>' '<CLI/CLI.hpp> belongs into the .cpp file of a command'
expect engine/cpu/conv.h '#pragma once\n#include <fmt/core.h>' '<fmt/core.h> belongs into .cpp files'
expect models/resnet.h '#include <vector>\n#pragma once' 'a header opens with #pragma once'
expect engine/tensor.cpp 'using namespace std;' 'using namespace outside tests, tools and bench'
expect models/resnet.cpp "$(printf '//%.0s\\n' {1..600})" 'models/resnet.cpp:601: longer than 600 lines'
expect models/resnet.cpp 'int x; ' 'models/resnet.cpp:1: blanks at the end of the line'
expect models/resnet.cpp '\tint x;' 'models/resnet.cpp:1: a tab'
expect models/resnet.cpp '// TO''DO later' 'models/resnet.cpp:1: left for later'
expect models/resnet.cpp 'open("/ho''me/me/x")' 'models/resnet.cpp:1: a path of one machine'

((failures == 0)) && echo "every planted offence was found"
exit $((failures > 0))
