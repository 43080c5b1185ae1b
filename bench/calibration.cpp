#include "bench/calibration.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

namespace engine::bench {
namespace {

constexpr size_t kCopyBytes = size_t{32} << 20;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Eight independent chains of 2^24 steps each. The sum is published so that the compiler keeps the loop.
void multiply_add(std::atomic<float>& sink) {
  std::array<float, 8> chain{1, 2, 3, 4, 5, 6, 7, 8};
  for (int64_t i = 0; i < (int64_t{1} << 24); ++i)
    for (float& value : chain) value = value * 0.999f + 0.5f;
  float sum = 0;
  for (const float value : chain) sum += value;
  sink.store(sum, std::memory_order_relaxed);
}

double on_threads(int threads, const std::function<void(size_t)>& work) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> team;
  for (int i = 1; i < threads; ++i) team.emplace_back([&, i] { work(static_cast<size_t>(i)); });
  work(0);
  for (std::thread& thread : team) thread.join();
  return seconds_since(start);
}

}  // namespace

Calibration calibrate(int threads) {
  std::atomic<float> sink;
  std::vector<std::vector<char>> from(static_cast<size_t>(threads)), to(static_cast<size_t>(threads));
  for (auto& buffer : from) buffer.assign(kCopyBytes, 1);
  for (auto& buffer : to) buffer.assign(kCopyBytes, 2);
  Calibration best{1e9, 1e9};
  for (int run = 0; run < 3; ++run) {
    best.compute_seconds = std::min(best.compute_seconds, on_threads(threads, [&](size_t) { multiply_add(sink); }));
    best.copy_seconds =
        std::min(best.copy_seconds, on_threads(threads, [&](size_t i) {
                   for (int pass = 0; pass < 16; ++pass)
                     std::memcpy((pass % 2 ? from : to)[i].data(), (pass % 2 ? to : from)[i].data(), kCopyBytes);
                 }));
  }
  return best;
}

}  // namespace engine::bench
