#!/usr/bin/env bash
# What the configuration says of the CUDA toolkits, libraries and environments that newcomers have, played by stand-ins.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0
said=''

# The languages are not enabled: everything is decided before.
cat >"$scratch/configure.cmake" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
include(${ROOT}/cmake/engine_add_kernels.cmake)
include(${ROOT}/cmake/cuda_compiler.cmake)
engine_device_code_options()
set(ENGINE_CUDA_HOME ${SCRATCH}/toolkit)
set(PROJECT_BINARY_DIR ${SCRATCH}/build)
macro(enable_language)
endmacro()
engine_enable_cuda()
CMAKE

nvcc() { # nvcc FOLDER VERSION [SCRIPT]: a stand-in of this version that knows GPUs 75 to 90 and compiles by SCRIPT
  mkdir -p "$scratch/$1"
  cat >"$scratch/$1/nvcc" <<SCRIPT
#!/bin/bash
case \$1 in
  --version) echo "Cuda compilation tools, release ${2%.*}, V$2" ;;
  --list-gpu-arch) printf 'compute_%s\n' 75 80 86 89 90 ;;
  *) ${3:-exit 0} ;;
esac
SCRIPT
  chmod +x "$scratch/$1/nvcc"
}

fresh() {
  rm -rf "$scratch"/{bin,toolkit,other,build}
  mkdir -p "$scratch/bin"
}

cat >"$scratch/libraries.cmake" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
include(${ROOT}/cmake/cuda_libraries.cmake)
set(ENGINE_SYSTEM_PREFIXES ${SCRATCH}/usr)
engine_find_cuda_library(CUDNN cudnn_graph.h libcudnn.so.9 "cuDNN 9")
message(STATUS "found '${CUDNN_INCLUDE_DIR}' '${CUDNN_DIR}'.")
CMAKE
cat >"$scratch/conda.cmake" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
include(${ROOT}/cmake/conda_guard.cmake)
engine_warn_of_conda(/usr/lib/libdnnl.so ${FOUND})
CMAKE

run() { # run SCRIPT [VARIABLE=VALUE...] [-DNAME=VALUE...]: into $output and $code
  local script=$1 variables=() options=()
  shift
  for word in "$@"; do if [[ $word == -D* ]]; then options+=("$word"); else variables+=("$word"); fi; done
  output=$("$env" -u CUDACXX -u CUDA_HOME -u CUDA_PATH -u CUDAHOSTCXX -u CUDAARCHS -u CONDA_PREFIX -u CUDNN_ROOT -u CUDNN_PATH \
    PATH="$scratch/bin" "${variables[@]}" \
    "$cmake" -DROOT="$root" -DSCRATCH="$scratch" -DCMAKE_CXX_COMPILER=/usr/bin/g++ "${options[@]}" \
    -P "$scratch/$script.cmake" 2>&1)
  code=$?
  output=$(tr -s '\n ' '  ' <<<"$output")  # CMake wraps its messages
  said+=$output
}
configure() { run configure "$@"; }

expect() { # expect TITLE CODE PART...: of the last configuration's output
  local title=$1 wanted=$2
  shift 2
  [[ $code == "$wanted" ]] || { echo "$title: exit code $code instead of $wanted: $output"; failures=$((failures + 1)); }
  for part in "$@"; do
    [[ $output == *"$part"* ]] || { printf '%s\n  expected: %s\n  got: %s\n' "$title" "$part" "$output"; failures=$((failures + 1)); }
  done
}

cmake=$(command -v cmake)
env=$(command -v env)
fresh
configure
expect 'no nvcc' 0 'CUDA: no libengine_cuda.so, no nvcc in PATH, CUDA_HOME, CUDA_PATH,' 'install the CUDA toolkit, or name its nvcc in CUDACXX'
configure -DENGINE_CUDA=ON
expect 'no nvcc, but demanded' 1 'ENGINE_CUDA=ON cannot be met: no nvcc in PATH' 'Or configure with ENGINE_CUDA=OFF.'
configure -DENGINE_CUDA=YES
expect 'another value' 1 'ENGINE_CUDA=YES has to be AUTO, ON or OFF.'

