// The passes with AVX-512 VNNI: one instruction multiplies four unsigned bytes by four signed ones and adds
// the products to a 32-bit sum. A weight is split into three signed bytes, high * 2^16 + middle * 2^8 + low;
// the three sums are put together at the end, exactly.
#include <immintrin.h>

#include <cstring>

#include "engine/data/resize_kernels.h"

// g++ 12 takes the deliberately undefined operands inside its own AVX-512 intrinsics for mistakes (GCC bug 105593).
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define ENGINE_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace engine {
namespace {

struct Four {
  int32_t high, middle, low;  // each four signed bytes, the first tap's lowest
};

Four split_four(const int32_t* weight, int count) {
  uint32_t parts[3] = {};
  for (int t = 0; t < count && t < 4; ++t) {
    const auto low = static_cast<int8_t>(weight[t] & 0xff);
    const int32_t rest = (weight[t] - low) >> 8;
    const auto middle = static_cast<int8_t>(rest & 0xff);
    const auto high = static_cast<int8_t>((rest - middle) >> 8);
    const int8_t bytes[3] = {high, middle, low};
    for (int part = 0; part < 3; ++part) parts[part] |= uint32_t{static_cast<uint8_t>(bytes[part])} << (8 * t);
  }
  return {static_cast<int32_t>(parts[0]), static_cast<int32_t>(parts[1]), static_cast<int32_t>(parts[2])};
}

// 16 sums to 8-bit range, still 32 bits wide.
ENGINE_AVX512 inline __m512i finish(__m512i high, __m512i middle, __m512i low) {
  const __m512i upper = _mm512_add_epi32(_mm512_slli_epi32(high, 8), middle);
  return _mm512_srai_epi32(_mm512_add_epi32(_mm512_slli_epi32(upper, 8), low), kWeightBits);
}

// Four taps of one output pixel at a time, four output pixels per register: each quarter loads 16 bytes,
// which hold 4 RGB pixels, and brings the taps of a channel together.
struct HorizontalTable {
  int steps = 0;                // outputs, four at a time
  int groups = 0;               // taps of an output, four at a time
  std::vector<int32_t> offset;  // of an output's first byte in its row
  std::vector<int32_t> weight;  // [steps][groups][4 outputs]{high, middle, low, 0}
  int reach = 0;                // bytes read beyond the start of a row, at most

  explicit HorizontalTable(const Taps& taps) {
    const int outputs = taps.size();
    int longest = 1;
    for (const int count : taps.count) longest = count > longest ? count : longest;
    steps = (outputs + 3) / 4;
    groups = (longest + 3) / 4;
    offset.assign(static_cast<size_t>(steps) * 4, 0);
    weight.assign(static_cast<size_t>(steps) * static_cast<size_t>(groups) * 16, 0);
    for (int i = 0; i < outputs; ++i) {
      const auto index = static_cast<size_t>(i);
      offset[index] = 3 * taps.first[index];
      for (int g = 0; 4 * g < taps.count[index]; ++g) {
        const Four four = split_four(taps.weights(i) + 4 * g, taps.count[index] - 4 * g);
        const int32_t packed[3] = {four.high, four.middle, four.low};
        const size_t place = (index / 4 * static_cast<size_t>(groups) + static_cast<size_t>(g)) * 4 + index % 4;
        std::memcpy(&weight[place * 4], packed, sizeof packed);
      }
      reach = offset[index] > reach ? offset[index] : reach;
    }
    reach += 12 * (groups - 1) + 16;
  }
};

// Writes up to 13 bytes beyond the pixels.
ENGINE_AVX512 void horizontal_row(const uint8_t* in, const HorizontalTable& table, uint8_t* out) {
  const __m512i channels = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
  const __m128i drop_fourth = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const int32_t* weight = table.weight.data();
  const int32_t* offset = table.offset.data();
  const auto load = [in](int32_t at)
                        ENGINE_AVX512 { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + at)); };
  for (int step = 0; step < table.steps; ++step, offset += 4, out += 12) {
    __m512i high = _mm512_setzero_si512(), middle = _mm512_setzero_si512();
    __m512i low = _mm512_set1_epi32(1 << (kWeightBits - 1));
    for (int g = 0; g < table.groups; ++g, weight += 16) {
      __m512i pixels = _mm512_castsi128_si512(load(offset[0] + 12 * g));
      pixels = _mm512_inserti32x4(pixels, load(offset[1] + 12 * g), 1);
      pixels = _mm512_inserti32x4(pixels, load(offset[2] + 12 * g), 2);
      pixels = _mm512_inserti32x4(pixels, load(offset[3] + 12 * g), 3);
      pixels = _mm512_shuffle_epi8(pixels, channels);
      const __m512i w = _mm512_loadu_si512(weight);
      high = _mm512_dpbusd_epi32(high, pixels, _mm512_shuffle_epi32(w, _MM_PERM_AAAA));
      middle = _mm512_dpbusd_epi32(middle, pixels, _mm512_shuffle_epi32(w, _MM_PERM_BBBB));
      low = _mm512_dpbusd_epi32(low, pixels, _mm512_shuffle_epi32(w, _MM_PERM_CCCC));
    }
    const __m512i sums = _mm512_max_epi32(finish(high, middle, low), _mm512_setzero_si512());
    const __m128i bytes = _mm_shuffle_epi8(_mm512_cvtusepi32_epi8(sums), drop_fourth);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
  }
}

