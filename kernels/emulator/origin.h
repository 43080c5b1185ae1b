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
  // Hooks that the compiler inserted know the address that they return to.
  static Origin from_code(const void* return_address);

  // "kernels/conv/tile.cu:66"; of code inlined from elsewhere the first line outside of the emulator.
  std::string text() const;
  bool operator==(const Origin&) const = default;
  bool known() const { return bits_ != 0; }

 private:
  uint32_t bits_ = 0;  // even: offset of the code from the module's start, doubled; odd: number of a Site, doubled
};

// The path from the repository's root on, if `file` lies in this repository; else the file's name.
std::string short_path(const std::string& file);

}  // namespace engine::kernels::emulator
