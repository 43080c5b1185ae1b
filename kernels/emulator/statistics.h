#pragma once
// What kernels did, for tests and for authors of kernels. Private to kernels/emulator, tests and bench.
#include <cstdint>

namespace engine::kernels::emulator {

struct Statistics {
  int64_t launches = 0;
  int64_t switches = 0;         // of fibers
  int64_t warp_operations = 0;  // shuffles, votes, ldmatrix, mma, __syncwarp
  int64_t multiply_adds = 0;    // of mma and wgmma
  int64_t async_copies = 0;     // cp.async and TMA
  int64_t matrices = 0;         // 8x8, loaded by ldmatrix
  int64_t bank_conflicts = 0;   // of ldmatrix: rows of a matrix in a bank that another row has taken

  Statistics& operator+=(const Statistics& other) {
    launches += other.launches;
    switches += other.switches;
    warp_operations += other.warp_operations;
    multiply_adds += other.multiply_adds;
    async_copies += other.async_copies;
    matrices += other.matrices;
    bank_conflicts += other.bank_conflicts;
    return *this;
  }
};

// Of all launches since the last reset_statistics().
Statistics statistics();
void reset_statistics();

// Of the running launch on this OS thread; added to the total when it ends.
Statistics& local_statistics();

}  // namespace engine::kernels::emulator
