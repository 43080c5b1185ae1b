// The classifier: matrix products on oneDNN. Parameters are f32 and are rounded to the activations' type on the way in.
#include "engine/cpu/allocator.h"
#include "engine/cpu/backend.h"
#include "engine/cpu/columns.h"
#include "engine/cpu/dnnl.h"
#include "engine/cpu/simd/kernels.h"
#include "engine/cpu/threads.h"

namespace engine::cpu {
namespace {

using onednn::device;
using onednn::guarded;
using onednn::matmul_descriptor;
using onednn::memory;
using onednn::stream;
using onednn::Type;
using onednn::type_of;
using onednn::user_scratchpad;

// A row-major matrix, or the transpose of one.
memory::desc matrix(int64_t rows, int64_t columns, Type type, bool transposed = false) {
  return {{rows, columns}, type, transposed ? memory::dims{1, rows} : memory::dims{columns, 1}};
}

// c = a b (+ bias)
void product(const memory::desc& a_desc, const void* a, const memory::desc& b_desc, const void* b,
             const memory::desc& bias_desc, const void* bias, const memory::desc& c_desc, void* c) {
  use_threads();
  const auto descriptor = matmul_descriptor(a_desc, b_desc, bias_desc, c_desc, user_scratchpad());
  const auto bound = [](const memory::desc& desc, const void* data) {
    return memory(desc, device(), const_cast<void*>(data));
  };
  std::unordered_map<int, memory> args{
      {DNNL_ARG_SRC, bound(a_desc, a)}, {DNNL_ARG_WEIGHTS, bound(b_desc, b)}, {DNNL_ARG_DST, bound(c_desc, c)}};
  if (bias) args.emplace(DNNL_ARG_BIAS, bound(bias_desc, bias));
  const Buffer scratch(descriptor.scratchpad_desc().get_size());
  if (scratch.bytes() > 0) args.emplace(DNNL_ARG_SCRATCHPAD, bound(descriptor.scratchpad_desc(), scratch.as()));
  dnnl::matmul(descriptor).execute(stream(), args);
  stream().wait();
}

// The weights in the type of the activations.
class Weights {
 public:
  Weights(const Tensor& w, DType dtype)
      : rounded_(dtype == DType::bf16 ? static_cast<size_t>(w.numel()) * sizeof(bf16) : 0), data_(w.raw()) {
    if (dtype != DType::bf16) return;
    data_ = rounded_.as();
    parallel_for(
        w.numel(),
        [&](int64_t begin, int64_t end) {
          kernels_for_this_cpu().to_bf16(w.raw<float>() + begin, rounded_.as<bf16>() + begin, end - begin);
        },
        static_cast<int64_t>(w.bytes()) > kSerialBytes);
  }
  const void* data() const { return data_; }

 private:
  Buffer rounded_;
  const void* data_;
};

}  // namespace

void CpuBackend::linear_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y) {
  require_matrix_type("linear", x.dtype());
  const int64_t n = x.size(0), c = x.size(1), k = w.size(0);
  const Type type = type_of(x.dtype());
  const Weights weights(w, x.dtype());
  guarded("linear", [&] {
    product(matrix(n, c, type), x.raw(), matrix(c, k, type, true), weights.data(),
            bias.defined() ? matrix(1, k, Type::f32) : memory::desc(), bias.defined() ? bias.raw() : nullptr,
            matrix(n, k, type), y.raw());
  });
}

void CpuBackend::linear_backward(const Tensor& x, const Tensor& w, const Tensor& dy, const Tensor& dx, const Tensor& dw,
                                 const Tensor& dbias) {
  require_matrix_type("linear_backward", x.dtype());
  const int64_t n = x.size(0), c = x.size(1), k = w.size(0);
  const Type type = type_of(x.dtype());
  guarded("linear_backward", [&] {
    if (dx.defined()) {
      const Weights weights(w, x.dtype());
      product(matrix(n, k, type), dy.raw(), matrix(k, c, type), weights.data(), {}, nullptr, matrix(n, c, type),
              dx.raw());
    }
    if (dw.defined())
      product(matrix(k, n, type, true), dy.raw(), matrix(n, c, type), x.raw(), {}, nullptr, matrix(k, c, Type::f32),
              dw.raw());
  });
  if (dbias.defined()) channel_sums(dy, dbias);
}

}  // namespace engine::cpu
