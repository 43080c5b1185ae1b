// mbarriers, TMA and stmatrix: the names of sm_90 around its warpgroup products.
#include <cstdint>
#include <vector>

#include "kernels/gpu.h"
#include "tests/kernels/device_buffer.h"

namespace engine::testing {
namespace {

namespace gpu = kernels::gpu;
using gpu::Swizzle;
using gpu::swizzled;
using kernels::DataType;

class Mbarrier : public ::testing::Test {
 protected:
  void SetUp() override {
    if (compute_capability() != 90) GTEST_SKIP() << "mbarriers of sm_90";
  }
};
using Tma = Mbarrier;
using StoreMatrix = Mbarrier;

// ---- mbarriers

// A ring of two slots: two warps fill, one warp empties it.
__global__ void ring_kernel(int* out, int rounds) {
#ifdef GPU_SM90
  constexpr int kSlots = 2, kProducers = 64;
  GPU_SHARED(uint64_t, full, kSlots);
  GPU_SHARED(uint64_t, free, kSlots);
  GPU_SHARED(int, ring, kSlots* kProducers);
  const auto thread = static_cast<int>(threadIdx.x);
  if (thread == 0)
    for (int slot = 0; slot < kSlots; ++slot) {
      gpu::mbar_init(full + slot, kProducers);
      gpu::mbar_init(free + slot, 1);
    }
  __syncthreads();  // the mbarriers are initialised before anybody uses them
  for (int round = 0; round < rounds; ++round) {
    const int slot = round % kSlots;
    const auto parity = static_cast<uint32_t>(round / kSlots % 2);
    if (thread < kProducers) {
      gpu::mbar_wait(free + slot, parity ^ 1u);  // passes in the first turn: no phase has ended
      ring[slot * kProducers + thread] = round * 1000 + thread;
      gpu::mbar_arrive(full + slot);
    } else {
      const int lane = thread - kProducers;
      gpu::mbar_wait(full + slot, parity);
      out[round * 32 + lane] = ring[slot * kProducers + lane] + ring[slot * kProducers + 63 - lane];
      __syncwarp();  // all lanes have read
      if (lane == 0) gpu::mbar_arrive(free + slot);
    }
  }
#endif
}

TEST_F(Mbarrier, OrdersARing) {
  DeviceBuffer<int> out(7 * 32);
  ASSERT_TRUE(gpu::launch(ring_kernel, {.grid = 1, .block = 96}, out.data(), 7));
  const auto values = out.values();
  for (int i = 0; i < 7 * 32; ++i) ASSERT_EQ(values[static_cast<size_t>(i)], i / 32 * 2000 + 63);
}

// ---- Tiled TMA

struct Coordinates {
  int x[5];
};

// Loads one box, and shows shared memory as it is.
template <int RANK>
__global__ void load_kernel(const __grid_constant__ gpu::TensorMap map, uint32_t* out, Coordinates at, int bytes) {
#ifdef GPU_SM90
  GPU_SHARED(uint64_t, full, 1);
  char* box = gpu::dyn_smem();
  if (threadIdx.x == 0) {
    gpu::mbar_init(full, 1);
    gpu::fence_mbar_init();
  }
  __syncthreads();  // the mbarrier is initialised before anybody waits for it
  if (threadIdx.x == 0) {
    gpu::mbar_arrive_expect_tx(full, static_cast<uint32_t>(bytes));
    int c[RANK];
#pragma unroll
    for (int i = 0; i < RANK; ++i) c[i] = at.x[i];
    gpu::tma_load(&map, full, box, c);
  }
  gpu::mbar_wait(full, 0);
  for (int i = static_cast<int>(threadIdx.x); i < bytes / 4; i += static_cast<int>(blockDim.x))
    out[i] = reinterpret_cast<const uint32_t*>(box)[i];
#endif
}

// Stores one box from shared memory that holds `in` as it is.
template <int RANK>
__global__ void store_kernel(const __grid_constant__ gpu::TensorMap map, const uint32_t* in, Coordinates at,
                             int bytes) {
#ifdef GPU_SM90
  char* box = gpu::dyn_smem();
  for (int i = static_cast<int>(threadIdx.x); i < bytes / 4; i += static_cast<int>(blockDim.x))
    reinterpret_cast<uint32_t*>(box)[i] = in[i];
  gpu::fence_proxy_async();  // TMA sees what this thread wrote
  __syncthreads();           // all threads have written and fenced
  if (threadIdx.x == 0) {
    int c[RANK];
#pragma unroll
    for (int i = 0; i < RANK; ++i) c[i] = at.x[i];
    gpu::tma_store(&map, box, c);
    gpu::tma_store_commit();
    gpu::tma_store_wait_read<0>();
  }
#endif
}

// A dense tensor of elements 1, 2, 3, ... and a box that leaves it on both sides of every dimension.
struct TiledCase {
  int rank;
  int element_bytes;
  Swizzle swizzle;
  bool beyond;  // the box ends outside; else it begins there

