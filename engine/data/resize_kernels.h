#pragma once
// The two passes of a resize, for several instruction sets with equal results. Private to engine/data.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace engine {

// Weights are integers in units of 2^-22, so that 8-bit pixels and the rounding term fit 32-bit sums.
inline constexpr int kWeightBits = 22;

// How each output position of one axis is put together: the sum over t < count[i] of
// weight[i*stride + t] * source[first[i] + t].
struct Taps {
  std::vector<int> first;
  std::vector<int> count;
  std::vector<int32_t> weight;  // zero beyond count
  int stride = 0;               // at least the largest count

  int size() const { return static_cast<int>(first.size()); }
  const int32_t* weights(int i) const { return weight.data() + ptrdiff_t{i} * stride; }
};

// Rows of bytes; row i starts at data + i*stride.
template <class Byte>
struct Rows {
  Byte* data = nullptr;
  ptrdiff_t stride = 0;
  int count = 0;
  int bytes = 0;  // of one row

  Byte* row(int i) const { return data + i * stride; }
};

struct ResizeKernels {
  // destination row y, pixel i = taps i applied along source row y. Both sides have destination.count rows;
  // those of the destination lie without gaps.
  void (*horizontal)(const Rows<const uint8_t>& source, const Taps& taps, const Rows<uint8_t>& destination);
  // destination row i = taps i applied across the source rows; both sides have rows of destination.bytes.
  void (*vertical)(const Rows<const uint8_t>& source, const Taps& taps, const Rows<uint8_t>& destination);
};

enum class ResizeIsa { scalar, avx2, avx512 };

// Null if this machine lacks the instructions.
const ResizeKernels* resize_kernels(ResizeIsa isa);
// The fastest of them.
const ResizeKernels& resize_kernels();

// Where `source` may be read past the end of a row, the next row follows; the last rows, where nothing does, are
// handed out as copies with `slack` readable bytes behind them.
class PaddedRows {
 public:
  PaddedRows(const Rows<const uint8_t>& source, int slack);
  const uint8_t* row(int y);

 private:
  Rows<const uint8_t> source_;
  int slack_;
  std::vector<uint8_t> copy_;
};

// Their implementations, one file each.
extern const ResizeKernels kResizeAvx2;
extern const ResizeKernels kResizeAvx512;

}  // namespace engine
