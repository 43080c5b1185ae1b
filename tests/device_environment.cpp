// Skips all tests of a program whose device is not there. Linked into the programs that run on each device, so that
// tests which only use the common headers need no backend.
#include "tests/device.h"

namespace engine::testing {
namespace {

class DeviceEnvironment : public ::testing::Environment {
 public:
  void SetUp() override {
    std::string reason;
    if (!available(test_device(), &reason)) GTEST_SKIP() << test_device() << ": " << reason;
  }
};
::testing::Environment* const device_environment =
    ::testing::AddGlobalTestEnvironment(new DeviceEnvironment);  // NOLINT: GoogleTest owns it

}  // namespace
}  // namespace engine::testing
