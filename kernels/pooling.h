#pragma once
// Maximum and mean over square windows of NHWC images. Sums are f32. Vectors of 16 bytes where the channels and the
// pointers allow it, single elements otherwise.
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// x [N,H,W,C] -> y [N,P,Q,C]; the same padding on every side.
struct Pool2dShape {
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t window = 1, stride = 1, padding = 0;
  int64_t p() const { return (h + 2 * padding - window) / stride + 1; }
  int64_t q() const { return (w + 2 * padding - window) / stride + 1; }
};

// y[n,p,q,c] = max over the window of x; argmax[n,p,q,c] = its position r*window + s in the window. The first maximum
// wins, a NaN wins over everything; padding never wins.
// Moves: x, y and argmax once (overlapping windows hit the caches).
// Needs: 1 <= window <= 16 (argmax is a byte), padding <= window/2; x and y not overlapping.
struct MaxPoolForward {
  Pool2dShape shape;
  DataType type = DataType::f32;
  const void* x = nullptr;
  void* y = nullptr;
  uint8_t* argmax = nullptr;  // optional
};
bool max_pool_forward(const MaxPoolForward& args, Stream stream);
Cost max_pool_forward_cost(const MaxPoolForward& args);

// dx[n,h,w,c] = sum of dy[n,p,q,c] over the windows whose argmax is this pixel, in ascending order of p, q. Every
// element of dx is written.
// Moves: dy, argmax and dx once.
// Needs: as forward; dx overlaps nothing.
struct MaxPoolBackward {
  Pool2dShape shape;
  DataType type = DataType::f32;
  const void* dy = nullptr;
  const uint8_t* argmax = nullptr;
  void* dx = nullptr;
};
bool max_pool_backward(const MaxPoolBackward& args, Stream stream);
Cost max_pool_backward_cost(const MaxPoolBackward& args);

// y[n,p,q,c] = mean over the window of x.
// Moves: x and y once.
// Needs: padding is 0; x and y not overlapping.
struct AvgPoolForward {
  Pool2dShape shape;
  DataType type = DataType::f32;
  const void* x = nullptr;
  void* y = nullptr;
};
bool avg_pool_forward(const AvgPoolForward& args, Stream stream);
Cost avg_pool_forward_cost(const AvgPoolForward& args);

// dx[n,h,w,c] = sum of dy[n,p,q,c] / window^2 over the windows that cover this pixel. Every element of dx is written.
// Moves: dy and dx once.
// Needs: as forward.
struct AvgPoolBackward {
  Pool2dShape shape;
  DataType type = DataType::f32;
  const void* dy = nullptr;
  void* dx = nullptr;
};
bool avg_pool_backward(const AvgPoolBackward& args, Stream stream);
Cost avg_pool_backward_cost(const AvgPoolBackward& args);

// y[n,c] = mean over the pixels of x[n,:,c]; x [N,pixels,C]. (7x7 before the classifier is pixels = 49.)
// Moves: x and y once.
// Needs: x and y not overlapping.
struct GlobalAvgPoolForward {
  int64_t n = 0, pixels = 0, c = 0;
  DataType type = DataType::f32;
  const void* x = nullptr;
  void* y = nullptr;
};
bool global_avg_pool_forward(const GlobalAvgPoolForward& args, Stream stream);
Cost global_avg_pool_forward_cost(const GlobalAvgPoolForward& args);

// dx[n,i,c] = dy[n,c] / pixels.
// Moves: dy and dx once.
// Needs: dx and dy not overlapping.
struct GlobalAvgPoolBackward {
  int64_t n = 0, pixels = 0, c = 0;
  DataType type = DataType::f32;
  const void* dy = nullptr;
  void* dx = nullptr;
};
bool global_avg_pool_backward(const GlobalAvgPoolBackward& args, Stream stream);
Cost global_avg_pool_backward_cost(const GlobalAvgPoolBackward& args);

}  // namespace engine::kernels