nvcc bin 12.0.140
configure
expect "a distribution's old nvcc" 0 "no libengine_cuda.so, $scratch/bin/nvcc is version 12.0.140, it has to be 12.5 or newer: name another one in CUDACXX"
nvcc toolkit/bin 12.9.86
configure
expect 'an old one in PATH, a new one in the toolkit' 0 "libengine_cuda.so by nvcc 12.9.86 ($scratch/toolkit/bin/nvcc) and /usr/bin/g++ for 80, 90a-real"
configure CUDACXX="$scratch/bin/nvcc"
expect 'the one that the user names, and no other' 0 "no libengine_cuda.so, $scratch/bin/nvcc is version 12.0.140"
nvcc other/bin 13.0.88
configure CUDA_HOME="$scratch/other"
expect 'CUDA_HOME before the usual place' 0 "nvcc 13.0.88 ($scratch/other/bin/nvcc)"

fresh
nvcc bin 12.5.40 'echo "host_config.h: error: #error -- unsupported GNU version! gcc versions later than 13 are not supported!" >&2; exit 1'
configure -DCMAKE_CUDA_HOST_COMPILER=/usr/bin/g++-15
expect 'a host compiler that is too new' 0 "nvcc 12.5.40 ($scratch/bin/nvcc) takes g++ 12 to 13 as host compiler, /usr/bin/g++-15 is newer: install g++-13 and give -DCMAKE_CUDA_HOST_COMPILER=g++-13"
nvcc bin 12.5.40 '[[ $* == *" -M"* ]] && echo "probe.o: probe.cu /opt/cuda/include/cuda_runtime_api.h" && exit 0; echo "error: static assertion failed with \"headers of another toolkit\""; exit 2'
configure
expect 'headers of another toolkit' 0 "finds another toolkit's headers (/opt/cuda/include/cuda_runtime_api.h): name the nvcc beside them in CUDACXX"
nvcc bin 12.5.40 'echo "cc1plus: fatal error: cuda_runtime.h: No such file or directory" >&2; exit 1'
configure -DENGINE_CUDA=ON
expect 'half an installation' 1 'does not compile three lines (cc1plus: fatal error: cuda_runtime.h: No such file or directory): mend that installation'

fresh
nvcc bin 12.5.40
configure -DCMAKE_CUDA_ARCHITECTURES='89;120-real'
expect 'a GPU newer than the toolkit' 0 'nvcc 12.5.40 does not know 120-real: CUDA 12.8 is needed for full speed there' 'for 89'
configure -DCMAKE_CUDA_ARCHITECTURES=100a-real
expect 'nothing but newer GPUs' 0 'CUDA 12.8 is needed' 'building PTX of 90 instead' 'for 90-virtual'
configure CUDAARCHS=86
expect 'the environment names the GPU' 0 'for 86'
configure -DCMAKE_CUDA_ARCHITECTURES=75
expect 'a GPU that is too old' 0 'CMAKE_CUDA_ARCHITECTURES=75: the kernels need a GPU of compute capability 8.0 or newer'
configure -DCMAKE_CUDA_ARCHITECTURES=all -DENGINE_CUDA=ON
expect 'every GPU' 1 'names GPUs older than 80'
configure -DCMAKE_CUDA_ARCHITECTURES=native
expect 'the GPU of a machine without one' 0 'no GPU answers nvidia-smi, so this is for any: name yours with -DCMAKE_CUDA_ARCHITECTURES=89' 'for 80, 90a-real'
printf '#!/bin/sh\necho No devices were found; exit 6\n' >"$scratch/bin/nvidia-smi" && chmod +x "$scratch/bin/nvidia-smi"
configure -DCMAKE_CUDA_ARCHITECTURES=native
expect 'a driver without a GPU' 0 'no GPU answers nvidia-smi'
printf '#!/bin/sh\nprintf "8.9\\n9.0\\n8.9\\n"\n' >"$scratch/bin/nvidia-smi"
configure -DCMAKE_CUDA_ARCHITECTURES=native
expect 'the GPUs of this machine' 0 'for 89-real, 90a-real'
configure -DENGINE_SANITIZE=address
expect 'under a sanitizer' 0 'ENGINE_SANITIZE=address is for host code'

