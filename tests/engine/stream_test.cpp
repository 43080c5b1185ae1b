// What a program's own kernels need of the engine. docs/examples/custom_kernel.cpp launches one.
#include "engine/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/ops/elementwise.h"
#include "tests/arrays.h"
#include "tests/engine/error_text.h"

namespace {

using namespace engine;
using namespace engine::testing;
using ::testing::HasSubstr;

TEST(StreamOf, IsThatOfTheDevicesOperations) {
  if (on_cpu()) {
    EXPECT_THAT(error_text([] { stream_of(Device{}); }), HasSubstr("its operations are done when they return"));
    return;
  }
  EXPECT_NE(stream_of(test_device()), nullptr);
  EXPECT_EQ(stream_of(test_device()), stream_of(test_device()));
}

TEST(CheckLaunch, NamesTheOperation) {
  if (on_cpu()) GTEST_SKIP() << "nothing is launched on the CPU";
  check_launch("blur", test_device(), true);
  EXPECT_THAT(error_text([] { check_launch("blur", test_device(), false); }, ErrorKind::device),
              HasSubstr("blur was not launched; check the shape"));
}

TEST(OrderStreams, TakesTheDefaultStream) {
  if (on_cpu()) GTEST_SKIP() << "the CPU has no streams";
  const Tensor x = full_tensor({1000}, 1) + 1;
  order_streams(test_device(), stream_of(test_device()), nullptr);
  order_streams(test_device(), nullptr, stream_of(test_device()));
  EXPECT_EQ(sum(x).item(), 2000);
}

TEST(Data, IsTheAddressOnTheDevice) {
  Tensor x = tensor_of(normal_array(2 * 16, DType::f32, 1), {1, 1, 2, 16}, DType::f32, Layout::blocked16);
  const uint64_t version = x.storage().version();
  const float* const address = x.data<float>();
  EXPECT_EQ(address, x.raw());
  EXPECT_EQ(layout_of(x), Layout::nhwc);
  EXPECT_EQ(x.storage().version(), version);
  EXPECT_EQ(x.mutable_data<float>(), x.raw());
  EXPECT_GT(x.storage().version(), version);
  EXPECT_THAT(error_text([&] { x.data<int64_t>(); }), HasSubstr("Tensor::data: asked for i64, but the tensor"));
}

}  // namespace
