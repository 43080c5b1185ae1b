#include "kernels/emulator/global_access.h"

#include <cstring>

#include "kernels/emulator/block.h"
#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/scheduler.h"

namespace engine::kernels::emulator {

void misaligned16(const char* what, Site site) {
  report(Check::alignment, site, "%s an address that is not a multiple of 16", what);
  abandon_block();
}

const uint4* checked_load16(const void* address, Site site) {
  if constexpr (race::kEnabled) race::access(self(), address, 16, race::Access::read, site);
  constinit thread_local static uint4 copy{};
  std::memcpy(&copy, address, 16);
  return &copy;
}

void checked_store16(void* address, uint4 value, Site site) {
  if constexpr (race::kEnabled) race::access(self(), address, 16, race::Access::write, site);
  std::memcpy(address, &value, 16);
}

}  // namespace engine::kernels::emulator