file() { mkdir -p "$(dirname "$scratch/$1")" && : >"$scratch/$1"; }
run libraries
expect 'no cuDNN' 0 "no cudnn_graph.h in $scratch/usr: install cuDNN 9, or name its folder in -DCUDNN_ROOT" "found '' ''."
run libraries -DENGINE_CUDNN=ON CUDNN_PATH="$scratch/nowhere"
expect 'no cuDNN, but demanded' 1 "ENGINE_CUDNN=ON cannot be met: no cudnn_graph.h in $scratch/nowhere, $scratch/usr: install cuDNN 9"
run libraries -DENGINE_CUDNN=OFF
expect 'no cuDNN wanted' 0 'no CUDNN, ENGINE_CUDNN=OFF'
file usr/include/cudnn_graph.h
run libraries
expect "the system's" 0 "found '$scratch/usr/include' ''."
file wheels/site-packages/nvidia/cudnn/include/cudnn_graph.h
file wheels/site-packages/nvidia/cudnn/lib/libcudnn.so.9
printf '#!/bin/bash\necho "%s"\n' "$scratch/wheels/site-packages" >"$scratch/bin/python3" && chmod +x "$scratch/bin/python3"
run libraries
expect "pip's wheel" 0 "found '$scratch/wheels/site-packages/nvidia/cudnn/include' '$scratch/wheels/site-packages/nvidia/cudnn/lib'."
file own/include/cudnn_graph.h
run libraries -DCUDNN_ROOT="$scratch/own"
expect 'the one that is named' 0 "found '$scratch/own/include' ''."

stand_in() { printf '#!/bin/bash\n%s\n' "$2" >"$scratch/bin/$1" && chmod +x "$scratch/bin/$1"; }
stand_in g++ 'echo ld'
stand_in ld ''
gxx=-DCMAKE_CXX_COMPILER=$scratch/bin/g++
run conda "$gxx"
[[ -z ${output// /} ]] || { echo "without conda: $output"; failures=$((failures + 1)); }
run conda "$gxx" CONDA_PREFIX="$scratch/bin/.."
expect "conda's compiler with conda's linker" 0 ''
[[ -z ${output// /} ]] || { echo "all of conda: $output"; failures=$((failures + 1)); }
run conda CONDA_PREFIX="$scratch/conda" -DFOUND="$scratch/conda/lib/libjpeg.so"
expect "conda's library" 0 "The compiler is /usr/bin/g++, but the active conda environment adds $scratch/conda/lib/libjpeg.so, and the link may fail: run \`conda deactivate\`"
stand_in c++ 'echo ld'
mkdir -p "$scratch/conda" && mv "$scratch/bin/c++" "$scratch/c++"
run conda -DCMAKE_CXX_COMPILER="$scratch/c++" CONDA_PREFIX="$scratch/bin"
expect "conda's linker" 0 "The compiler is $scratch/c++, but the active conda environment adds $scratch/bin/ld, and"

# The page says so, too: each message of its section, without the values.
page=$root/docs/troubleshooting.md
documented=0
while IFS= read -r message; do
  while IFS= read -r piece; do
    [[ $piece == *' '*' '* ]] || continue
    documented=$((documented + 1))
    [[ $said == *"$piece"* ]] || { echo "$page: the configuration never says '$piece'"; failures=$((failures + 1)); }
  done < <(sed 's/ *… */\n/g' <<<"$message")
done < <(sed -n '/^### The CUDA toolkit/,/^##* [^T]/s/^| \(`[^|]*\) |.*/\1/p' "$page" | tr '`' '\n')
((documented > 10)) || { echo "$page: has only $documented pieces of messages"; failures=$((failures + 1)); }

((failures == 0)) && echo "every toolkit was judged as expected"
exit $((failures > 0))
