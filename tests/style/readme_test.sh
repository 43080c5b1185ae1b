#!/usr/bin/env bash
# What the pages say is true: bash tests/style/readme_test.sh ROOT BIN   (BIN: the folder with resnet-train)
#   1. Every ```sh block after a line <!-- ci: run --> runs, line by line, in an empty folder, and exits 0.
#   2. In every ```sh block, each command of ours exists and each of its flags stands in its --help.
#   3. Links to files of the repository lead somewhere.
set -uo pipefail
root=$(cd "${1:?usage: readme_test.sh ROOT BIN}" && pwd)
bin=$(cd "${2:?usage: readme_test.sh ROOT BIN}" && pwd)
failures=0
wrong() {
  echo "$*"
  failures=$((failures + 1))
}

# The blocks name commands as they stand after a release build in the repository; here they may come from another build.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/build/release"
ln -s "$bin" "$scratch/build/release/bin"
ln -s "$root/tools" "$root/tests" "$root/bench" "$root/CMakePresets.json" "$scratch/"

blocks() { # blocks FILE: "run" or "show", a tab, the command; lines that end in a backslash are joined
  awk '
    /^```sh$/ { inside = 1; command = ""; next }
    /^```/ { inside = 0; mark = "show"; next }
    !inside { if ($0 ~ /^<!-- ci: run -->$/) mark = "run"; else if ($0 != "") mark = "show"; next }
    /^#/ || /^$/ { next }
    { line = $0; sub(/[ \t]+#.*/, "", line) }
    line ~ /\\$/ { sub(/\\$/, "", line); command = command line; next }
    { printf "%s\t%s\n", mark, command line; command = "" }
  ' "$1"
}

run_line() {
  local output
  output=$(cd "$scratch" && bash -c "$2" 2>&1 </dev/null) || wrong "$1: '$2' failed: $(tail -n 3 <<<"$output")"
}

check_flags() { # the command has to exist, and to know each --flag (and each single-letter one)
  local page=$1 program=${2%% *} word help
  [[ -x $scratch/$program ]] || { wrong "$page: '$program' does not exist"; return; }
  [[ $program == build/release/bin/* ]] || return 0
  help=$("$scratch/$program" --help 2>&1)
  for word in $2; do
    [[ $word =~ ^--?[a-z] ]] || continue
    word=${word%%=*}
    grep -qE -- "(^|[ ,])$word([ ,=[]|\$)" <<<"$help" || wrong "$page: '$program' has no flag $word"
  done
}

ran=0
cd "$root" || exit 2
for page in *.md docs/*.md; do
  while IFS=$'\t' read -r mark command; do
    if [[ $mark == run ]]; then
      run_line "$page" "$command"
      ran=$((ran + 1))
    fi
    [[ $command =~ ^(build/release/bin|tools|tests|bench)/ ]] && check_flags "$page" "$command"
  done < <(blocks "$page")
  while read -r link; do
    [[ -e $(dirname "$page")/$link ]] || wrong "$page: the link to $link leads nowhere"
  done < <(awk '/^```/ { code = !code } !code' "$page" | grep -oE '\]\([^)#]+' | sed 's/^](//' | grep -vE '^[a-z]+:')
done
((ran > 0)) || wrong "no page has a block to run; expected <!-- ci: run --> before one of README.md"
((failures == 0)) && echo "$ran commands ran, all flags and links are there"
exit $((failures > 0))
