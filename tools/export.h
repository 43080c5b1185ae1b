#pragma once
// resnet-train --export: what a run learnt, or weights from elsewhere, as a file for other programs.
#include "tools/train_flags.h"

namespace engine::tools {

bool asks_for_export(const TrainCommand& command);

// Writes FILE.onnx or FILE.safetensors and returns the exit code. Reads no pictures.
int export_net(const TrainCommand& command);

}  // namespace engine::tools
