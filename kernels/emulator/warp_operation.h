#pragma once
// Where the lanes of a warp meet for an operation. Private to kernels/emulator.
#include "kernels/emulator/block.h"

namespace engine::kernels::emulator {

// The lanes of `mask` meet; the last to come runs `execute`, which finds what each lane passed in `payload`, by lane.
// `name` identifies the kind: its address is compared. `aligned`: all lanes must be at the same line.
void meet(unsigned mask, const char* name, void* payload, void (*execute)(WarpOperation&), Site site, bool aligned);

// Reports lanes that wait for one that exits.
void leave_warp(Thread& thread);

}  // namespace engine::kernels::emulator
