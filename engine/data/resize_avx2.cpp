// The passes with AVX2: 16-bit multiplications that add up pairs of taps. A weight is split as
// high * 2^11 + low, both 16-bit; the two sums are put together at the end, exactly.
#include <immintrin.h>

#include <cstring>

#include "engine/data/resize_kernels.h"

#define ENGINE_AVX2 __attribute__((target("avx2")))

namespace engine {
namespace {

constexpr int kLowBits = 11;

struct Pair {
  int32_t high, low;  // each two 16-bit halves, the first tap's in the lower one
};

Pair split_pair(int32_t first, int32_t second) {
  const auto join = [](int32_t a, int32_t b) {
    return static_cast<int32_t>((static_cast<uint32_t>(b) << 16) | (static_cast<uint32_t>(a) & 0xffff));
  };
  constexpr int32_t kMask = (1 << kLowBits) - 1;
  return {join(first >> kLowBits, second >> kLowBits), join(first & kMask, second & kMask)};
}

// 8 sums to 8-bit range, still 32 bits wide.
ENGINE_AVX2 inline __m256i finish(__m256i high, __m256i low) {
  return _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(high, kLowBits), low), kWeightBits);
}

// Four taps of one output pixel at a time, two output pixels per register: each half loads 16 bytes, which
// hold 4 RGB pixels, and pairs the taps of a channel.
struct HorizontalTable {
  int steps = 0;                // outputs, two at a time
  int groups = 0;               // taps of an output, four at a time
  std::vector<int32_t> offset;  // of an output's first byte in its row
  std::vector<int32_t> weight;  // [steps][groups][2 outputs]{high 01, high 23, low 01, low 23}
  int reach = 0;                // bytes read beyond the start of a row, at most

  explicit HorizontalTable(const Taps& taps) {
    const int outputs = taps.size();
    int longest = 1;
    for (const int count : taps.count) longest = count > longest ? count : longest;
    steps = (outputs + 1) / 2;
    groups = (longest + 3) / 4;
    offset.assign(static_cast<size_t>(steps) * 2, 0);
    weight.assign(static_cast<size_t>(steps) * static_cast<size_t>(groups) * 8, 0);
    for (int i = 0; i < outputs; ++i) {
      const auto index = static_cast<size_t>(i);
      offset[index] = 3 * taps.first[index];
      const int32_t* w = taps.weights(i);
      for (int g = 0; g < groups; ++g) {
        int32_t four[4] = {};
        for (int t = 0; t < 4 && 4 * g + t < taps.count[index]; ++t) four[t] = w[4 * g + t];
        const Pair first = split_pair(four[0], four[1]), second = split_pair(four[2], four[3]);
        const int32_t packed[4] = {first.high, second.high, first.low, second.low};
        const size_t place = (index / 2 * static_cast<size_t>(groups) + static_cast<size_t>(g)) * 2 + index % 2;
        std::memcpy(&weight[place * 4], packed, sizeof packed);
      }
      reach = offset[index] > reach ? offset[index] : reach;
    }
    reach += 12 * (groups - 1) + 16;
  }
};

// Writes 1 byte beyond the pixels if their number is even, 4 if it is odd.
ENGINE_AVX2 void horizontal_row(const uint8_t* in, const HorizontalTable& table, uint8_t* out) {
  const __m256i first_pair = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                              0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
  const __m256i second_pair = _mm256_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,  //
                                               6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const int32_t* weight = table.weight.data();
  const int32_t* offset = table.offset.data();
  for (int step = 0; step < table.steps; ++step, offset += 2, out += 6) {
    __m256i high = _mm256_setzero_si256();
    __m256i low = _mm256_set1_epi32(1 << (kWeightBits - 1));
    for (int g = 0; g < table.groups; ++g, weight += 8) {
      const __m128i left = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + offset[0] + 12 * g));
      const __m128i right = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + offset[1] + 12 * g));
      const __m256i pixels = _mm256_inserti128_si256(_mm256_castsi128_si256(left), right, 1);
      const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight));
      const __m256i a = _mm256_shuffle_epi8(pixels, first_pair);
      const __m256i b = _mm256_shuffle_epi8(pixels, second_pair);
      high = _mm256_add_epi32(high, _mm256_madd_epi16(a, _mm256_shuffle_epi32(w, 0x00)));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(b, _mm256_shuffle_epi32(w, 0x55)));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(a, _mm256_shuffle_epi32(w, 0xaa)));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(b, _mm256_shuffle_epi32(w, 0xff)));
    }
    const __m256i words = _mm256_packs_epi32(finish(high, low), _mm256_setzero_si256());
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const int left = _mm256_extract_epi32(bytes, 0), right = _mm256_extract_epi32(bytes, 4);
    std::memcpy(out, &left, 4);
    std::memcpy(out + 3, &right, 4);
  }
}

