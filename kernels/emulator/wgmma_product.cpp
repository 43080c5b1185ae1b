// One wgmma: decoding the descriptors of shared operands, and the product itself. Products are exact in f32; the GPU
// rounds their sum in another order: compare with a tolerance.
#include <algorithm>
#include <cstring>

#include "kernels/emulator/conversion.h"
#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/warpgroup.h"

namespace engine::kernels::emulator {
namespace {

constexpr int kRows = 64, kDepth = 16;
constexpr unsigned kChunk = 16;    // bytes that lie together whatever the swizzle
constexpr int kChunkElements = 8;  // of 2 bytes

// Where an operand's elements are in shared memory. The 64 bits: address, leading and stride bytes (each / 16) from
// bits 0, 16 and 32, base offset from 49, swizzle from 62.
class Operand {
 public:
  Operand(uint64_t descriptor, gpu::Major major)
      : start_(field(descriptor, 0)),
        leading_(field(descriptor, 16)),
        stride_(field(descriptor, 32)),
        k_major_(major == gpu::Major::k) {
    const auto code = static_cast<unsigned>(descriptor >> 62);  // 0: none, 1: 128 bytes, 2: 64, 3: 32
    width_ = code == 0 ? kChunk : 256u >> code;
    swizzle_mask_ = width_ / kChunk - 1;
  }

  bool k_major() const { return k_major_; }

  // Offset in shared memory of the chunk that begins with element (m or n, k): 8 elements along the contiguous index.
  unsigned chunk(int mn, int k) const {
    const auto row = static_cast<unsigned>(k_major_ ? mn : k), column = static_cast<unsigned>(k_major_ ? k : mn);
    const unsigned width_elements = width_ / 2;
    unsigned address = start_;
    if (k_major_) {
      address += row / 8 * stride_ + row % 8 * width_;
      address += swizzle_mask_ != 0 ? column * 2 : column / 8 * leading_;
    } else if (swizzle_mask_ != 0) {
      address +=
          column / width_elements * leading_ + row / 8 * stride_ + row % 8 * width_ + column % width_elements * 2;
    } else {
      address += column / 8 * stride_ + row / 8 * leading_ + row % 8 * kChunk;
    }
    return (address ^ (((address >> 7) & swizzle_mask_) * kChunk)) & 0x3ffffu;
  }

 private:
  static unsigned field(uint64_t descriptor, int bit) {
    return static_cast<unsigned>((descriptor >> bit) & 0x3fff) * 16;
  }

