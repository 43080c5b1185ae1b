#!/bin/sh
# no_cuda_libraries.sh PROGRAM...: fails if a program needs a CUDA library to start.
set -eu
for program in "$@"; do
  if ldd "$program" | grep -iE 'libcuda|libcudart|libcudnn|libcublas|libnccl|libnvidia'; then
    echo "$program needs CUDA libraries to start; they belong into libengine_cuda.so" >&2
    exit 1
  fi
done
