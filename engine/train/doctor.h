#pragma once
#include <string>

namespace engine {

// What --doctor prints: compiler, processor, instruction set in use, bf16, threads, libraries, caches, memory, disk,
// what there is of CUDA and whether a GPU can be used, and one remedy for each problem. Looks at the working directory
// for the disk, and below `root` for what the system says of itself (/proc, /sys).
struct Diagnosis {
  std::string text;
  int problems = 0;
};
Diagnosis diagnose(const std::string& root = "");

}  // namespace engine
