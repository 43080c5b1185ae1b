// mma.sync m16n8k16, and m16n8k8 of TF32. Products are exact in f32; their sum is rounded as the CPU does, the GPU's
// order differs: compare with a tolerance.
#include <bit>
#include <cstring>

#if defined(__F16C__) && defined(__AVX2__)
#include <immintrin.h>
#endif

#include "kernels/emulator/matrix.h"
#include "kernels/emulator/statistics.h"
#include "kernels/emulator/warp_operation.h"

namespace engine::kernels::emulator {
namespace {

using Vector = float __attribute__((vector_size(32), aligned(4), may_alias));

struct Multiply {
  int rows, columns;  // in tiles of 16 respectively 8
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

// Two values from each of N registers.
template <class T, int N>
void expand(const uint32_t* registers, float* values) {
#if defined(__F16C__) && defined(__AVX2__)
  if constexpr (N == 4) {
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(registers));
    if constexpr (std::is_same_v<T, f16>) {
      _mm256_storeu_ps(values, _mm256_cvtph_ps(packed));
    } else {
      _mm256_storeu_ps(values, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(packed), 16)));
    }
    return;
  }
#endif
  for (int i = 0; i < N; ++i) {
    values[2 * i] = to_float(T{static_cast<uint16_t>(registers[i])});
    values[2 * i + 1] = to_float(T{static_cast<uint16_t>(registers[i] >> 16)});
  }
}

// c = a b; rows of c in registers, the compiler does not keep them there by itself.
void multiply_tile(const float (&a)[16][16], const float (&b)[16][8], float (&c)[16][8]) {
  for (int r = 0; r < 16; r += 8) {
    Vector c0{}, c1{}, c2{}, c3{}, c4{}, c5{}, c6{}, c7{};
    for (int k = 0; k < 16; ++k) {
      const Vector row = *reinterpret_cast<const Vector*>(b[k]);
      c0 += a[r][k] * row;
      c1 += a[r + 1][k] * row;
      c2 += a[r + 2][k] * row;
      c3 += a[r + 3][k] * row;
      c4 += a[r + 4][k] * row;
      c5 += a[r + 5][k] * row;
      c6 += a[r + 6][k] * row;
      c7 += a[r + 7][k] * row;
    }
    auto* out = reinterpret_cast<Vector*>(c[r]);
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
    out[4] = c4;
    out[5] = c5;
    out[6] = c6;
    out[7] = c7;
  }
}

// Lane i holds of a: rows i/4 and i/4 + 8, columns q = 2*(i%4), q+1, q+8, q+9.
template <class T>
void gather_a(const WarpOperation& operation, int tile, float (&a)[16][16]) {
  for (int lane = 0; lane < 32; ++lane) {
    float v[8];
    expand<T, 4>(static_cast<const Multiply*>(operation.payload[lane])->a + tile * 4, v);
    const int g = lane / 4, q = 2 * (lane % 4);
    std::memcpy(&a[g][q], v, 8);
    std::memcpy(&a[g + 8][q], v + 2, 8);
    std::memcpy(&a[g][q + 8], v + 4, 8);
    std::memcpy(&a[g + 8][q + 8], v + 6, 8);
  }
}

// Lane i holds of b: column i/4, rows q = 2*(i%4), q+1, q+8, q+9.
template <class T>
void gather_b(const WarpOperation& operation, int tile, float (&b)[16][8]) {
  for (int lane = 0; lane < 32; ++lane) {
    float v[4];
    expand<T, 2>(static_cast<const Multiply*>(operation.payload[lane])->b + tile * 2, v);
    const int g = lane / 4, q = 2 * (lane % 4);
    b[q][g] = v[0];
    b[q + 1][g] = v[1];
    b[q + 8][g] = v[2];
    b[q + 9][g] = v[3];
  }
}

