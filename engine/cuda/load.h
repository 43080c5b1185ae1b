#pragma once
// Finding and judging the CUDA module. Every reason why there is no GPU to use has a sentence of its own, with what to
// do about it.
#include <string>
#include <string_view>

#include "kernels/module.h"

namespace engine::cuda {

// libengine_cuda.so as $ENGINE_CUDA_MODULE names it, or from the folder of this library or program, lib/ beside that
// folder, or the system's library path. Null if there is none that fits; `reason` then says why.
const kernels::Module* load_module(std::string* reason);

// Where it was found; empty without one.
const std::string& module_path();

// "13.0" for 13000.
std::string version_text(int version);

// Whether the build "nvcc 13.0.88, 80 90a-real" holds machine code for this GPU: of its own compute capability, or an
// older one with the same major number. Otherwise its driver compiles PTX at the first start.
bool has_machine_code(std::string_view build, int major, int minor);

// Why device `index` of the module cannot be used; empty if it can.
std::string why_unusable(const kernels::Module& module, int index);

}  // namespace engine::cuda
