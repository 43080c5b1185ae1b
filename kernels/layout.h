#pragma once
// Changes of element type and arrangement, and filling. See kernels/README.md for the conventions of all launchers.
#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// What arrays may hold; the first three are DataType's.
enum class ElementType : uint8_t { f32, bf16, f16, u8, i64 };

inline ElementType element_type(DataType type) {
  return static_cast<ElementType>(type);
}
inline int64_t size_of(ElementType type) {
  constexpr int64_t kSizes[] = {4, 2, 2, 1, 8};
  return kSizes[static_cast<int>(type)];
}

// y[i] = value, converted on the host: to the nearest value of a float type, towards zero into an integer.
// Moves: y once.
// Needs: y aligned to its element.
struct Fill {
  void* y = nullptr;
  ElementType type = ElementType::f32;
  int64_t count = 0;
  double value = 0;
};
bool fill(const Fill& args, Stream stream);
Cost fill_cost(const Fill& args);

// y[i] = x[i] in another type: to the nearest, ties to even, into a float type; towards zero and limited to its range
// into an integer, NaN becomes 0. Integers become f32 before they become bf16 or f16. Equal types copy.
// Moves: x and y once.
// Needs: x and y aligned to their elements, not overlapping (x == y for equal element sizes is allowed).
struct Convert {
  const void* x = nullptr;
  ElementType x_type = ElementType::f32;
  void* y = nullptr;
  ElementType y_type = ElementType::f32;
  int64_t count = 0;
};
bool convert(const Convert& args, Stream stream);
Cost convert_cost(const Convert& args);

// y[b][column][row] = x[b][row][column]. NCHW -> NHWC: batch N, rows C, columns H*W; back: rows H*W, columns C.
// OIHW -> KRSC: batch O, rows I, columns H*W.
// Moves: x and y once.
// Needs: element_bytes 1, 2, 4 or 8; x and y aligned to their elements, not overlapping.
struct Transpose {
  const void* x = nullptr;
  void* y = nullptr;
  int64_t element_bytes = 4;
  int64_t batch = 1, rows = 0, columns = 0;
};
bool transpose(const Transpose& args, Stream stream);
Cost transpose_cost(const Transpose& args);

// The shortcut without parameters (He et al. 2015, option A).
//   small[n,p,q,k] = big[n, p*stride, q*stride, k - before] where 0 <= k - before < C, else 0
// big [N,H,W,C], small [N,ceil(H/stride),ceil(W/stride),K].
struct SubsampleShape {
  int64_t n = 0, h = 0, w = 0, c = 0, k = 0;
  int64_t stride = 1, before = 0;
  int64_t p() const { return (h + stride - 1) / stride; }
  int64_t q() const { return (w + stride - 1) / stride; }
};

// y = small, x = big. Moves: y, and the sampled pixels of x.
// Needs: x and y aligned to their elements (16 bytes for the vector path), not overlapping; before >= 0, before + C <=
// K.
struct SubsamplePad {
  SubsampleShape shape;
  DataType type = DataType::f32;
  const void* x = nullptr;
  void* y = nullptr;
};
bool subsample_pad(const SubsamplePad& args, Stream stream);
Cost subsample_pad_cost(const SubsamplePad& args);

// dx = the gradient of big, 0 at the pixels that were not sampled. Moves: dx, and C of dy's K channels. Needs: as
// above.
struct SubsamplePadBackward {
  SubsampleShape shape;
  DataType type = DataType::f32;
  const void* dy = nullptr;
  void* dx = nullptr;
};
bool subsample_pad_backward(const SubsamplePadBackward& args, Stream stream);
Cost subsample_pad_backward_cost(const SubsamplePadBackward& args);

}  // namespace engine::kernels