// A register a value, k = 8: the other half of k stays zero.
struct Tf32 {};
float tf32_value(uint32_t bits) {
  return std::bit_cast<float>(bits & ~0x1fffu);
}

// Lane i holds of a: rows i/4 and i/4 + 8, columns i%4 and i%4 + 4.
template <>
void gather_a<Tf32>(const WarpOperation& operation, int tile, float (&a)[16][16]) {
  std::memset(a, 0, sizeof a);
  for (int lane = 0; lane < 32; ++lane) {
    const uint32_t* v = static_cast<const Multiply*>(operation.payload[lane])->a + tile * 4;
    const int g = lane / 4, q = lane % 4;
    a[g][q] = tf32_value(v[0]);
    a[g + 8][q] = tf32_value(v[1]);
    a[g][q + 4] = tf32_value(v[2]);
    a[g + 8][q + 4] = tf32_value(v[3]);
  }
}

// Lane i holds of b: column i/4, rows i%4 and i%4 + 4.
template <>
void gather_b<Tf32>(const WarpOperation& operation, int tile, float (&b)[16][8]) {
  std::memset(b, 0, sizeof b);
  for (int lane = 0; lane < 32; ++lane) {
    const uint32_t* v = static_cast<const Multiply*>(operation.payload[lane])->b + tile * 2;
    b[lane % 4][lane / 4] = tf32_value(v[0]);
    b[lane % 4 + 4][lane / 4] = tf32_value(v[1]);
  }
}

// Lane i holds of d: rows i/4 and i/4 + 8, columns q and q+1.
void add_to_d(const WarpOperation& operation, int tile, const float (&c)[16][8]) {
  for (int lane = 0; lane < 32; ++lane) {
    float* d = static_cast<const Multiply*>(operation.payload[lane])->d + tile * 4;
    const int g = lane / 4, q = 2 * (lane % 4);
    d[0] += c[g][q];
    d[1] += c[g][q + 1];
    d[2] += c[g + 8][q];
    d[3] += c[g + 8][q + 1];
  }
}

template <class T>
void run_multiply(WarpOperation& operation) {
  constexpr int kColumnsAtOnce = 8;
  const auto& shape = *static_cast<const Multiply*>(operation.payload[0]);
  constexpr int64_t kInner = std::is_same_v<T, Tf32> ? 8 : 16;
  local_statistics().multiply_adds += 16 * 8 * kInner * shape.rows * shape.columns;
  float a[16][16], b[kColumnsAtOnce][16][8], c[16][8];
  for (int first = 0; first < shape.columns; first += kColumnsAtOnce) {
    const int n = shape.columns - first < kColumnsAtOnce ? shape.columns - first : kColumnsAtOnce;
    for (int j = 0; j < n; ++j) gather_b<T>(operation, first + j, b[j]);
    for (int i = 0; i < shape.rows; ++i) {
      gather_a<T>(operation, i, a);
      for (int j = 0; j < n; ++j) {
        multiply_tile(a, b[j], c);
        add_to_d(operation, i * shape.columns + first + j, c);
      }
    }
  }
}

template <class T>
constexpr WarpOperationKind kMultiply{"mma.sync", run_multiply<T>, true};

}  // namespace

void multiply_bf16(int rows, int columns, float* d, const uint32_t* a, const uint32_t* b, Site site) {
  Multiply payload{rows, columns, d, a, b};
  meet(~0u, kMultiply<bf16>, &payload, site);
}

void multiply_f16(int rows, int columns, float* d, const uint32_t* a, const uint32_t* b, Site site) {
  Multiply payload{rows, columns, d, a, b};
  meet(~0u, kMultiply<f16>, &payload, site);
}

void multiply_tf32(int rows, int columns, float* d, const uint32_t* a, const uint32_t* b, Site site) {
  Multiply payload{rows, columns, d, a, b};
  meet(~0u, kMultiply<Tf32>, &payload, site);
}

}  // namespace engine::kernels::emulator
