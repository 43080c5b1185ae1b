// ldmatrix: 8x8 matrices of 16-bit elements from shared memory into the registers of a warp.
#include "kernels/emulator/matrix.h"

#include <cstring>

#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/shared_memory.h"
#include "kernels/emulator/statistics.h"
#include "kernels/emulator/warp_operation.h"

namespace engine::kernels::emulator {
namespace {

struct Load {
  uint32_t* registers;
  const char* row;
};

// Lane i holds elements (i/4, 2*(i%4)) and the next of the row; transposed, of the column.
template <bool kTransposed>
void run_load(WarpOperation& operation) {
  Statistics& count = local_statistics();
  const char* window = operation.threads[0]->block().shared;
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t elements[8][8];
    unsigned banks = 0;
    ++count.matrices;
    for (int i = 0; i < 8; ++i) {
      const int lane = matrix * 8 + i;
      const char* row = static_cast<const Load*>(operation.payload[lane])->row;
      if constexpr (race::kEnabled) race::access(*operation.threads[lane], row, 16, race::Access::read, operation.site);
      std::memcpy(elements[i], row, 16);
      const unsigned bank = 1u << (((row - window) / 16) & 7);  // of 4 banks of 4 bytes each
      if ((banks & bank) != 0) ++count.bank_conflicts;
      banks |= bank;
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int a = lane / 4, b = 2 * (lane % 4);
      uint32_t& target = static_cast<const Load*>(operation.payload[lane])->registers[matrix];
      if constexpr (kTransposed) {
        target = elements[b][a] | static_cast<uint32_t>(elements[b + 1][a]) << 16;
      } else {
        std::memcpy(&target, &elements[a][b], sizeof target);
      }
    }
  }
}

constexpr WarpOperationKind kLoad{"ldmatrix", run_load<false>, true};
constexpr WarpOperationKind kLoadTransposed{"ldmatrix.trans", run_load<true>, true};

}  // namespace

void load_matrices(uint32_t* registers, bool transposed, const void* row, Site site) {
  Load payload{registers, static_cast<const char*>(row)};
  if (shared_offset(row, site) % 16 != 0)
    report(Check::alignment, site, "a row of ldmatrix is not aligned to 16 bytes");
  meet(~0u, transposed ? kLoadTransposed : kLoad, &payload, site);
}

}  // namespace engine::kernels::emulator
