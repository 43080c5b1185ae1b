#pragma once
// Small kernels whose verdict is known: right ones must run without a finding under every policy, wrong ones must be
// reported.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels/emulator/report.h"
#include "kernels/emulator/runtime.h"
#include "kernels/emulator/settings.h"
#include "kernels/gpu.h"

namespace engine::testing {

namespace gpu = kernels::gpu;
namespace emulator = kernels::emulator;
using emulator::Check;

// Device memory of n elements; not written unless given values.
template <class T>
class Device {
 public:
  explicit Device(size_t n) : n_(n) {
    void* data = nullptr;
    EXPECT_TRUE(emulator::runtime().malloc_device(&data, n * sizeof(T)).ok());
    data_ = static_cast<T*>(data);
  }
  Device(size_t n, T value) : Device(std::vector<T>(n, value)) {}
  explicit Device(const std::vector<T>& values) : Device(values.size()) {
    EXPECT_TRUE(emulator::runtime().copy_to_device(data_, values.data(), n_ * sizeof(T), nullptr).ok());
  }
  ~Device() { emulator::runtime().free_device(data_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  T* data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> result(n_);
    EXPECT_TRUE(emulator::runtime().copy_to_host(result.data(), data_, n_ * sizeof(T), nullptr).ok());
    return result;
  }

 private:
  T* data_ = nullptr;
  size_t n_;
};

struct Policy {
  emulator::Schedule schedule;
  emulator::Async async;
  uint64_t seed = 1;
  std::string name() const;
};
std::vector<Policy> all_policies();

// Within its life the emulator runs under `policy`, forgets earlier findings and does not print new ones.
class WithPolicy {
 public:
  explicit WithPolicy(const Policy& policy);
  ~WithPolicy();
  WithPolicy(const WithPolicy&) = delete;
  WithPolicy& operator=(const WithPolicy&) = delete;

 private:
  emulator::Settings saved_;
};

// All findings since the last clear, one a line.
std::string findings_text();

// Runs `launch` under every policy: no finding.
template <class F>
void expect_clean(F&& launch) {
  for (const Policy& policy : all_policies()) {
    const WithPolicy with(policy);
    launch();
    EXPECT_EQ(emulator::finding_count(), 0) << policy.name() << "\n" << findings_text();
  }
}

// Runs `launch` under every policy: a finding of that kind with that text under each.
template <class F>
void expect_finding(Check check, const std::string& text, F&& launch) {
  for (const Policy& policy : all_policies()) {
    const WithPolicy with(policy);
    launch();
    EXPECT_THAT(findings_text(), ::testing::HasSubstr(text)) << policy.name();
    bool found = false;
    for (const auto& finding : emulator::findings()) found = found || finding.check == check;
    EXPECT_TRUE(found) << policy.name() << ": no finding of kind " << emulator::name_of(check) << "\n"
                       << findings_text();
  }
}

}  // namespace engine::testing
