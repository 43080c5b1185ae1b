#pragma once
// Private to kernels: the three matrix products of a linear layer, d[m,n] = sum_k a(m,k) b(k,n) + bias[n].
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

struct Product {
  // How the operands lie in memory, row-major:
  enum class Form : uint8_t {
    forward,          // a [m,k], b [n,k], d of `type`
    backward_data,    // a [m,k], b [k,n], d of `type`
    backward_weights  // a [k,m], b [k,n], d f32
  };
  Form form;
  DataType type;
  int64_t m, n, k;
  const void* a;
  const void* b;
  const float* bias;  // optional
  void* d;
};

bool product_half(const Product& p, Stream stream);
bool product_float(const Product& p, Stream stream);

}  // namespace engine::kernels
