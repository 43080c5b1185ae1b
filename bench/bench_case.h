#pragma once
// One cell of resnet-bench's grid: what is measured.
#include <string>

#include "bench/step_workload.h"

namespace engine::bench {

struct BenchCase {
  WorkloadOptions work;  // with an image size
  int threads = 1;
  std::string force_impl;  // own, cudnn; empty: what is faster
};

const char* name_of(Mode mode);                      // "train", "inference"
const char* precision_name(Precision precision);     // "fp32", "tf32", "bf16", "fp16"
Precision named_precision(const std::string& name);  // Throws Error(usage) for another one.
std::string describe(const BenchCase& cell);         // "resnet50 train bf16, batch 64 of 224x224"

}  // namespace engine::bench
