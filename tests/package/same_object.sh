#!/usr/bin/env bash
# same_object.sh COMMANDS OBJECTS PREFIX COMPILER ARGUMENTS...: a compiler launcher. An object whose name begins with
# PREFIX is copied from OBJECTS, where the same command but for PREFIX has made it, as the file COMMANDS shows; a command
# that stands there in no line is an error. So a project that contains this one builds as fast as it links, and only if it
# compiles in the same way.
set -euo pipefail
commands=$1 objects=$2 prefix=$3
shift 3
words=$*
[[ $words =~ \ -o\ "$prefix"([^ ]+) ]] || exec "$@"
object=${BASH_REMATCH[1]}
[[ $words =~ \ -MD\ -MT\ [^\ ]+\ -MF\ ([^\ ]+) ]] && printf '%s:\n' "$prefix$object" >"${BASH_REMATCH[1]}"
same=${words//"${BASH_REMATCH[0]}"/}
same=${same//"$PWD/$prefix"/"$objects/"}  # a generated source
grep -qFx -- "${same//"$prefix"/}" "$commands" || { echo "compiled in another way than here: $words" >&2; exit 1; }
cp -- "$objects/$object" "$prefix$object"
