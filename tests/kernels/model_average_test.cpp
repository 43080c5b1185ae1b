#include "kernels/model_average.h"

#include <cmath>
#include <string>
#include <vector>

#include "tests/kernels/guarded.h"

namespace engine::testing {
namespace {

using namespace kernels;

TEST(ModelAverage, MovesTowardsTheValue) {
  const float decay = 0.75f;
  for (const int64_t offset : {0, 1}) {
    std::vector<Guarded> averages, values;
    std::vector<AverageChunk> chunks;
    std::vector<Expected> expected;
    for (const int64_t count : {1, 3, 64, 1027}) {
      const auto seed = static_cast<uint64_t>(count);
      const Array a = normal_array(count, DType::f32, seed), v = normal_array(count, DType::f32, seed + 1);
      averages.push_back(floats_of(a, offset));
      values.push_back(floats_of(v, offset));
      chunks.push_back({averages.back().floats(), values.back().floats(), static_cast<int32_t>(count)});
      expected.push_back({Array(a.size()), Array(a.size()), 2});
      for (size_t i = 0; i < a.size(); ++i) {
        expected.back().value[i] = double{decay} * a[i] + (1 - double{decay}) * v[i];
        expected.back().magnitude[i] = double{decay} * std::abs(a[i]) + (1 - double{decay}) * std::abs(v[i]);
      }
    }
    const DeviceBuffer<AverageChunk> table(chunks);
    ASSERT_TRUE(model_average({.chunks = table.data(), .num_chunks = 4, .decay = decay}, nullptr));
    for (size_t i = 0; i < averages.size(); ++i)
      EXPECT_TRUE(close_to(averages[i].values(), expected[i], DType::f32, {chunks[i].count}))
          << "offset " << offset << ", " << chunks[i].count << " elements";
  }
}

TEST(ModelAverage, CopiesAtFirst) {
  const Array values = normal_array(70, DType::f32, 1);
  const Guarded average(DataType::f32, 70), value = floats_of(values);  // NaN before
  const DeviceBuffer<AverageChunk> table(std::vector<AverageChunk>{{average.floats(), value.floats(), 70}});
  ASSERT_TRUE(model_average({.chunks = table.data(), .num_chunks = 1, .decay = 0}, nullptr));
  EXPECT_EQ(average.values(), values);
}

TEST(ModelAverage, RefusesWhatItCannotDo) {
  EXPECT_TRUE(model_average({}, nullptr));
  EXPECT_FALSE(model_average({.num_chunks = 1}, nullptr));
  EXPECT_FALSE(model_average({.decay = 1.5f}, nullptr));
  EXPECT_EQ(model_average_cost({.decay = 0.5f}, 10).bytes, 120);
  EXPECT_EQ(model_average_cost({}, 10).bytes, 80);
}

}  // namespace
}  // namespace engine::testing
