#pragma once
// The vendor's libraries as fallbacks: cuDNN for convolutions, cuBLASLt for matrix products. Each is loaded from the
// system at its first use (load()), so that nothing depends on them to start.
#include <cstddef>
#include <cstdint>

#include "kernels/runtime.h"
#include "kernels/types.h"

namespace engine::kernels {

enum class ConvDirection : uint8_t { forward, backward_data, backward_weights };

// y = conv(x, w); dx = conv^T(dy, w); dw = x^T dy. Activations NHWC, filters KRSC, both of `type`; dw is f32 if
// `f32_gradient`. The forward direction may add an epilogue: y = relu(conv(x, w) * scale[k] + shift[k] + residual).
struct LibraryConvolution {
  Conv2dShape shape;
  DataType type = DataType::f32;
  bool tf32 = false;  // f32 operands may be rounded to TF32
  ConvDirection direction = ConvDirection::forward;
  bool f32_gradient = false;
  bool scale_shift = false, residual = false, relu = false;
  bool operator==(const LibraryConvolution&) const = default;
};

// Device memory. Of x, w, y two are read and one is written, as the direction says; y stands for dy too.
struct LibraryConvolutionData {
  void *x = nullptr, *w = nullptr, *y = nullptr;
  const float *scale = nullptr, *shift = nullptr;
  const void* residual = nullptr;
  void* workspace = nullptr;
};

struct ConvolutionLibrary {
  const char* name;
  Status (*load)(const char** version);  // "9.19.0"; the reason if it cannot be loaded
  // The library's best guess for the current device; Problem::unsupported if it has none.
  Status (*create)(const LibraryConvolution& convolution, struct LibraryPlan** out);
  size_t (*workspace)(const LibraryPlan* plan);                                               // bytes
  Status (*run)(const LibraryPlan* plan, const LibraryConvolutionData& data, Stream stream);  // async
  void (*destroy)(LibraryPlan* plan);
};

// c [rows, columns] = op(a) op(b) (+ bias [columns], f32), row-major; `a` is [rows, inner], or [inner, rows] if
// a_transposed; b is [inner, columns], or [columns, inner] if b_transposed. c is f32 if `f32_result`.
struct LibraryMatmul {
  int64_t rows = 0, columns = 0, inner = 0;
  DataType type = DataType::f32;
  bool tf32 = false;  // f32 operands may be rounded to TF32
  bool a_transposed = false, b_transposed = false, f32_result = false;
  const void *a = nullptr, *b = nullptr;
  const float* bias = nullptr;
  void* c = nullptr;
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
};

struct MatmulLibrary {
  const char* name;
  Status (*load)(const char** version);
  Status (*multiply)(const LibraryMatmul& product, Stream stream);  // async; unsupported: nothing was launched
};

// The GPUs of several processes, joined; all calls but load() and unique_id() are made by all of them in the same
// order.
struct RankLibrary {
  static constexpr size_t kIdBytes = 128;

  const char* name;
  Status (*load)(const char** version);
  Status (*unique_id)(void* id);  // kIdBytes; by one process, which tells the others
  Status (*join)(const void* id, int rank, int size,
                 struct LibraryRanks** out);  // of the current device; waits for all
  // Calls between the two become one.
  Status (*begin_group)();
  Status (*end_group)();
  // data = the sum over the ranks, the same bits on all; async.
  Status (*sum)(LibraryRanks* ranks, float* data, size_t count, Stream stream);
  // all [size*count] = `mine` of every rank; async.
  Status (*all_gather)(LibraryRanks* ranks, const float* mine, float* all, size_t count, Stream stream);
  void (*leave)(LibraryRanks* ranks);  // waits for nobody
};

struct Libraries {
  const ConvolutionLibrary* cudnn = nullptr;
  const MatmulLibrary* cublaslt = nullptr;
  const RankLibrary* nccl = nullptr;
};

}  // namespace engine::kernels
