// stmatrix: 8x8 matrices of 16-bit elements from the registers of a warp into shared memory.
#include <cstring>

#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/shared_memory.h"
#include "kernels/emulator/warp_operation.h"
#include "kernels/emulator/wgmma.h"

namespace engine::kernels::emulator {
namespace {

struct Store {
  const uint32_t* registers;
  char* row;
};

// Lane i holds elements (i/4, 2*(i%4)) and the next of the row; transposed, of the column.
template <bool kTransposed>
void run_store(WarpOperation& operation) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t elements[8][8];
    for (int lane = 0; lane < 32; ++lane) {
      const uint32_t pair = static_cast<const Store*>(operation.payload[lane])->registers[matrix];
      const int a = lane / 4, b = 2 * (lane % 4);
      (kTransposed ? elements[b][a] : elements[a][b]) = static_cast<uint16_t>(pair);
      (kTransposed ? elements[b + 1][a] : elements[a][b + 1]) = static_cast<uint16_t>(pair >> 16);
    }
    for (int i = 0; i < 8; ++i) {
      const int lane = matrix * 8 + i;
      char* row = static_cast<const Store*>(operation.payload[lane])->row;
      if constexpr (race::kEnabled)
        race::access(*operation.threads[lane], row, 16, race::Access::write, operation.site);
      std::memcpy(row, elements[i], 16);
    }
  }
}

constexpr WarpOperationKind kStore{"stmatrix", run_store<false>, true};
constexpr WarpOperationKind kStoreTransposed{"stmatrix.trans", run_store<true>, true};

}  // namespace

void store_matrices(void* row, const uint32_t* registers, bool transposed, Site site) {
  Store payload{registers, static_cast<char*>(row)};
  if (shared_offset(row, site) % 16 != 0)
    report(Check::alignment, site, "a row of stmatrix is not aligned to 16 bytes");
  meet(~0u, transposed ? kStoreTransposed : kStore, &payload, site);
}

}  // namespace engine::kernels::emulator
