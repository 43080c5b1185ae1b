#pragma once
// What a GPU implementation offers to a host program: its runtime, its kernels, the vendor's libraries. One table, so
// that a program needs no GPU library to start: the CUDA module is a shared library that is loaded when it can be used,
// the emulated module (the same kernels compiled as C++) is linked in.
#include "kernels/libraries.h"
#include "kernels/runtime.h"
#include "kernels/table.h"

namespace engine::kernels {

// Changes with every change of a struct that crosses the border.
inline constexpr int kModuleAbi = 6;

struct Module {
  int abi = kModuleAbi;  // first, so that any version can read it
  const Runtime* runtime = nullptr;
  const Kernels* kernels = nullptr;
  const Libraries* libraries = nullptr;  // null: none (emulated)
  const char* build = "";                // compiler and architectures, for --doctor
};

// The kernels that run on the emulator.
const Module& emulated_module();

}  // namespace engine::kernels

// The one symbol of libengine_cuda.so.
using EngineCudaModule = const engine::kernels::Module*();
