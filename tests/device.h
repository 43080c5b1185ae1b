#pragma once
// The device that a test program runs on: what the environment variable ENGINE_TEST_DEVICE names (cpu, emulated, cuda;
// cpu without it). ctest runs the programs of tests/engine once on each. Where there is no GPU, all tests of a run on
// cuda are skipped, with the reason.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/dtype.h"
#include "engine/storage.h"

namespace engine::testing {

inline Device test_device() {
  static const Device device = [] {
    const char* name = std::getenv("ENGINE_TEST_DEVICE");
    const std::string text = name ? name : "cpu";
    if (text == "cuda") return Device{DeviceType::cuda};
    if (text == "emulated") return Device{DeviceType::emulated};
    EXPECT_EQ(text, "cpu") << "ENGINE_TEST_DEVICE";
    return Device{};
  }();
  return device;
}

inline bool on_cpu() {
  return test_device().type == DeviceType::cpu;
}

// Only the CPU keeps activations in a private layout.
inline Layout test_layout(Layout layout) {
  return on_cpu() ? layout : Layout::nhwc;
}

// What activations may be stored as there.
inline std::vector<DType> activation_types() {
  if (on_cpu()) return {DType::f32, DType::bf16};
  return {DType::f32, DType::bf16, DType::f16};
}

}  // namespace engine::testing
