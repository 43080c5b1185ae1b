// What the system tells of its processors, read from folders as it has them.
#include "bench/device_monitor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

using namespace engine::bench;

namespace fs = std::filesystem;

namespace {

class SystemFiles : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("engine-system-files-" + std::to_string(getpid()));
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const fs::path& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  fs::path root_;
};

TEST_F(SystemFiles, MayBeMissing) {
  const ProcessorState state = processor_state(root_);
  EXPECT_FALSE(state.mhz);
  EXPECT_FALSE(state.celsius);
  EXPECT_FALSE(state.thermal);
  EXPECT_EQ(processor_time(root_).all, 0);
}

TEST_F(SystemFiles, GiveTheMeanClock) {
  write("devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3000000\n");
  write("devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "2000000\n");
  write("devices/system/cpu/cpufreq/scaling_cur_freq", "9\n");  // not a processor's
  EXPECT_DOUBLE_EQ(processor_state(root_).mhz.value(), 2500);
}

TEST_F(SystemFiles, GiveTheHottestZone) {
  write("class/thermal/thermal_zone0/temp", "45000\n");
  write("class/thermal/thermal_zone1/temp", "71500\n");
  write("class/thermal/cooling_device0/temp", "99000\n");
  EXPECT_DOUBLE_EQ(processor_state(root_).celsius.value(), 71.5);
}

TEST_F(SystemFiles, AddUpThermalEvents) {
  write("devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n");
  write("devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "4\n");
  write("devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "10\n");
  EXPECT_EQ(processor_state(root_).thermal.value(), 17);
}

TEST_F(SystemFiles, DivideProcessorTime) {
  write("stat", "cpu  100 20 30 400 50 6 4 70 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n");
  const ProcessorTime time = processor_time(root_);
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  EXPECT_DOUBLE_EQ(time.busy, 160 * tick);
  EXPECT_DOUBLE_EQ(time.stolen, 70 * tick);
  EXPECT_DOUBLE_EQ(time.all, 680 * tick);
}

TEST(Monitor, CountsSharesOfTheMachine) {
  DeviceMonitor monitor({});
  monitor.begin();
  monitor.end();
  EXPECT_GE(monitor.other_cpu(), 0);
  EXPECT_LE(monitor.other_cpu(), 1);
  EXPECT_FALSE(monitor.watts());
  EXPECT_FALSE(monitor.driver_version());
}

TEST(Nvml, ReadsTheStateOfTheGpuWithAUuid) {
  ::setenv("ENGINE_NVML", FAKE_NVML, 1);
  const auto nvml = Nvml::open("1234");
  ASSERT_NE(nvml, nullptr);
  const GpuState state = nvml->state();
  EXPECT_DOUBLE_EQ(state.mhz.value(), 1980);
  EXPECT_DOUBLE_EQ(state.watts.value(), 650.5);
  EXPECT_DOUBLE_EQ(state.celsius.value(), 61);
  EXPECT_EQ(state.clock_reasons, kClockPowerCap);
  EXPECT_EQ(nvml->driver_version(), "580.1");
}

TEST(Nvml, IsAbsentForAnotherGpu) {
  ::setenv("ENGINE_NVML", FAKE_NVML, 1);
  EXPECT_EQ(Nvml::open("GPU-5678"), nullptr);
}

TEST(Nvml, IsAbsentWithoutItsLibrary) {
  ::setenv("ENGINE_NVML", "/nowhere/libnvidia-ml.so", 1);
  EXPECT_EQ(Nvml::open("GPU-00000000-0000-0000-0000-000000000000"), nullptr);
}

}  // namespace
