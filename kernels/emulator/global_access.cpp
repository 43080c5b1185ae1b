#include "kernels/emulator/global_access.h"

#include <cstring>

#include "kernels/emulator/block.h"
#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/report.h"

namespace engine::kernels::emulator {

const bool checks_every_access = race::kEnabled;

uint4 checked_load16(const void* address, Site site) {
  if (reinterpret_cast<uintptr_t>(address) % 16 != 0)
    report(Check::alignment, site, "ldg16 from an address that is not a multiple of 16");
  if constexpr (race::kEnabled) race::access(self(), address, 16, race::Access::read, site);
  uint4 value;
  std::memcpy(&value, address, 16);
  return value;
}

void checked_store16(void* address, uint4 value, Site site) {
  if (reinterpret_cast<uintptr_t>(address) % 16 != 0)
    report(Check::alignment, site, "stg16 to an address that is not a multiple of 16");
  if constexpr (race::kEnabled) race::access(self(), address, 16, race::Access::write, site);
  std::memcpy(address, &value, 16);
}

}  // namespace engine::kernels::emulator