void horizontal(const Rows<const uint8_t>& source, const Taps& taps, const Rows<uint8_t>& destination) {
  const HorizontalTable table(taps);
  PaddedRows rows(source, table.reach);
  // What a row writes beyond its end, the rows after it overwrite; the last few go through a buffer.
  constexpr int kBeyond = 4;
  std::vector<uint8_t> buffer(static_cast<size_t>(destination.bytes) + kBeyond);
  for (int y = 0; y < destination.count; ++y) {
    uint8_t* out = destination.row(y);
    const bool direct = int64_t{destination.count - 1 - y} * destination.bytes >= kBeyond;
    horizontal_row(rows.row(y), table, direct ? out : buffer.data());
    if (!direct) std::memcpy(out, buffer.data(), static_cast<size_t>(destination.bytes));
  }
}

// 32 columns. Rows a, b of a pair are interleaved to a0 b0 a1 b1 ..., widened to 16 bits; unpacking and
// packing both work within 128-bit halves, so that the columns come out in order.
ENGINE_AVX2 inline void vertical_block(const uint8_t* const* pairs, const Pair* weights, int num_pairs, ptrdiff_t x,
                                       uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i half = _mm256_set1_epi32(1 << (kWeightBits - 1));
  __m256i high[4] = {zero, zero, zero, zero};
  __m256i low[4] = {half, half, half, half};
  for (int p = 0; p < num_pairs; ++p) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs[2 * p] + x));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs[2 * p + 1] + x));
    const __m256i wh = _mm256_set1_epi32(weights[p].high), wl = _mm256_set1_epi32(weights[p].low);
    const __m256i ab0 = _mm256_unpacklo_epi8(a, b), ab1 = _mm256_unpackhi_epi8(a, b);
    const __m256i columns[4] = {_mm256_unpacklo_epi8(ab0, zero), _mm256_unpackhi_epi8(ab0, zero),
                                _mm256_unpacklo_epi8(ab1, zero), _mm256_unpackhi_epi8(ab1, zero)};
    for (int i = 0; i < 4; ++i) {
      high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(columns[i], wh));
      low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(columns[i], wl));
    }
  }
  const __m256i words0 = _mm256_packs_epi32(finish(high[0], low[0]), finish(high[1], low[1]));
  const __m256i words1 = _mm256_packs_epi32(finish(high[2], low[2]), finish(high[3], low[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_packus_epi16(words0, words1));
}

ENGINE_AVX2 void vertical_row(const uint8_t* const* pairs, const Pair* weights, int num_pairs, int bytes,
                              uint8_t* out) {
  int x = 0;
  for (; x + 32 <= bytes; x += 32) vertical_block(pairs, weights, num_pairs, x, out + x);
  if (x < bytes) vertical_block(pairs, weights, num_pairs, bytes - 32, out + bytes - 32);
}

void vertical(const Rows<const uint8_t>& source, const Taps& taps, const Rows<uint8_t>& destination) {
  if (destination.bytes < 32) return resize_kernels(ResizeIsa::scalar)->vertical(source, taps, destination);
  std::vector<const uint8_t*> rows;
  std::vector<Pair> weights;
  for (int i = 0; i < taps.size(); ++i) {
    const int count = taps.count[static_cast<size_t>(i)];
    const int32_t* w = taps.weights(i);
    rows.clear();
    weights.clear();
    for (int t = 0; t < count; ++t) rows.push_back(source.row(taps.first[static_cast<size_t>(i)] + t));
    if (count % 2 != 0) rows.push_back(rows.back());
    for (int t = 0; t < count; t += 2) weights.push_back(split_pair(w[t], t + 1 < count ? w[t + 1] : 0));
    vertical_row(rows.data(), weights.data(), static_cast<int>(weights.size()), destination.bytes, destination.row(i));
  }
}

}  // namespace

const ResizeKernels kResizeAvx2 = {horizontal, vertical};

}  // namespace engine
