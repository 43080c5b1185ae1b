#pragma once
#include "kernels/libraries.h"
#include "kernels/runtime.h"

namespace engine::kernels::cuda {

const Runtime& runtime();

}  // namespace engine::kernels::cuda