void horizontal(const Rows<const uint8_t>& source, const Taps& taps, const Rows<uint8_t>& destination) {
  const HorizontalTable table(taps);
  PaddedRows rows(source, table.reach);
  // What a row writes beyond its end, the rows after it overwrite; the last few go through a buffer.
  constexpr int kBeyond = 13;
  std::vector<uint8_t> buffer(static_cast<size_t>(destination.bytes) + kBeyond);
  for (int y = 0; y < destination.count; ++y) {
    uint8_t* out = destination.row(y);
    const bool direct = int64_t{destination.count - 1 - y} * destination.bytes >= kBeyond;
    horizontal_row(rows.row(y), table, direct ? out : buffer.data());
    if (!direct) std::memcpy(out, buffer.data(), static_cast<size_t>(destination.bytes));
  }
}

// 64 columns, or those in `mask`. The bytes of four rows are interleaved to a0 b0 c0 d0 a1 b1 ...; unpacking
// and packing both work within 128-bit quarters, so that the columns come out in order.
ENGINE_AVX512 inline void vertical_block(const uint8_t* const* rows, const Four* weights, int num_fours, int x,
                                         __mmask64 mask, uint8_t* out) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i half = _mm512_set1_epi32(1 << (kWeightBits - 1));
  __m512i high[4] = {zero, zero, zero, zero};
  __m512i middle[4] = {zero, zero, zero, zero};
  __m512i low[4] = {half, half, half, half};
  for (int f = 0; f < num_fours; ++f, rows += 4) {
    const __m512i a = _mm512_maskz_loadu_epi8(mask, rows[0] + x), b = _mm512_maskz_loadu_epi8(mask, rows[1] + x);
    const __m512i c = _mm512_maskz_loadu_epi8(mask, rows[2] + x), d = _mm512_maskz_loadu_epi8(mask, rows[3] + x);
    const __m512i ab0 = _mm512_unpacklo_epi8(a, b), ab1 = _mm512_unpackhi_epi8(a, b);
    const __m512i cd0 = _mm512_unpacklo_epi8(c, d), cd1 = _mm512_unpackhi_epi8(c, d);
    const __m512i columns[4] = {_mm512_unpacklo_epi16(ab0, cd0), _mm512_unpackhi_epi16(ab0, cd0),
                                _mm512_unpacklo_epi16(ab1, cd1), _mm512_unpackhi_epi16(ab1, cd1)};
    const __m512i wh = _mm512_set1_epi32(weights[f].high), wm = _mm512_set1_epi32(weights[f].middle);
    const __m512i wl = _mm512_set1_epi32(weights[f].low);
    for (int i = 0; i < 4; ++i) {
      high[i] = _mm512_dpbusd_epi32(high[i], columns[i], wh);
      middle[i] = _mm512_dpbusd_epi32(middle[i], columns[i], wm);
      low[i] = _mm512_dpbusd_epi32(low[i], columns[i], wl);
    }
  }
  const __m512i words0 = _mm512_packs_epi32(finish(high[0], middle[0], low[0]), finish(high[1], middle[1], low[1]));
  const __m512i words1 = _mm512_packs_epi32(finish(high[2], middle[2], low[2]), finish(high[3], middle[3], low[3]));
  _mm512_mask_storeu_epi8(out + x, mask, _mm512_packus_epi16(words0, words1));
}

ENGINE_AVX512 void vertical_row(const uint8_t* const* rows, const Four* weights, int num_fours, int bytes,
                                uint8_t* out) {
  int x = 0;
  for (; x + 64 <= bytes; x += 64) vertical_block(rows, weights, num_fours, x, ~__mmask64{0}, out);
  if (x < bytes) vertical_block(rows, weights, num_fours, x, (__mmask64{1} << (bytes - x)) - 1, out);
}

void vertical(const Rows<const uint8_t>& source, const Taps& taps, const Rows<uint8_t>& destination) {
  std::vector<const uint8_t*> rows;
  std::vector<Four> weights;
  for (int i = 0; i < taps.size(); ++i) {
    const int count = taps.count[static_cast<size_t>(i)];
    rows.clear();
    weights.clear();
    for (int t = 0; t < count; ++t) rows.push_back(source.row(taps.first[static_cast<size_t>(i)] + t));
    while (rows.size() % 4 != 0) rows.push_back(rows.back());
    for (int t = 0; t < count; t += 4) weights.push_back(split_four(taps.weights(i) + t, count - t));
    vertical_row(rows.data(), weights.data(), static_cast<int>(weights.size()), destination.bytes, destination.row(i));
  }
}

}  // namespace

const ResizeKernels kResizeAvx512 = {horizontal, vertical};

}  // namespace engine
