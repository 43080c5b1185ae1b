#pragma once
// Where the lanes of a warp meet for an operation. Private to kernels/emulator.
#include "kernels/emulator/block.h"

namespace engine::kernels::emulator {

struct WarpOperationKind {
  const char* name;
  // Run by the last lane to come; finds what each lane passed in `payload`, by lane.
  void (*execute)(WarpOperation&);
  bool aligned;  // all lanes must be at the same line
};

// The lanes of `mask` meet for the operation; a kind is the same if its address is.
void meet(unsigned mask, const WarpOperationKind& kind, void* payload, Site site);

// Reports lanes that wait for one that exits.
void leave_warp(Thread& thread);

}  // namespace engine::kernels::emulator
