#pragma once
// CUDA's device language for g++: what kernels/gpu.h includes where nvcc does not compile. A kernel compiled against it
// runs on the CPU, one fiber for each CUDA thread, with the checks that README.md in this folder lists.
#include "kernels/emulator/atomics.h"
#include "kernels/emulator/barrier.h"
#include "kernels/emulator/conversion.h"
#include "kernels/emulator/cp_async.h"
#include "kernels/emulator/global_access.h"
#include "kernels/emulator/intrinsics.h"
#include "kernels/emulator/language.h"
#include "kernels/emulator/launch.h"
#include "kernels/emulator/matrix.h"
#include "kernels/emulator/shared_memory.h"
#include "kernels/emulator/thread_view.h"
#include "kernels/emulator/warp.h"

// Bodies for sm_90 are always compiled.
#define GPU_SM90 1