  unsigned start_, leading_, stride_;
  unsigned width_, swizzle_mask_;
  bool k_major_;
};

// Calls f(mn, k, chunk) for each chunk of an operand of `size` rows or columns.
template <class F>
void for_each_chunk(const Operand& operand, int size, F&& f) {
  if (operand.k_major()) {
    for (int mn = 0; mn < size; ++mn)
      for (int k = 0; k < kDepth; k += kChunkElements) f(mn, k, operand.chunk(mn, k));
  } else {
    for (int k = 0; k < kDepth; ++k)
      for (int mn = 0; mn < size; mn += kChunkElements) f(mn, k, operand.chunk(mn, k));
  }
}

template <class T>
void expand(const char* chunk, float (&values)[kChunkElements]) {
  T elements[kChunkElements];
  std::memcpy(elements, chunk, sizeof elements);
  for (int i = 0; i < kChunkElements; ++i) values[i] = gpu::to_float(elements[i]);
}

// Writes element (mn, k) to out[mn * mn_step + k * k_step].
template <class T>
void gather(const Operand& operand, int size, const char* window, float* out, int mn_step, int k_step) {
  for_each_chunk(operand, size, [&](int mn, int k, unsigned address) {
    float values[kChunkElements];
    expand<T>(window + address, values);
    float* first = out + mn * mn_step + k * k_step;
    const int step = operand.k_major() ? k_step : mn_step;
    for (int i = 0; i < kChunkElements; ++i) first[i * step] = values[i];
  });
}

// Lane i of warp w holds rows 16 w + i/4 and 8 more, columns q = 2*(i%4), q+1, q+8, q+9.
template <class T>
void gather_registers(const PendingProduct& pending, float* a) {
  for (int i = 0; i < kWarpgroup; ++i) {
    const uint32_t* registers = pending.a.data() + 4 * i;
    const int row = i / 32 * 16 + i % 32 / 4, column = 2 * (i % 4);
    for (int part = 0; part < 4; ++part) {
      float* out = a + (row + part % 2 * 8) * kDepth + column + part / 2 * 8;
      out[0] = gpu::to_float(T{static_cast<uint16_t>(registers[part])});
      out[1] = gpu::to_float(T{static_cast<uint16_t>(registers[part] >> 16)});
    }
  }
}

using Vector = float __attribute__((vector_size(32), aligned(4), may_alias));

// c[64][n] += a[64][16] * b[16][n]: 4 rows of 16 columns at a time stay in registers. Each has a name: of an array the
// compiler keeps them in memory, which takes twice as long.
void multiply_add(float* c, const float* a, const float* b, int n) {
  for (int j = 0; j < n; j += 16)
    for (int r = 0; r < kRows; r += 4) {
      const auto at = [&](int row) { return reinterpret_cast<Vector*>(c + (r + row) * n + j); };
      Vector *const c0 = at(0), *const c1 = at(1), *const c2 = at(2), *const c3 = at(3);
      Vector l0 = c0[0], r0 = c0[1], l1 = c1[0], r1 = c1[1], l2 = c2[0], r2 = c2[1], l3 = c3[0], r3 = c3[1];
      for (int k = 0; k < kDepth; ++k) {
        const auto* row = reinterpret_cast<const Vector*>(b + k * n + j);
        const Vector left = row[0], right = row[1];
        const float* column = a + r * kDepth + k;
        l0 += column[0] * left;
        r0 += column[0] * right;
        l1 += column[kDepth] * left;
        r1 += column[kDepth] * right;
        l2 += column[2 * kDepth] * left;
        r2 += column[2 * kDepth] * right;
        l3 += column[3 * kDepth] * left;
        r3 += column[3 * kDepth] * right;
      }
      c0[0] = l0;
      c0[1] = r0;
      c1[0] = l1;
      c1[1] = r1;
      c2[0] = l2;
      c2[1] = r2;
      c3[0] = l3;
      c3[1] = r3;
    }
}

template <class T>
void multiply_as(const PendingProduct& pending, const char* window) {
  const WarpgroupProduct& product = pending.product;
  const int n = product.columns;
  float a[kRows * kDepth];
  float b[kDepth * 256];
  if (product.a_registers != nullptr) {
    gather_registers<T>(pending, a);
  } else {
    gather<T>(Operand(product.a, product.a_major), kRows, window, a, kDepth, 1);
  }
  gather<T>(Operand(product.b, product.b_major), n, window, b, 1, n);
  std::vector<float>& c = pending.sums->values;
  if (!product.accumulate) std::fill(c.begin(), c.end(), 0.0f);
  multiply_add(c.data(), a, b, n);
}

}  // namespace

void multiply(const PendingProduct& product, const char* window) {
  if (product.product.type == DataType::bf16) {
    multiply_as<bf16>(product, window);
  } else {
    multiply_as<f16>(product, window);
  }
}

void access_operands(Warpgroup& warpgroup, const PendingProduct& pending) {
  if constexpr (race::kEnabled) {
    const WarpgroupProduct& product = pending.product;
    const race::Stamp reader = race::agent_stamp(warpgroup.threads[0]->block(), warpgroup.agent, pending.time);
    // What one thread of a warp knows, all do: they came here together. The warps in the inner loop: the shadow of a
    // chunk stays in the cache.
    const auto read = [&](unsigned address, unsigned bytes) {
      for (size_t i = 0; i < kWarpgroup; i += 32)
        race::async_read(*warpgroup.threads[i], address, bytes, reader, warpgroup.site, "wgmma", i + 32 == kWarpgroup);
    };
    const auto read_operand = [&](const Operand& operand, int size) {
      if (!operand.k_major())
        return for_each_chunk(operand, size, [&](int, int, unsigned chunk) { read(chunk, kChunk); });
      for (int mn = 0; mn < size; ++mn) {
        const unsigned first = operand.chunk(mn, 0), second = operand.chunk(mn, kChunkElements);
        if ((first ^ second) == kChunk) {  // neighbours, in either order
          read(std::min(first, second), 2 * kChunk);
        } else {
          read(first, kChunk);
          read(second, kChunk);
        }
      }
    };
    if (product.a_registers == nullptr) read_operand(Operand(product.a, product.a_major), kRows);
    read_operand(Operand(product.b, product.b_major), product.columns);
  }
}

}  // namespace engine::kernels::emulator
