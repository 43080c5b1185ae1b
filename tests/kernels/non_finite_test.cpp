#include "kernels/non_finite.h"

#include <cmath>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include "tests/kernels/guarded.h"

namespace engine::testing {
namespace {

using namespace kernels;

const double kInfinity = std::numeric_limits<double>::infinity();

// What `found` holds after a search of these arrays, marked n, n-1, ..., 1.
uint32_t found_in(const std::vector<Array>& arrays, int64_t offset, uint32_t before = 0) {
  std::deque<Guarded> on_device;
  std::vector<FloatChunk> chunks;
  for (const Array& array : arrays) {
    on_device.push_back(floats_of(array, offset));
    chunks.push_back({.data = on_device.back().floats(),
                      .count = static_cast<int32_t>(array.size()),
                      .mark = static_cast<uint32_t>(arrays.size() - chunks.size())});
  }
  const DeviceBuffer<FloatChunk> table(chunks);
  const DeviceBuffer<uint32_t> found(std::vector<uint32_t>{before});
  EXPECT_TRUE(find_non_finite(
      {.chunks = table.data(), .num_chunks = static_cast<int64_t>(chunks.size()), .found = found.data()}, nullptr));
  return found.values()[0];
}

TEST(FindNonFinite, SeesEveryElementOfAChunk) {
  for (const size_t count : {size_t{1}, size_t{3}, size_t{1000}, size_t{4096}, size_t{4099}}) {
    Array values = normal_array(static_cast<int64_t>(count), DType::f32, count);
    values[count / 2] = -3.4028234663852886e38;  // the largest that is finite
    for (const int64_t offset : {0, 1}) {
      SCOPED_TRACE(std::to_string(count) + " elements, offset " + std::to_string(offset));
      EXPECT_EQ(found_in({values}, offset), 0u);
      for (const double bad : {kInfinity, -kInfinity, std::nan("")})
        for (const size_t position : {size_t{0}, count / 2, count - 1}) {
          Array changed = values;
          changed[position] = bad;
          EXPECT_EQ(found_in({changed}, offset), 1u) << bad << " at " << position;
        }
    }
  }
}

TEST(FindNonFinite, KeepsTheLargestMark) {
  const Array fine = normal_array(300, DType::f32, 1), bad(300, kInfinity);
  EXPECT_EQ(found_in({fine, fine, fine}, 0), 0u);
  EXPECT_EQ(found_in({fine, bad, fine, bad}, 0), 3u) << "the second of four";
  EXPECT_EQ(found_in({fine, bad}, 0, 7), 7u) << "what was found before";
  EXPECT_EQ(found_in(std::vector<Array>(70, bad), 0), 70u);
}

TEST(FindNonFinite, RefusesWhatItCannotDo) {
  EXPECT_TRUE(find_non_finite({}, nullptr));
  EXPECT_FALSE(find_non_finite({.num_chunks = 1}, nullptr));
  EXPECT_FALSE(find_non_finite({.num_chunks = -1}, nullptr));
  EXPECT_EQ(find_non_finite_cost({.num_chunks = 2}, 100).bytes, 432);
}

}  // namespace
}  // namespace engine::testing
