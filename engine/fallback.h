#pragma once
// Fallbacks: every time an operation could not take its intended implementation and took a slower one, it is counted
// here. Never silent: resnet-bench and --doctor print them, tests fail on one that they did not expect.
#include <cstdint>
#include <map>
#include <string>

namespace engine {

// Reason -> how often since the start or the last clear_fallbacks(). Thread-safe.
std::map<std::string, int64_t> fallbacks();
void clear_fallbacks();
void count_fallback(const std::string& reason);

}  // namespace engine
