// Why there is no GPU to use, in sentences that say what to do.
#include "engine/cuda/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/train/device_choice.h"
#include "tests/cuda/fake_module.h"

namespace engine::cuda {
namespace {

using kernels::Problem;
using kernels::Status;
using ::testing::HasSubstr;

class CudaLoad : public ::testing::Test {
 protected:
  CudaLoad() {
    unsetenv("CUDA_VISIBLE_DEVICES");
    fake.runtime.name = "CUDA";
    fake.runtime.versions = [](kernels::RuntimeVersions* out) {
      *out = {.runtime = 13000, .driver = 12040};
      return Status{};
    };
    fake.module.build = "nvcc 13.0.88, 80-real 90a-real";
  }
  std::string reason(int index = 0) const { return why_unusable(fake.module, index); }

  engine::testing::FakeModule fake;
};

TEST_F(CudaLoad, AWorkingDeviceHasNoReason) {
  EXPECT_EQ(reason(), "");
}

TEST_F(CudaLoad, NoDriver) {
  fake.runtime.device_count = [](int*) { return Status{Problem::no_driver, 35, "driver version is insufficient"}; };
  EXPECT_EQ(reason(),
            "no NVIDIA driver: this build needs one for CUDA 13.0; install 580 or newer (nvidia-smi must run), or "
            "use --device cpu");
}

TEST_F(CudaLoad, OldDriver) {
  fake.runtime.device_count = [](int*) { return Status{Problem::old_driver, 35, "driver version is insufficient"}; };
  EXPECT_EQ(
      reason(),
      "the NVIDIA driver is too old: it supports CUDA 12.4, this build needs CUDA 13.0; update the driver to 580 or "
      "newer, or use --device cpu");
}

TEST_F(CudaLoad, NoGpu) {
  fake.runtime.device_count = [](int* out) {
    *out = 0;
    return Status{Problem::no_device, 100, "no CUDA-capable device is detected"};
  };
  EXPECT_EQ(reason(),
            "no GPU: the driver is there, but shows none to this process; see nvidia-smi, or use --device cpu");
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  EXPECT_EQ(reason(),
            "no GPU: the driver is there, but shows none to this process; see nvidia-smi, and unset "
            "CUDA_VISIBLE_DEVICES (now \"\"), or use --device cpu");
}

TEST_F(CudaLoad, NoSuchGpu) {
  EXPECT_EQ(reason(3), "there is no GPU 3, this process sees 1 (cuda:0): name one of those, or use --device cpu");
}

TEST_F(CudaLoad, NoKernelForThisGpu) {
  fake.runtime.device_properties = [](int, kernels::DeviceProperties* out) {
    std::snprintf(out->name, sizeof out->name, "NVIDIA B200");
    out->major = 10;
    out->minor = 0;
    return Status{};
  };
  fake.runtime.last_error = [] { return Status{Problem::no_code_for_device, 209, "no kernel image is available"}; };
  EXPECT_EQ(reason(),
            "no kernel for this GPU: NVIDIA B200 has compute capability 10.0, libengine_cuda.so was built by nvcc "
            "13.0.88, 80-real 90a-real; build it with -DCMAKE_CUDA_ARCHITECTURES=100, or use --device cpu");
}

TEST_F(CudaLoad, AGpuThatIsTooOld) {
  fake.runtime.device_properties = [](int, kernels::DeviceProperties* out) {
    std::snprintf(out->name, sizeof out->name, "NVIDIA GeForce GTX 1080");
    out->major = 6;
    out->minor = 1;
    return Status{};
  };
  fake.runtime.last_error = [] { return Status{Problem::no_code_for_device, 209, "no kernel image is available"}; };
  EXPECT_EQ(
      reason(),
      "no kernel for this GPU: NVIDIA GeForce GTX 1080 has compute capability 6.1, the kernels need 8.0 or newer: "
      "take another GPU, or use --device cpu");
}

TEST(HasMachineCode, OfThisGpuOrAnOlderOneOfItsMajorNumber) {
  const char* const build = "nvcc 13.0.88, 80 90a-real 120-virtual";
  EXPECT_TRUE(has_machine_code(build, 8, 0));
  EXPECT_TRUE(has_machine_code(build, 8, 9));
  EXPECT_TRUE(has_machine_code(build, 9, 0));
  EXPECT_FALSE(has_machine_code(build, 9, 1)) << "90a is for 9.0 alone";
  EXPECT_FALSE(has_machine_code(build, 12, 0)) << "PTX is no machine code";
  EXPECT_FALSE(has_machine_code(build, 13, 0)) << "the compiler's version is no GPU";
  EXPECT_FALSE(has_machine_code("nvcc 13.0.88, 86-real", 8, 0));
}

TEST_F(CudaLoad, ABrokenGpu) {
  fake.runtime.stream_synchronize = [](kernels::Stream) {
    return Status{Problem::other, 214, "uncorrectable ECC error"};
  };
  EXPECT_EQ(reason(),
            "emulated GPU does not work: uncorrectable ECC error (CUDA error 214); see nvidia-smi for who uses it, and "
            "dmesg for a fault, or use --device cpu");
}

// In a process of its own, since a module is looked for once.
std::string reason_with_module(const std::string& path) {
  const auto report = [&] {
    setenv("ENGINE_CUDA_MODULE", path.c_str(), 1);
    std::string reason;
    const bool found = cuda_backend(0, &reason) != nullptr;
    std::fprintf(stderr, "%s\n", found ? "found" : reason.c_str());
    std::exit(0);
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::string text;
  EXPECT_EXIT(report(), ::testing::ExitedWithCode(0), ::testing::Truly([&](const std::string& output) {
                text = output;
                return true;
              }));
  return text;
}

TEST(CudaLoadDeathTest, LibraryMissing) {
  EXPECT_THAT(reason_with_module("/nowhere/libengine_cuda.so"),
              AllOf(HasSubstr("/nowhere/libengine_cuda.so cannot be loaded: "), HasSubstr("or use --device cpu")));
}

TEST(CudaLoadDeathTest, LibraryOfAnotherVersion) {
  EXPECT_THAT(reason_with_module(OTHER_MODULE),
              HasSubstr("belongs to another version of this library (interface 999, expected " +
                        std::to_string(kernels::kModuleAbi) + "); build or install both together"));
}

TEST(CudaLoadDeathTest, ALibraryThatIsNotAModule) {
  EXPECT_THAT(reason_with_module("libc.so.6"), HasSubstr("belongs to another version of this library (interface "
                                                         "unknown"));
}

TEST(DeviceChoice, AutoNeverTakesTheEmulator) {
  ASSERT_TRUE(available({DeviceType::emulated}));
  EXPECT_NE(best_device().type, DeviceType::emulated);
  EXPECT_NE(choose_device("auto").device.type, DeviceType::emulated);
  EXPECT_EQ(choose_device("emulated").device, (Device{DeviceType::emulated}));
}

}  // namespace
}  // namespace engine::cuda
