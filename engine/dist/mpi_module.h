#pragma once
// The border of libengine_mpi.so, which is opened where mpirun has started this process: a program needs no MPI to
// start. One table of plain functions, called by one thread only.
#include <cstddef>

namespace engine::dist {

// Changes with every change of the table.
inline constexpr int kMpiModuleAbi = 1;

struct MpiModule {
  int abi;              // first, so that any version can read it
  const char* library;  // "Open MPI v4.1.4, ..."
  // 0, or an error's number for `error_text`.
  int (*init)(int* rank, int* size);
  void (*error_text)(int error, char* text, int capacity);
  int (*broadcast)(void* data, size_t bytes);  // from rank 0; waits
  // A transfer that goes on by itself, in the background. At most 2^31-1 bytes.
  int (*send)(const void* data, size_t bytes, int to, struct MpiTransfer** out);
  int (*receive)(void* data, size_t bytes, int from, struct MpiTransfer** out);
  // 1 in *done: it is over, and `transfer` no longer valid.
  int (*test)(struct MpiTransfer* transfer, int* done);
  int (*finish)();
};

}  // namespace engine::dist

// The one symbol of libengine_mpi.so.
using EngineMpiModule = const engine::dist::MpiModule*();
