// main() of kernel tests on the emulator: whatever it found during a test fails that test.
#include "kernels/emulator/report.h"
#include "kernels/emulator/runtime.h"
#include "tests/kernels/device_buffer.h"

namespace engine::testing {
namespace {

class FailOnFindings : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo&) override { kernels::emulator::clear_findings(); }
  void OnTestEnd(const ::testing::TestInfo&) override {
    for (const auto& finding : kernels::emulator::findings())
      ADD_FAILURE() << "emulator: " << finding.text << " (" << finding.count << " times)";
  }
};

}  // namespace

const kernels::Runtime& device() {
  return kernels::emulator::runtime();
}

}  // namespace engine::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::UnitTest::GetInstance()->listeners().Append(new engine::testing::FailOnFindings);
  return RUN_ALL_TESTS();
}