  int64_t dims[5] = {24, 5, 4, 3, 2};
  int box[5] = {16, 4, 3, 2, 2};
  Coordinates at{};

  void place() {
    if (swizzle != Swizzle::none) box[0] = (16 << static_cast<int>(swizzle)) / element_bytes;
    dims[0] = box[0] + 16 / element_bytes;
    for (int d = 0; d < rank; ++d) at.x[d] = beyond ? static_cast<int>(dims[d]) - box[d] + 1 : -1;
  }
  int64_t elements() const {
    int64_t count = 1;
    for (int d = 0; d < rank; ++d) count *= dims[d];
    return count;
  }
  int box_elements() const {
    int count = 1;
    for (int d = 0; d < rank; ++d) count *= box[d];
    return count;
  }
  // Index in the tensor of element i of the box; -1 outside.
  int64_t index_of(int i) const {
    int64_t index = 0, step = 1;
    for (int d = 0; d < rank; ++d) {
      const int64_t x = at.x[d] + i % box[d];
      if (x < 0 || x >= dims[d]) return -1;
      index += x * step;
      step *= dims[d];
      i /= box[d];
    }
    return index;
  }
  gpu::TiledTensor tensor(const void* base) const {
    gpu::TiledTensor result{
        .type = element_bytes == 4 ? DataType::f32 : DataType::f16, .base = base, .rank = rank, .swizzle = swizzle};
    int64_t stride = element_bytes;
    for (int d = 0; d < rank; ++d) {
      result.dims[d] = dims[d];
      result.stride_bytes[d] = stride;
      result.box[d] = box[d];
      stride *= dims[d];
    }
    return result;
  }
};

// Element `i` of packed 2- or 4-byte numbers.
uint32_t element(const std::vector<uint32_t>& words, int64_t i, int bytes) {
  if (bytes == 4) return words[static_cast<size_t>(i)];
  return words[static_cast<size_t>(i / 2)] >> (i % 2 * 16) & 0xffffu;
}
void set_element(std::vector<uint32_t>& words, int64_t i, int bytes, uint32_t value) {
  uint32_t& word = words[static_cast<size_t>(i * bytes / 4)];
  if (bytes == 4) {
    word = value;
  } else {
    word = i % 2 == 0 ? (word & 0xffff0000u) | value : (word & 0xffffu) | value << 16;
  }
}

// Where element i of a box lies in shared memory, as an element.
int64_t place_in_box(int i, int bytes, Swizzle swizzle) {
  const auto offset = static_cast<uint32_t>(i * bytes);
  return (swizzled(swizzle, offset & ~15u) + offset % 16) / static_cast<uint32_t>(bytes);
}

template <int RANK>
void test_load(const TiledCase& c) {
  std::vector<uint32_t> numbers(static_cast<size_t>(c.elements() * c.element_bytes / 4));
  for (int64_t i = 0; i < c.elements(); ++i) set_element(numbers, i, c.element_bytes, static_cast<uint32_t>(i) + 1);
  const DeviceBuffer<uint32_t> tensor(numbers);
  const int bytes = c.box_elements() * c.element_bytes;
  DeviceBuffer<uint32_t> out(static_cast<size_t>(bytes / 4));
  gpu::TensorMap map;
  ASSERT_TRUE(gpu::make_tensor_map(&map, c.tensor(tensor.data())));
  ASSERT_TRUE(gpu::launch(load_kernel<RANK>, {.grid = 1, .block = 64, .shared_bytes = static_cast<size_t>(bytes)}, map,
                          out.data(), c.at, bytes));
  const auto values = out.values();
  for (int i = 0; i < c.box_elements(); ++i) {
    const int64_t index = c.index_of(i);
    ASSERT_EQ(element(values, place_in_box(i, c.element_bytes, c.swizzle), c.element_bytes),
              index < 0 ? 0u : static_cast<uint32_t>(index) + 1)
        << "element " << i << " of the box";
  }
}

template <int RANK>
void test_store(const TiledCase& c) {
  const int bytes = c.box_elements() * c.element_bytes;
  std::vector<uint32_t> box(static_cast<size_t>(bytes / 4));
  std::vector<uint32_t> expected(static_cast<size_t>(c.elements() * c.element_bytes / 4), 0xffffffffu);
  for (int i = 0; i < c.box_elements(); ++i) {
    const auto value = static_cast<uint32_t>(i) + 1;
    set_element(box, place_in_box(i, c.element_bytes, c.swizzle), c.element_bytes, value);
    if (c.index_of(i) >= 0) set_element(expected, c.index_of(i), c.element_bytes, value);
  }
  const DeviceBuffer<uint32_t> in(box);
  DeviceBuffer<uint32_t> tensor(expected.size());  // all bits set
  gpu::TensorMap map;
  ASSERT_TRUE(gpu::make_tensor_map(&map, c.tensor(tensor.data())));
  ASSERT_TRUE(gpu::launch(store_kernel<RANK>, {.grid = 1, .block = 64, .shared_bytes = static_cast<size_t>(bytes)}, map,
                          in.data(), c.at, bytes));
  EXPECT_EQ(tensor.values(), expected);
}

template <class F>
void for_each_case(int rank, F&& test) {
  for (const int element_bytes : {2, 4})
    for (const Swizzle swizzle : {Swizzle::none, Swizzle::bytes32, Swizzle::bytes64, Swizzle::bytes128})
      for (const bool beyond : {false, true}) {
        TiledCase c{.rank = rank, .element_bytes = element_bytes, .swizzle = swizzle, .beyond = beyond};
        c.place();
        SCOPED_TRACE(::testing::Message() << rank << "-d, " << element_bytes << " bytes, swizzle "
                                          << static_cast<int>(swizzle) << (beyond ? ", beyond the end" : ""));
        test(c);
      }
}

TEST_F(Tma, LoadsBoxesAndFillsWithZeros) {
  for_each_case(1, test_load<1>);
  for_each_case(2, test_load<2>);
  for_each_case(3, test_load<3>);
  for_each_case(4, test_load<4>);
  for_each_case(5, test_load<5>);
}

TEST_F(Tma, StoresBoxesAndLeavesOutWhatIsOutside) {
  for_each_case(1, test_store<1>);
  for_each_case(2, test_store<2>);
  for_each_case(3, test_store<3>);
  for_each_case(4, test_store<4>);
  for_each_case(5, test_store<5>);
}

TEST_F(Tma, RefusesTensorsThatTheUnitCannotAddress) {
  const DeviceBuffer<uint32_t> data(256);
  const gpu::TiledTensor good{.base = data.data(), .rank = 2, .dims = {16, 8}, .stride_bytes = {0, 32}, .box = {16, 4}};
  gpu::TensorMap map;
  EXPECT_TRUE(gpu::make_tensor_map(&map, good));
  gpu::TiledTensor bad = good;
  bad.base = reinterpret_cast<const char*>(data.data()) + 8;
  EXPECT_FALSE(gpu::make_tensor_map(&map, bad)) << "misaligned";
  bad = good;
  bad.stride_bytes[1] = 40;
  EXPECT_FALSE(gpu::make_tensor_map(&map, bad)) << "stride of 40 bytes";
  bad = good;
  bad.box[1] = 257;
  EXPECT_FALSE(gpu::make_tensor_map(&map, bad)) << "box of 257";
  bad = good;
  bad.swizzle = Swizzle::bytes64;
  EXPECT_FALSE(gpu::make_tensor_map(&map, bad)) << "row of 32 bytes, swizzle of 64";
}

// ---- im2col

// One block for each column of `pixels` output positions; writes them for filter tap (r, s).
__global__ void im2col_kernel(const __grid_constant__ gpu::TensorMap map, uint32_t* out, int pixels, int row_bytes,
                              int out_w, int out_h, int stride, int lower, int s, int r) {
#ifdef GPU_SM90
  GPU_SHARED(uint64_t, full, 1);
  char* column = gpu::dyn_smem();
  const int bytes = pixels * row_bytes;
  if (threadIdx.x == 0) {
    gpu::mbar_init(full, 1);
    gpu::fence_mbar_init();
    gpu::mbar_arrive_expect_tx(full, static_cast<uint32_t>(bytes));
    const int first = static_cast<int>(blockIdx.x) * pixels;
    const int q = first % out_w, p = first / out_w % out_h, n = first / (out_w * out_h);
    gpu::tma_load_im2col(&map, full, column, {0, lower + q * stride, lower + p * stride, n}, {s, r});
  }
  __syncthreads();  // the mbarrier is initialised before anybody waits for it
  gpu::mbar_wait(full, 0);
  auto* to = out + static_cast<int>(blockIdx.x) * bytes / 4;
  for (int i = static_cast<int>(threadIdx.x); i < bytes / 4; i += static_cast<int>(blockDim.x))
    to[i] = reinterpret_cast<const uint32_t*>(column)[i];
#endif
}

struct Im2colCase {
  int n, h, w, c, filter, stride, padding, channels;
  Swizzle swizzle;
};

void test_im2col(const Im2colCase& c) {
  const int out_h = (c.h + 2 * c.padding - c.filter) / c.stride + 1;
  const int out_w = (c.w + 2 * c.padding - c.filter) / c.stride + 1;
  constexpr int kPixels = 16;
  const int positions = c.n * out_h * out_w, columns = (positions + kPixels - 1) / kPixels;
  std::vector<uint32_t> image(static_cast<size_t>(c.n * c.h * c.w * c.c / 2));
  for (int i = 0; i < c.n * c.h * c.w * c.c; ++i) set_element(image, i, 2, static_cast<uint32_t>(i % 65521) + 1);
  const DeviceBuffer<uint32_t> x(image);
  gpu::TensorMap map;
  ASSERT_TRUE(gpu::make_tensor_map(&map, gpu::Im2colTensor{.base = x.data(),
                                                           .n = c.n,
                                                           .h = c.h,
                                                           .w = c.w,
                                                           .c = c.c,
                                                           .lower_w = -c.padding,
                                                           .lower_h = -c.padding,
                                                           .upper_w = c.padding - (c.filter - 1),
                                                           .upper_h = c.padding - (c.filter - 1),
                                                           .stride = c.stride,
                                                           .channels = c.channels,
                                                           .pixels = kPixels,
                                                           .swizzle = c.swizzle}));
  const int row_bytes = c.channels * 2;
  for (int r = 0; r < c.filter; ++r)
    for (int s = 0; s < c.filter; ++s) {
      DeviceBuffer<uint32_t> out(static_cast<size_t>(columns * kPixels * row_bytes / 4));
      ASSERT_TRUE(gpu::launch(im2col_kernel,
                              {.grid = static_cast<unsigned>(columns),
                               .block = 64,
                               .shared_bytes = static_cast<size_t>(kPixels * row_bytes)},
                              map, out.data(), kPixels, row_bytes, out_w, out_h, c.stride, -c.padding, s, r));
      const auto values = out.values();
      for (int m = 0; m < columns * kPixels; ++m)
        for (int channel = 0; channel < c.channels; ++channel) {
          const int q = m % out_w, p = m / out_w % out_h, n = m / (out_w * out_h);
          const int j = q * c.stride - c.padding + s, i = p * c.stride - c.padding + r;
          const bool inside = m < positions && i >= 0 && i < c.h && j >= 0 && j < c.w && channel < c.c;
          const int64_t in_column = place_in_box(m % kPixels * c.channels + channel, 2, c.swizzle);
          ASSERT_EQ(element(values, m / kPixels * kPixels * c.channels + in_column, 2),
                    inside ? element(image, ((n * c.h + i) * c.w + j) * c.c + channel, 2) : 0u)
              << "position " << m << ", channel " << channel << ", tap " << r << "," << s;
        }
    }
}

TEST_F(Tma, Im2colOfA3x3Convolution) {
  test_im2col({2, 5, 7, 64, 3, 1, 1, 64, Swizzle::bytes128});
}
TEST_F(Tma, Im2colWithStride) {
  test_im2col({2, 9, 6, 16, 3, 2, 1, 16, Swizzle::bytes32});
}
TEST_F(Tma, Im2colOfA7x7Convolution) {
  test_im2col({1, 11, 14, 8, 7, 2, 3, 8, Swizzle::none});
}
TEST_F(Tma, Im2colWithoutPaddingAndWithChannelsToFill) {
  test_im2col({3, 4, 4, 24, 1, 2, 0, 32, Swizzle::bytes64});
}

// ---- stmatrix

__global__ void stmatrix_kernel(uint16_t* out, bool transposed) {
#ifdef GPU_SM90
  GPU_SHARED(uint16_t, rows, 32 * 8);
  const uint32_t lane = threadIdx.x, row = lane / 4, column = lane % 4 * 2;
  uint32_t r[4];
  for (uint32_t matrix = 0; matrix < 4; ++matrix) {
    const uint32_t low = matrix * 64 + row * 8 + column;
    r[matrix] = low | (low + 1) << 16;
  }
  if (transposed) {
    gpu::stmatrix_x4_trans(rows + lane * 8, r);
  } else {
    gpu::stmatrix_x4(rows + lane * 8, r);
  }
  __syncwarp();  // all rows are written
  for (uint32_t i = 0; i < 8; ++i) out[lane * 8 + i] = rows[lane * 8 + i];
#endif
}

TEST_F(StoreMatrix, WritesFragments) {
  for (const bool transposed : {false, true}) {
    DeviceBuffer<uint16_t> out(256);
    ASSERT_TRUE(gpu::launch(stmatrix_kernel, {.grid = 1, .block = 32}, out.data(), transposed));
    const auto values = out.values();
    for (uint32_t i = 0; i < 256; ++i) {
      const uint32_t matrix = i / 64, row = i / 8 % 8, column = i % 8;
      EXPECT_EQ(values[i], matrix * 64 + (transposed ? column * 8 + row : row * 8 + column));
    }
  }
}

}  // namespace
}  // namespace engine::testing
