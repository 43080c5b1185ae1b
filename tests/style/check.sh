#!/usr/bin/env bash
# Checks the source tree itself: bash tests/style/check.sh ROOT [layers|device|files|words]...   (default: all)
# Prints one sentence for each offence, `file:line: what is wrong`, and exits 1 if there was any.
# Needs bash, find, grep and awk: it runs on a machine that has nothing else.
set -uo pipefail
cd "${1:?usage: check.sh ROOT [layers|device|files|words]...}" || exit 2
shift
(($#)) || set -- layers device files words

offences=$(mktemp)
trap 'rm -f "$offences"' EXIT

code_files() { find kernels engine models tools bench tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' 2>/dev/null | sort; }
text_files() {
  code_files
  find . -maxdepth 1 -type f \( -name '*.md' -o -name 'CMake*' -o -name '.clang*' \)
  find docs -name '*.cpp' -o -name '*.h' -o -name '*.cu' 2>/dev/null
  find kernels engine models tools bench tests docs .ci -type f \
    \( -name '*.md' -o -name '*.py' -o -name '*.sh' -o -name '*.cmake' -o -name CMakeLists.txt -o -path tools/quickstart -o -path .ci/run \) 2>/dev/null
}

# Who may include whom, and where each library may appear. A header that says "Private to engine/ops" near its top is for
# that folder (and for tests and bench) only; so are the headers of engine/cpu, engine/cuda and engine/backend.h, and for
# kernels/ gpu.h and those of its folders.
layers() {
  local all
  mapfile -t all < <(code_files)
  ((${#all[@]})) || return
  # shellcheck disable=SC2016
  awk '
    function offence(what) { printf "%s:%d: %s\n", FILENAME, FNR, what }
    BEGIN {  # each layer sees itself and the layers below it; bench and tests see all
      below["kernels"] = "kernels"
      below["engine"] = "kernels engine"
      below["models"] = "kernels engine models"
      below["tools"] = "kernels engine models tools"
      below["bench"] = "kernels engine models tools bench"
      below["tests"] = "kernels engine models tools bench tests"
    }
    FNR == 1 {
      layer = FILENAME; sub("/.*", "", layer)
      header = FILENAME ~ /\.h$/
      device = FILENAME ~ /^kernels\/(cuda|gpu)\//
      public = header && layer ~ /^(kernels|engine|models)$/ && !(FILENAME in owner)
      once = 0
    }
    pass == 1 {
      if (FNR == 1 && FILENAME ~ /^engine\/cpu\//) owner[FILENAME] = "engine/cpu/"
      if (FNR == 1 && FILENAME ~ /^engine\/cuda\//) owner[FILENAME] = "engine/cuda/"
      if (FNR == 1 && (FILENAME ~ /^kernels\/[a-z_]+\// || FILENAME == "kernels/gpu.h")) owner[FILENAME] = "kernels/"
      if (FNR <= 5 && header && match($0, /Private to (the )?(kernels|engine|models)[a-z_\/]*/)) {
        folder = substr($0, RSTART, RLENGTH); sub(/^Private to /, "", folder); sub(/^the /, "", folder)
        owner[FILENAME] = folder "/"
      }
      next
    }
    /^#pragma once/ { once = 1 }
    /^[ \t]*using namespace/ && layer !~ /^(tests|tools|bench)$/ { offence("using namespace outside tests, tools and bench") }
    !/^[ \t]*#[ \t]*include[ \t]*[<"]/ { next }
    {
      if (header && !once) { offence("a header opens with #pragma once, before its includes"); once = 1 }
      quoted = $0 ~ /include[ \t]*"/
      name = $0; sub(/^[^<"]*[<"]/, "", name); sub(/[>"].*/, "", name)
    }
    quoted {
      target = name; sub("/.*", "", target)
      if (index(name, "/") == 0 || !(target in below))
        offence("\"" name "\": an include path is the path in the repository, such as \"engine/tensor.h\"")
      else if (index(" " below[layer] " ", " " target " ") == 0)
        offence(layer " includes \"" name "\"; the direction is kernels <- engine <- models <- tools, and only tests and bench see all")
      else if (public && name in owner)
        offence("a public header includes \"" name "\", which is private to " owner[name])
      else if (name in owner && layer != "tests" && layer != "bench" && index(FILENAME, owner[name]) != 1)
        offence("\"" name "\" is private to " owner[name])
      next
    }
    name ~ /^(thrust|cub)\// { offence("<" name "> moves with every CUDA release, and without nvcc nobody finds it; write the loop") }
    layer == "tests" || layer == "bench" { next }
    public && name !~ /^[a-z_0-9]+$/ { offence("a public header includes <" name ">; it may use the standard library and our headers only") }
    name ~ /^fmt\// && FILENAME !~ /\.cpp$/ { offence("<" name "> belongs into .cpp files") }
    name ~ /^nlohmann\// && FILENAME !~ /\.cpp$/ { offence("<" name "> belongs into .cpp files") }
    name ~ /^spdlog\// && FILENAME != "engine/train/log.cpp" { offence("<" name "> belongs into engine/train/log.cpp") }
    name ~ /^CLI\// && FILENAME !~ /^tools\/.*\.cpp$/ { offence("<" name "> belongs into the .cpp file of a command, in tools/") }
    name ~ /^(oneapi\/)?dnnl/ && FILENAME !~ /^engine\/cpu\// { offence("<" name "> belongs into engine/cpu/") }
    name ~ /^(cuda|cudnn|cublas|nccl|nvrtc)/ && !device { offence("<" name "> belongs into kernels/gpu/ and kernels/cuda/; device code includes kernels/gpu.h") }
    layer == "kernels" && name ~ /^(fmt|spdlog|dnnl|CLI|nlohmann)/ { offence("kernels includes <" name ">; nvcc does not compile it") }
  ' pass=1 "${all[@]}" pass=2 "${all[@]}" >>"$offences"
}

# A kernel compiles for the GPU and for the emulator: what only one of the two understands stands in the device header.
device() {
  local sources
  mapfile -t sources < <(code_files | grep -E '^(kernels|engine|models|tools|bench|tests)/' | grep -vE '^kernels/gpu/|^kernels/emulator/context\.cpp$')
  ((${#sources[@]})) || return
  awk '
    { code = $0; sub(/\/\/.*/, "", code); gsub(/"[^"]*"/, "", code) }
    function offence(what) { printf "%s:%d: %s belongs into kernels/gpu/, behind a wrapper with an emulated twin\n", FILENAME, FNR, what }
    code ~ /(^|[^A-Za-z0-9_])(asm|__asm__)([^A-Za-z0-9_]|$)/ { offence("asm") }
    code ~ /<<</ { offence("<<<>>>") }
    code ~ /extern[ \t]+__shared__/ { offence("extern __shared__") }
    code ~ /__CUDA_ARCH/ { offence("__CUDA_ARCH__") }
  ' "${sources[@]}" >>"$offences"
}

# One file, one idea: 600 lines at most. No tabs, no blanks at the end of a line, a newline at the end of the file.
files() {
  text_files | xargs -r awk '
    FNR == 1 { if (last > 600) print name ":" last ": longer than 600 lines; split it along its ideas"; name = FILENAME }
    { last = FILENAME ~ /\.md$/ ? 0 : FNR }
    /\r$/ { print FILENAME ":" FNR ": carriage return at the end of the line" }
    /[ \t]$/ { print FILENAME ":" FNR ": blanks at the end of the line" }
    /\t/ { print FILENAME ":" FNR ": a tab" }
    END { if (last > 600) print name ":" last ": longer than 600 lines; split it along its ideas" }
  ' >>"$offences"
  code_files | while read -r file; do
    [[ -s $file && -n $(tail -c 1 "$file") ]] && echo "$file:1: no newline at the end of the file"
  done >>"$offences"
}

# Nothing left for later, and no path that exists on one machine only. (The brackets keep this file from matching itself.)
words() {
  text_files | xargs -r grep -nE '\b(TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b' /dev/null |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: left for later; finish it or describe the limit/' >>"$offences"
  text_files | xargs -r grep -nE '(^|[^A-Za-z0-9_.}~-])/(wor[k]|hom[e]|roo[t]|far[m]|User[s])/' /dev/null |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: a path of one machine/' >>"$offences"
}

for check in "$@"; do
  case $check in
    layers | device | files | words) "$check" ;;
    *) echo "check.sh: there is no check '$check'; known are layers, device, files and words" >&2; exit 2 ;;
  esac
done
if [[ -s $offences ]]; then
  sed 's|^\./||' "$offences"
  exit 1
fi
