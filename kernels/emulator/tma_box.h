#pragma once
// What one TMA copy reads and writes. Private to kernels/emulator.
#include "kernels/emulator/block.h"
#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/tma.h"

namespace engine::kernels::emulator {

struct TmaBox {
  gpu::TensorMap map;
  int coordinates[5] = {};
  int offset[2] = {};   // im2col: added to w and h of each pixel
  unsigned shared = 0;  // offset in the block's window
  unsigned bytes = 0;
  Site site;
};

unsigned bytes_of(const gpu::TensorMap& map);

// Whether the coordinates of an im2col copy are a position of its convolution.
bool is_position(const TmaBox& box);

void load_box(const TmaBox& box, char* window);
void store_box(const TmaBox& box, const char* window);

// Shows the accesses to global memory to the race detector.
void access_global(Thread& thread, const TmaBox& box, race::Access kind);

}  // namespace engine::kernels::emulator
