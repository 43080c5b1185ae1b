#pragma once
// Each operation of the CPU's table over the shapes of a ResNet, with what it must at least move and compute.
#include <functional>
#include <string>
#include <vector>

#include "bench/op_cost.h"
#include "engine/dtype.h"
#include "models/resnet.h"

namespace engine::bench {

struct CpuCase {
  OpCost cost;
  std::function<void()> run;  // holds its operands
};

// Made when it is asked for: the operands of all cases together would not fit into the memory.
struct NamedCase {
  std::string name;  // "conv_forward/32x56x56x64 3x3/1 64/bf16"
  std::function<CpuCase()> make;
};

struct CpuCasesOptions {
  int64_t batch = 32;
  int64_t image_size = 224;
  DType dtype = DType::f32;
};

// Equal shapes of several layers once.
std::vector<NamedCase> cpu_cases(models::ResNet& net, const CpuCasesOptions& options);

}  // namespace engine::bench
