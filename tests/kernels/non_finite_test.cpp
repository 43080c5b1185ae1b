#include "kernels/non_finite.h"

#include <cmath>
#include <deque>
#include <limits>
#include <vector>

#include "tests/kernels/guarded.h"

namespace engine::testing {
namespace {

using namespace kernels;

std::vector<uint8_t> flags_of(const std::vector<Array>& arrays, int64_t offset) {
  std::deque<Guarded> on_device;
  std::vector<FloatChunk> chunks;
  for (const Array& array : arrays) {
    on_device.push_back(floats_of(array, offset));
    chunks.push_back({on_device.back().floats(), static_cast<int64_t>(array.size())});
  }
  const DeviceBuffer<FloatChunk> table(chunks);
  const DeviceBuffer<uint8_t> flags(std::vector<uint8_t>(chunks.size(), 77));
  EXPECT_TRUE(find_non_finite(
      {.chunks = table.data(), .num_chunks = static_cast<int64_t>(chunks.size()), .flags = flags.data()}, nullptr));
  return flags.values();
}

TEST(FindNonFinite, FlagsTheChunksThatHoldOne) {
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<Array> arrays;
  std::vector<uint8_t> expected;
  for (const size_t count : {size_t{1}, size_t{3}, size_t{1000}, size_t{4096}, size_t{4099}}) {
    Array values = normal_array(static_cast<int64_t>(count), DType::f32, count);
    values[count / 2] = -3.4028234663852886e38;  // the largest that is finite
    arrays.push_back(values);
    expected.push_back(0);
    for (const double bad : {infinity, -infinity, std::nan("")})
      for (const size_t position : {size_t{0}, count / 2, count - 1}) {
        arrays.push_back(values);
        arrays.back()[position] = bad;
        expected.push_back(1);
      }
  }
  for (const int64_t offset : {0, 1}) EXPECT_EQ(flags_of(arrays, offset), expected) << "offset " << offset;
}

TEST(FindNonFinite, RefusesWhatItCannotDo) {
  EXPECT_TRUE(find_non_finite({}, nullptr));
  EXPECT_FALSE(find_non_finite({.num_chunks = 1}, nullptr));
  EXPECT_FALSE(find_non_finite({.num_chunks = -1}, nullptr));
  EXPECT_EQ(find_non_finite_cost({.num_chunks = 2}, 100).bytes, 434);
}

}  // namespace
}  // namespace engine::testing
