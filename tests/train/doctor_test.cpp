// What --doctor says of machines that this one is not.
#include "engine/train/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace engine {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class Doctor : public ::testing::Test {
 protected:
  Doctor() { write("/proc/meminfo", "MemTotal: 64000000 kB\nMemAvailable: 32000000 kB\n"); }
  ~Doctor() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string text() const { return diagnose(root_).text; }

  const std::string root_ = ::testing::TempDir() + "doctor_" + std::to_string(::getpid());
};

TEST_F(Doctor, MissesNoGpuWhereThereIsNone) {
  const std::string said = text();
  if (said.find("cuda         cuda:0") != std::string::npos) GTEST_SKIP() << "there is a GPU";
  EXPECT_THAT(said, HasSubstr("\ncuda         not used: "));
  EXPECT_THAT(said, Not(HasSubstr("(!) cuda: ")));
}

TEST_F(Doctor, MissesTheGpuThatTheDriverIsFor) {
  write("/proc/driver/nvidia/version", "NVRM version: 580.65.06\n");
  const std::string said = text();
  if (said.find("cuda         cuda:0") != std::string::npos) GTEST_SKIP() << "there is a GPU";
  EXPECT_THAT(said, HasSubstr("\ncuda         not used  (!)\n"));
  EXPECT_THAT(said, ContainsRegex("\n\\(!\\) cuda: .*, or use --device cpu\n"));
}

TEST_F(Doctor, CountsTheMemoryThatAControlGroupLeaves) {
  EXPECT_THAT(text(), ContainsRegex("\nmemory +[0-9.]+ GB available\n"));
  write("/sys/fs/cgroup/memory.max", "3000000000\n");
  write("/sys/fs/cgroup/memory.current", "2000000000\n");
  EXPECT_THAT(text(), ContainsRegex("\nmemory .*  \\(!\\)\n"));
  EXPECT_THAT(text(),
              HasSubstr("(!) resnet50 at batch 32 takes about 7 GB, resnet20 0.5 GB: use a smaller --batch-size"));
}

}  // namespace
}  // namespace engine
