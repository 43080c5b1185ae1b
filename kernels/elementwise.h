#pragma once
// Elementwise operations and the sum of all elements. Computed in f32 and rounded once. A NaN passes through every one
// of them, ReLU included, so that it reaches the loss. Arrays that start at a multiple of 16 bytes take a vector path.
#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

enum class UnaryOp : uint8_t { relu, sigmoid, exp, log, negate };
enum class BinaryOp : uint8_t { add, subtract, multiply, divide };

// y[i] = op(x[i]).
// Moves: x and y once.
// Needs: x and y aligned to their elements; y == x is allowed, other overlaps are not.
struct Unary {
  UnaryOp op = UnaryOp::relu;
  DataType type = DataType::f32;
  int64_t count = 0;
  const void* x = nullptr;
  void* y = nullptr;
};
bool unary(const Unary& args, Stream stream);
Cost unary_cost(const Unary& args);

// y[i] = a[i] op b[i], or a[i] op b[0] when b_count is 1.
// Moves: a, b and y once.
// Needs: b_count is count or 1; y may be a or b, other overlaps are not allowed (nor y == b when b_count is 1 < count).
struct Binary {
  BinaryOp op = BinaryOp::add;
  DataType type = DataType::f32;
  int64_t count = 0, b_count = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  void* y = nullptr;
};
bool binary(const Binary& args, Stream stream);
Cost binary_cost(const Binary& args);

// y[i] = scale * x[i] + shift.
// Moves: x and y once.
// Needs: y == x is allowed, other overlaps are not.
struct Affine {
  DataType type = DataType::f32;
  int64_t count = 0;
  const void* x = nullptr;
  float scale = 1, shift = 0;
  void* y = nullptr;
};
bool affine(const Affine& args, Stream stream);
Cost affine_cost(const Affine& args);

// y[i] = relu(a[i] + b[i]): the join of a residual block (He et al. 2015, eq. 1).
// Moves: a, b and y once.
// Needs: y may be a or b, other overlaps are not allowed.
struct AddRelu {
  DataType type = DataType::f32;
  int64_t count = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  void* y = nullptr;
};
bool add_relu(const AddRelu& args, Stream stream);
Cost add_relu_cost(const AddRelu& args);

// dx[i] = y[i] > 0 ? dy[i] : 0, y being the forward result.
// Moves: dy, y and dx once.
// Needs: dx may be dy or y, other overlaps are not allowed.
struct ReluBackward {
  DataType type = DataType::f32;
  int64_t count = 0;
  const void* dy = nullptr;
  const void* y = nullptr;
  void* dx = nullptr;
};
bool relu_backward(const ReluBackward& args, Stream stream);
Cost relu_backward_cost(const ReluBackward& args);

// *y = sum of x[i], in an order that depends on count alone (two launches; f32 sums of pieces, merged in a tree).
// Moves: x once.
// Needs: workspace of sum_workspace(count) bytes, aligned to 4, which may hold anything; y is one float.
struct Sum {
  DataType type = DataType::f32;
  int64_t count = 0;
  const void* x = nullptr;
  float* y = nullptr;
  void* workspace = nullptr;
};
bool sum(const Sum& args, Stream stream);
size_t sum_workspace(int64_t count);
Cost sum_cost(const Sum& args);

}  // namespace engine::kernels
