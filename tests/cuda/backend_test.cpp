// What only the CUDA backend does: uploads through pinned memory, copies of parameters in the activations' type, errors
// of the device. On the emulated device; what ops compute is tested in tests/engine for every device.
#include "engine/cuda/backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "engine/error.h"
#include "engine/ops/linear.h"
#include "engine/optim/sgd.h"
#include "tests/cuda/fake_module.h"

namespace engine {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

const Device kDevice = {DeviceType::emulated};

TEST(CudaUpload, TheSourceMayChangeAtOnce) {
  std::vector<float> values(300'000);
  std::vector<Tensor> tensors;
  for (int i = 0; i < 5; ++i) {
    std::fill(values.begin(), values.end(), static_cast<float>(i));
    tensors.push_back(Tensor::from(values, {static_cast<int64_t>(values.size())}, kDevice));
  }
  std::fill(values.begin(), values.end(), -1.0f);
  for (int i = 0; i < 5; ++i)
    EXPECT_THAT(tensors[static_cast<size_t>(i)].to_vector<float>(), Each(static_cast<float>(i)));
}

TEST(CudaUpload, LargerThanTheBuffersGoesInPieces) {
  std::vector<uint8_t> values((size_t{64} << 20) + 12'345);
  std::iota(values.begin(), values.end(), uint8_t{0});
  const Tensor x = Tensor::from(values, {static_cast<int64_t>(values.size())}, kDevice);
  EXPECT_EQ(x.to_vector<uint8_t>(), values);
}

// A bf16 copy of w is kept; everything that changes w must change it.
TEST(CudaParameters, TheRoundedCopyFollowsTheParameter) {
  const Tensor x = Tensor::full({1, 8}, 1, {DType::bf16, kDevice});
  Tensor w = Tensor::full({2, 8}, 1, {DType::f32, kDevice});
  const auto output = [&] { return linear(x, w, {}).to(DType::f32).to_vector<float>(); };
  EXPECT_THAT(output(), Each(8.0f));
  w.copy_from(Tensor::full({2, 8}, 2));
  EXPECT_THAT(output(), Each(16.0f));
  // The optimiser renews it in the same pass.
  w.set_requires_grad(true);
  Sgd sgd({{"w", w}}, {.lr = 0.5f, .momentum = 0.9f});
  for (const float expected : {8.0f * 1.5f, 8.0f * 0.55f}) {
    w.set_grad(Tensor::full({2, 8}, 1, {DType::f32, kDevice}));
    sgd.step();
    for (const float y : output()) EXPECT_NEAR(y, expected, expected * 0x1p-7);
  }
}

TEST(CudaErrors, ARuntimeErrorNamesOperationAndRemedy) {
  testing::FakeModule fake;
  fake.runtime.copy_to_host = [](void*, const void*, size_t, kernels::Stream) {
    return kernels::Status{kernels::Problem::other, 700, "an illegal memory access was encountered"};
  };
  cuda::CudaBackend backend(fake.module, kDevice);
  char byte = 0;
  void* data = backend.allocate(1);
  try {
    backend.download(&byte, data, 1);
    ADD_FAILURE() << "the error was ignored";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(),
                HasSubstr("emulated: download failed: an illegal memory access was encountered (emulator "
                          "error 700); the device is unusable for this process from now on: run it again, "
                          "with --resume auto to go on"));
  }
  backend.release(data, 1);
}

TEST(CudaErrors, AnIntegerTensorIsRefused) {
  const Tensor x = Tensor::full({4}, 1, {DType::u8, kDevice});
  try {
    backend(kDevice).affine(x, 1, 0, x);
    ADD_FAILURE() << "u8 was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_STREQ(error.what(), "affine: u8 on emulated, expected f32, bf16 or f16; convert with to(DType::f32)");
  }
}

TEST(CudaPlans, ComeBackFromTheirText) {
  Backend& device = backend(kDevice);
  device.import_plans(device.export_plans());
  try {
    device.import_plans("{}");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::checkpoint);
    EXPECT_STREQ(error.what(), "import_plans: the text is not a list of emulated's plans (format engine-cuda-plans-1)");
  }
}

}  // namespace
}  // namespace engine
