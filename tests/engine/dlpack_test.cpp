// Memory shared with others through DLPack. They are played by the test: it reads and writes what the structures say.
#include "engine/dlpack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "engine/autograd.h"
#include "engine/error.h"
#include "engine/ops/conv.h"
#include "engine/ops/norm.h"
#include "tests/arrays.h"
#include "tests/engine/error_text.h"

namespace {

using namespace engine;
using namespace engine::testing;
using dlpack::DLManagedTensor;
using dlpack::DLManagedTensorVersioned;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Managed = std::unique_ptr<DLManagedTensorVersioned, void (*)(DLManagedTensorVersioned*)>;

Managed shared(const Tensor& x) {
  DLManagedTensorVersioned* managed = to_dlpack(x);
  return {managed, managed->deleter};
}

// [2,3] f32 of somebody else, in host memory. How often he was told that it is no longer needed is counted.
struct Foreign {
  alignas(64) std::array<float, 8> values = {1, 2, 3, 4, 5, 6, 7, 8};
  std::array<int64_t, 2> shape = {2, 3}, strides = {3, 1};
  int released = 0;
  DLManagedTensorVersioned managed;

  Foreign() {
    managed.context = this;
    managed.deleter = [](DLManagedTensorVersioned* self) { ++static_cast<Foreign*>(self->context)->released; };
    managed.tensor.data = values.data();
    managed.tensor.ndim = 2;
    managed.tensor.shape = shape.data();
    managed.tensor.strides = strides.data();
  }
};

bool host_can_reach_memory() {
  return test_device().type != DeviceType::cuda;
}

TEST(ToDlpack, DescribesTheTensor) {
  const Tensor x = full_tensor({2, 3, 5, 4}, 1.5);
  const Managed managed = shared(x);
  EXPECT_EQ(managed->version.major, 1u);
  EXPECT_EQ(managed->version.minor, 1u);
  EXPECT_EQ(managed->flags, 0u);
  const dlpack::DLTensor& view = managed->tensor;
  EXPECT_EQ(view.data, x.data<float>());
  EXPECT_EQ(view.byte_offset, 0u);
  EXPECT_EQ(view.device.kind, test_device().type == DeviceType::cuda ? dlpack::kCuda : dlpack::kCpu);
  EXPECT_EQ(view.device.index, 0);
  ASSERT_EQ(view.ndim, 4);
  EXPECT_THAT(std::vector(view.shape, view.shape + 4), ElementsAre(2, 3, 5, 4));
  EXPECT_THAT(std::vector(view.strides, view.strides + 4), ElementsAre(60, 20, 4, 1));
}

TEST(ToDlpack, NamesEachType) {
  const auto type = [](DType dtype) {
    const Managed managed = shared(empty_tensor({1}, dtype));
    return std::vector<int>{managed->tensor.dtype.code, managed->tensor.dtype.bits, managed->tensor.dtype.lanes};
  };
  EXPECT_THAT(type(DType::f32), ElementsAre(2, 32, 1));
  EXPECT_THAT(type(DType::f16), ElementsAre(2, 16, 1));
  EXPECT_THAT(type(DType::bf16), ElementsAre(4, 16, 1));
  EXPECT_THAT(type(DType::u8), ElementsAre(1, 8, 1));
  EXPECT_THAT(type(DType::i64), ElementsAre(0, 64, 1));
}

TEST(ToDlpack, KeepsTheMemoryUntilTheDeleterIsCalled) {
  Tensor x = full_tensor({1 << 16}, 2);
  const size_t with_x = memory_stats(test_device()).in_use;
  {
    const Managed managed = shared(x);
    x = {};
    EXPECT_EQ(memory_stats(test_device()).in_use, with_x);
    if (host_can_reach_memory()) {
      EXPECT_EQ(static_cast<float*>(managed->tensor.data)[9], 2);
    }
  }
  EXPECT_LT(memory_stats(test_device()).in_use, with_x);
}

TEST(ToDlpack, MakesAPrivateLayoutRowMajor) {
  const Array values = normal_array(2 * 3 * 3 * 16, DType::f32, 1);
  const Tensor x = tensor_of(values, {2, 3, 3, 16}, DType::f32, Layout::blocked16);
  const Managed managed = shared(x);
  EXPECT_EQ(layout_of(x), Layout::nhwc);
  EXPECT_EQ(managed->tensor.data, x.raw());
  EXPECT_EQ(array_of(x), values);
}

TEST(ToDlpack, SharesALeafWithoutItsPlaceInTheTape) {
  Tensor x = full_tensor({3}, 1).set_requires_grad(true);
  DLManagedTensor* managed = to_dlpack_legacy(x);
  EXPECT_EQ(managed->tensor.data, x.raw());
  if (host_can_reach_memory()) {
    static_cast<float*>(managed->tensor.data)[1] = 7;
    EXPECT_THAT(x.to_vector<float>(), ElementsAre(1, 7, 1));
  }
  EXPECT_TRUE(x.requires_grad());
  managed->deleter(managed);
}

// Rounded filters and folded batch norms are kept until a parameter changes. Others' writes are not counted.
TEST(ToDlpack, WritesOfOthersReachWhatIsDerivedFromAParameter) {
  if (!host_can_reach_memory()) GTEST_SKIP() << "the host does not reach this device's memory";
  const Tensor x = full_tensor({1, 4, 4, 16}, 1, best_dtype(test_device())), w = full_tensor({16, 1, 1, 16}, 0.5);
  const BatchNormState bn = {.gamma = full_tensor({16}, 1),
                             .beta = full_tensor({16}, 0),
                             .running_mean = full_tensor({16}, 0),
                             .running_var = full_tensor({16}, 1),
                             .eps = 0};
  const auto result = [&] { return array_of(conv_bn_relu(x, w, bn, {.training = false}))[0]; };
  const Managed filter = shared(w), gamma = shared(bn.gamma);
  EXPECT_EQ(result(), 8);
  for (int64_t i = 0; i < w.numel(); ++i) static_cast<float*>(filter->tensor.data)[i] = 0.25;
  EXPECT_EQ(result(), 4);
  for (int64_t i = 0; i < 16; ++i) static_cast<float*>(gamma->tensor.data)[i] = 2;
  EXPECT_EQ(result(), 8);
}

TEST(FromDlpack, SharesMemoryBothWays) {
  Foreign foreign;
  Tensor x = from_dlpack(&foreign.managed);
  EXPECT_EQ(x.shape(), (Shape{2, 3}));
  EXPECT_EQ(x.device(), Device{});
  EXPECT_EQ(x.data<float>(), foreign.values.data());
  foreign.values[4] = 50;
  EXPECT_THAT(x.values<float>(), ElementsAre(1, 2, 3, 4, 50, 6));
  x.mutable_values<float>()[0] = -1;
  EXPECT_EQ(foreign.values[0], -1);
}

TEST(FromDlpack, LetsGoWhenTheLastTensorIsGone) {
  Foreign foreign;
  Tensor x = from_dlpack(&foreign.managed);
  Tensor same = x.reshape({6});
  x = {};
  EXPECT_EQ(foreign.released, 0);
  same = {};
  EXPECT_EQ(foreign.released, 1);
}

TEST(FromDlpack, OpsDoNotWriteIntoIt) {
  Foreign foreign;
  Tensor leaf = Tensor::full({2, 3}, 1).set_requires_grad(true);
  record(leaf.detach(), {leaf}, [](const Tensor& dy) {
    EXPECT_FALSE(dy.unique());
    return Tensors{dy};
  }).backward(from_dlpack(&foreign.managed));
  EXPECT_NE(leaf.grad().data<float>(), foreign.values.data());
}

TEST(FromDlpack, TakesEveryWayToSayRowMajor) {
  Foreign no_strides;
  no_strides.managed.tensor.strides = nullptr;
  EXPECT_THAT(from_dlpack(&no_strides.managed).values<float>(), ElementsAre(1, 2, 3, 4, 5, 6));

  Foreign single;
  single.shape = {1, 3};
  single.strides = {77, 1};
  EXPECT_THAT(from_dlpack(&single.managed).values<float>(), ElementsAre(1, 2, 3));

  Foreign offset;
  offset.managed.tensor.byte_offset = 2 * sizeof(float);
  EXPECT_THAT(from_dlpack(&offset.managed).values<float>(), ElementsAre(3, 4, 5, 6, 7, 8));

  Foreign scalar;
  scalar.managed.tensor.ndim = 0;
  EXPECT_EQ(from_dlpack(&scalar.managed).item(), 1);

  Foreign empty;
  empty.shape = {0, 3};
  empty.managed.tensor.data = nullptr;
  EXPECT_EQ(from_dlpack(&empty.managed).numel(), 0);
}

TEST(FromDlpack, TakesTheLegacyForm) {
  Foreign foreign;
  static int released;
  released = 0;
  DLManagedTensor legacy = {.tensor = foreign.managed.tensor, .deleter = [](DLManagedTensor*) { ++released; }};
  EXPECT_EQ(from_dlpack(&legacy).data<float>(), foreign.values.data());
  EXPECT_EQ(released, 1);
}

TEST(FromDlpack, ComesBackAsTheSameMemory) {
  if (test_device().type == DeviceType::emulated) GTEST_SKIP() << "emulated memory comes back as the host's";
  const Tensor x = full_tensor({4, 4}, 3);
  const Tensor again = from_dlpack(to_dlpack(x));
  EXPECT_EQ(again.device(), x.device());
  EXPECT_EQ(again.raw(), x.raw());
}

TEST(FromDlpack, OnAGpuWantsSixteenBytes) {
  if (test_device().type != DeviceType::cuda) GTEST_SKIP() << "no GPU is tested";
  const Managed managed = shared(full_tensor({8}, 1));
  managed->tensor.ndim = 0;
  managed->tensor.byte_offset = 4;
  EXPECT_THAT(error_text([&] { from_dlpack(managed.get()); }), HasSubstr("4 bytes behind a multiple of 16; clone"));
}

TEST(FromDlpack, HonoursReadOnly) {
  Foreign foreign;
  foreign.managed.flags = dlpack::kReadOnly;
  Tensor x = from_dlpack(&foreign.managed);
  EXPECT_EQ(x.values<float>()[5], 6);
  const char* const refused = "whoever shares this memory allows no writing; write to a clone()";
  EXPECT_THAT(error_text([&] { x.mutable_values<float>(); }), HasSubstr(refused));
  EXPECT_THAT(error_text([&] { x.copy_from(Tensor::full({2, 3}, 9)); }), HasSubstr(refused));
  EXPECT_THAT(error_text([&] { x.set_requires_grad(true); }), HasSubstr("cannot be trained; train a clone()"));
  EXPECT_THAT(error_text([&] { to_dlpack_legacy(x); }), HasSubstr("use to_dlpack()"));
  EXPECT_EQ(shared(x)->flags, dlpack::kReadOnly);
  EXPECT_EQ(foreign.values[0], 1);

  foreign.shape = {1, 3};
  const Tensor mean = x.reshape({6}), images = Tensor::full({1, 2, 2, 6}, 1), ones = Tensor::full({6}, 1);
  const BatchNormState bn = {.gamma = ones, .beta = ones, .running_mean = mean, .running_var = ones.clone()};
  EXPECT_THAT(error_text([&] { batch_norm(images, bn); }), HasSubstr(refused));
  EXPECT_EQ(foreign.values[0], 1);
}

TEST(FromDlpack, RefusesWhatATensorCannotBe) {
  const auto refusal = [](const auto& change) {
    Foreign foreign;
    change(foreign);
    const std::string text = error_text([&] { from_dlpack(&foreign.managed); });
    EXPECT_EQ(foreign.released, 0) << "it stays the caller's";
    return text;
  };
  EXPECT_THAT(refusal([](Foreign& f) {
                f.strides = {1, 2};
              }),
              HasSubstr("the shape is [2,3] with strides [1,2], expected row-major elements"));
  EXPECT_THAT(refusal([](Foreign& f) { f.strides = {4, 1}; }), HasSubstr("without gaps"));
  EXPECT_THAT(refusal([](Foreign& f) { f.managed.tensor.dtype.bits = 64; }),
              HasSubstr("type code 2 with 64 bits and 1 lanes, expected f32, bf16, f16, u8 or i64"));
  EXPECT_THAT(refusal([](Foreign& f) { f.managed.tensor.dtype.lanes = 4; }), HasSubstr("4 lanes"));
  EXPECT_THAT(refusal([](Foreign& f) { f.managed.tensor.ndim = 7; }), HasSubstr("7 axes, expected at most 6"));
  EXPECT_THAT(refusal([](Foreign& f) { f.managed.tensor.device.kind = 10; }), HasSubstr("a device of kind 10"));
  EXPECT_THAT(refusal([](Foreign& f) { f.managed.version.major = 2; }), HasSubstr("DLPack 2.1, expected 1.x"));
  EXPECT_THAT(refusal([](Foreign& f) { f.managed.tensor.byte_offset = 2; }),
              HasSubstr("2 bytes behind a multiple of 4"));
  EXPECT_THAT(refusal([](Foreign& f) { f.managed.tensor.data = nullptr; }), HasSubstr("without an address"));
}

}  // namespace
