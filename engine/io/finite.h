#pragma once
// Weights that hold NaN or infinity are lost: no training recovers from them, and a checkpoint of them would take the
// place of the last sound one.
#include <optional>
#include <span>
#include <string>

#include "engine/io/safetensors.h"

namespace engine {

// The name of the first tensor (F64, F32, BF16 or F16; other types have no such values) with an element that is not
// finite. Reads each byte once.
std::optional<std::string> first_not_finite(std::span<const TensorView> views);

}  // namespace engine
