#pragma once
// Where in the source an access stands, in 4 bytes: shadow memory keeps one for each access that it remembers.
#include <cstdint>
#include <string>

#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

class Origin {
 public:
  Origin() = default;
  // Wrappers know the line of their caller.
  Origin(Site site);
  // Compiler-inserted hooks know the address that they return to.
  static Origin from_code(const void* return_address);

  // "kernels/conv/tile.cu:66"; for code inlined from elsewhere the first line outside of the emulator.
  std::string text() const;
  bool operator==(const Origin&) const = default;
  uint32_t bits() const { return bits_; }

 private:
  explicit Origin(uint32_t bits) : bits_(bits) {}
  uint32_t bits_ = 0;  // offset from the module's start, times two; odd: of a Site
};

}  // namespace engine::kernels::emulator
