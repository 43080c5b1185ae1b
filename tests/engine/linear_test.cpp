#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "engine/backend.h"
#include "engine/cpu/backend.h"
#include "engine/error.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

struct Case {
  const char* name;
  int64_t n, c, k;
};

class LinearTest : public ::testing::TestWithParam<std::tuple<Case, DType>> {
 protected:
  void SetUp() override {
    const auto& [c, type] = GetParam();
    if (on_cpu() && type == DType::bf16 && !cpu::supports_bf16())
      GTEST_SKIP() << "this processor has no bf16 instructions";
    dtype = type;
    n = c.n, in = c.c, out = c.k;
  }
  Tensor activation(const Array& values, int64_t columns) const { return tensor_of(values, {n, columns}, dtype); }
  static auto at(const Array& values, int64_t columns) {
    return [&values, columns](int64_t i, int64_t j) { return values[static_cast<size_t>(i * columns + j)]; };
  }
  static auto transposed(const Array& values, int64_t columns) {
    return [&values, columns](int64_t i, int64_t j) { return values[static_cast<size_t>(j * columns + i)]; };
  }

  // Exact over integers, then within the bound. `compute` and `expect` take the operands.
  template <class Compute, class Expect>
  void check(DType result, const Shape& shape, const Compute& compute, const Expect& expect) {
    const Array x = sparse_integers(n * in, 1, 4), w = sparse_integers(out * in, 2, 4),
                dy = sparse_integers(n * out, 3, 4);
    EXPECT_TRUE(equal_to(compute(x, w, dy), rounded(expect(x, w, dy).value, result), shape));
    const Array xr = normal_array(n * in, dtype, 4), wr = normal_array(out * in, dtype, 5);
    const Array dyr = normal_array(n * out, dtype, 6);
    EXPECT_TRUE(close_to(compute(xr, wr, dyr), expect(xr, wr, dyr), result, shape));
  }

  int64_t n = 0, in = 0, out = 0;
  DType dtype{};
};

TEST_P(LinearTest, Forward) {
  const Array bias = sparse_integers(out, 7, 2);
  check(
      dtype, {n, out},
      [&](const Array& x, const Array& w, const Array&) {
        const Tensor y = empty_tensor({n, out}, dtype);
        backend(test_device()).linear_forward(activation(x, in), tensor_of(w, {out, in}), tensor_of(bias, {out}), y);
        return array_of(y);
      },
      [&](const Array& x, const Array& w, const Array&) {
        Expected y = product(n, in, out, at(x, in), transposed(w, in));
        for (size_t i = 0; i < y.value.size(); ++i) y.value[i] += bias[i % static_cast<size_t>(out)];
        return y;
      });
}

TEST_P(LinearTest, BackwardData) {
  check(
      dtype, {n, in},
      [&](const Array& x, const Array& w, const Array& dy) {
        const Tensor dx = empty_tensor({n, in}, dtype);
        backend(test_device())
            .linear_backward(activation(x, in), tensor_of(w, {out, in}), activation(dy, out), dx, {}, {});
        return array_of(dx);
      },
      [&](const Array&, const Array& w, const Array& dy) { return product(n, out, in, at(dy, out), at(w, in)); });
}

TEST_P(LinearTest, BackwardWeights) {
  check(
      DType::f32, {out, in},
      [&](const Array& x, const Array& w, const Array& dy) {
        const Tensor dw = empty_tensor({out, in});
        backend(test_device())
            .linear_backward(activation(x, in), tensor_of(w, {out, in}), activation(dy, out), {}, dw, {});
        return array_of(dw);
      },
      [&](const Array& x, const Array&, const Array& dy) {
        return product(out, n, in, transposed(dy, out), at(x, in));
      });
}

TEST_P(LinearTest, BackwardBias) {
  check(
      DType::f32, {out},
      [&](const Array& x, const Array& w, const Array& dy) {
        const Tensor dbias = empty_tensor({out});
        backend(test_device())
            .linear_backward(activation(x, in), tensor_of(w, {out, in}), activation(dy, out), {}, {}, dbias);
        return array_of(dbias);
      },
      [&](const Array&, const Array&, const Array& dy) { return channel_sums(dy, out); });
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearTest,
                         ::testing::Combine(::testing::Values(Case{"imagenet", 8, 512, 1000},
                                                              Case{"cifar", 128, 64, 10}, Case{"one", 1, 16, 2},
                                                              Case{"odd", 3, 37, 5}),
                                            ::testing::ValuesIn(activation_types())),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param));
                         });

// In a process of its own, where the library believes that it runs on an older processor.
TEST(Bf16DeathTest, IsRefusedWithoutItsInstructions) {
  if (!on_cpu()) GTEST_SKIP() << "about the cpu";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto multiply = [] {
    setenv("DNNL_MAX_CPU_ISA", "AVX2", 1);
    const Tensor x = make_tensor({1, 16}, DType::bf16, {}), y = make_tensor({1, 2}, DType::bf16, {});
    try {
      backend(test_device()).linear_forward(x, Tensor::zeros({2, 16}), {}, y);
    } catch (const Error& e) {
      std::fputs(e.what(), stderr);
      std::exit(static_cast<int>(e.kind()));
    }
    std::exit(0);
  };
  EXPECT_EXIT(multiply(), ::testing::ExitedWithCode(static_cast<int>(ErrorKind::device)),
              "linear: bf16 on a processor with .* and no bf16 instructions.*use f32");
}

}  // namespace
}  // namespace engine::testing
