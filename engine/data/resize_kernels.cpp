#include "engine/data/resize_kernels.h"

#include <algorithm>
#include <cstring>

namespace engine {
namespace {

constexpr int32_t kHalf = 1 << (kWeightBits - 1);

uint8_t to_byte(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

void horizontal(const Rows<const uint8_t>& source, const Taps& taps, const Rows<uint8_t>& destination) {
  for (int y = 0; y < destination.count; ++y) {
    uint8_t* out = destination.row(y);
    for (int i = 0; i < taps.size(); ++i, out += 3) {
      const uint8_t* in = source.row(y) + ptrdiff_t{3} * taps.first[static_cast<size_t>(i)];
      const int32_t* weight = taps.weights(i);
      int32_t red = kHalf, green = kHalf, blue = kHalf;
      for (int t = 0; t < taps.count[static_cast<size_t>(i)]; ++t, in += 3) {
        red += weight[t] * in[0];
        green += weight[t] * in[1];
        blue += weight[t] * in[2];
      }
      out[0] = to_byte(red);
      out[1] = to_byte(green);
      out[2] = to_byte(blue);
    }
  }
}

void vertical(const Rows<const uint8_t>& source, const Taps& taps, const Rows<uint8_t>& destination) {
  for (int i = 0; i < taps.size(); ++i) {
    const uint8_t* in = source.row(taps.first[static_cast<size_t>(i)]);
    const int32_t* weight = taps.weights(i);
    uint8_t* out = destination.row(i);
    for (int x = 0; x < destination.bytes; ++x) {
      int32_t sum = kHalf;
      for (int t = 0; t < taps.count[static_cast<size_t>(i)]; ++t) sum += weight[t] * in[t * source.stride + x];
      out[x] = to_byte(sum);
    }
  }
}

constexpr ResizeKernels kScalar = {horizontal, vertical};

}  // namespace

PaddedRows::PaddedRows(const Rows<const uint8_t>& source, int slack)
    : source_(source), slack_(slack), copy_(static_cast<size_t>(source.bytes + slack)) {}

const uint8_t* PaddedRows::row(int y) {
  const uint8_t* row = source_.row(y);
  if ((source_.count - 1 - y) * source_.stride >= slack_) return row;
  std::memcpy(copy_.data(), row, static_cast<size_t>(source_.bytes));
  return copy_.data();
}

const ResizeKernels* resize_kernels(ResizeIsa isa) {
  switch (isa) {
    case ResizeIsa::avx512:
      return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                     __builtin_cpu_supports("avx512vnni")
                 ? &kResizeAvx512
                 : nullptr;
    case ResizeIsa::avx2:
      return __builtin_cpu_supports("avx2") ? &kResizeAvx2 : nullptr;
    case ResizeIsa::scalar:
      break;
  }
  return &kScalar;
}

const ResizeKernels& resize_kernels() {
  static const ResizeKernels* const kBest = [] {
    for (const ResizeIsa isa : {ResizeIsa::avx512, ResizeIsa::avx2})
      if (const ResizeKernels* kernels = resize_kernels(isa)) return kernels;
    return resize_kernels(ResizeIsa::scalar);
  }();
  return *kBest;
}

}  // namespace engine
