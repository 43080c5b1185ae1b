// Matrix products by cuBLASLt. It thinks in columns: a row-major c = a b is its c^T = b^T a^T, so the operands change
// places.
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <string>

#include "kernels/cuda/libraries.h"
#include "kernels/cuda/shared_library.h"

namespace engine::kernels::cuda {
namespace {

struct Api : LibraryState {
  decltype(&::cublasLtGetVersion) get_version = nullptr;
  decltype(&::cublasLtGetStatusString) status_string = nullptr;
  decltype(&::cublasLtCreate) create = nullptr;
  decltype(&::cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&::cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&::cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&::cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&::cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&::cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&::cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&::cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&::cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&::cublasLtMatmul) matmul = nullptr;
};

Api load() {
  Api api;
  SharedLibrary library("ENGINE_CUBLASLT", {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
                                            "/usr/local/cuda/lib64/libcublasLt.so"});
  const bool complete =
      library.find("cublasLtGetVersion", api.get_version) &&
      library.find("cublasLtGetStatusString", api.status_string) && library.find("cublasLtCreate", api.create) &&
      library.find("cublasLtMatmulDescCreate", api.desc_create) &&
      library.find("cublasLtMatmulDescDestroy", api.desc_destroy) &&
      library.find("cublasLtMatmulDescSetAttribute", api.desc_set) &&
      library.find("cublasLtMatrixLayoutCreate", api.layout_create) &&
      library.find("cublasLtMatrixLayoutDestroy", api.layout_destroy) &&
      library.find("cublasLtMatmulPreferenceCreate", api.preference_create) &&
      library.find("cublasLtMatmulPreferenceDestroy", api.preference_destroy) &&
      library.find("cublasLtMatmulPreferenceSetAttribute", api.preference_set) &&
      library.find("cublasLtMatmulAlgoGetHeuristic", api.heuristic) && library.find("cublasLtMatmul", api.matmul);
  if (!complete) {
    api.problem = library.problem() + "; install cuBLAS, or name its file in ENGINE_CUBLASLT";
    return api;
  }
  api.set_version(api.get_version());
  return api;
}

const Api& api() {
  static const Api instance = load();
  return instance;
}

Status status_of(cublasStatus_t status) {
  if (status == CUBLAS_STATUS_SUCCESS) return {};
  const Problem problem = status == CUBLAS_STATUS_ALLOC_FAILED    ? Problem::out_of_memory
                          : status == CUBLAS_STATUS_NOT_SUPPORTED ? Problem::unsupported
                                                                  : Problem::other;
  return {problem, static_cast<int>(status), api().status_string(status)};
}

Status load_library(const char** version) {
  return api().loaded(version);
}

Status current_handle(cublasLtHandle_t* out) {
  static std::mutex mutex;
  static std::map<int, cublasLtHandle_t> handles;
  int device = 0;
  if (const cudaError_t code = cudaGetDevice(&device); code != cudaSuccess)
    return {Problem::other, static_cast<int>(code), cudaGetErrorString(code)};
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = handles[device];
  if (handle == nullptr) {
    if (const Status status = status_of(api().create(&handle)); !status.ok()) return status;
  }
  *out = handle;
  return {};
}

cudaDataType_t data_type(DataType type) {
  switch (type) {
    case DataType::f32:
      return CUDA_R_32F;
    case DataType::bf16:
      return CUDA_R_16BF;
    case DataType::f16:
      return CUDA_R_16F;
  }
  return CUDA_R_32F;
}

// The first error of a series of calls.
class Errors {
 public:
  bool operator()(cublasStatus_t status) {
    if (first_ == CUBLAS_STATUS_SUCCESS) first_ = status;
    return first_ == CUBLAS_STATUS_SUCCESS;
  }
  Status status() const { return status_of(first_); }

 private:
  cublasStatus_t first_ = CUBLAS_STATUS_SUCCESS;
};

// Everything that describes one product; destroys itself.
struct Description {
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t left = nullptr, right = nullptr, result = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  Errors errors;

  explicit Description(const LibraryMatmul& p) {
    const cudaDataType_t type = data_type(p.type), result_type = p.f32_result ? CUDA_R_32F : type;
    const bool tf32 = p.tf32 && p.type == DataType::f32;
    const cublasComputeType_t arithmetic = tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    if (!errors(api().desc_create(&product, arithmetic, CUDA_R_32F))) return;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    if (p.b_transposed) errors(api().desc_set(product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
    if (p.a_transposed) errors(api().desc_set(product, CUBLASLT_MATMUL_DESC_TRANSB, &transposed, sizeof transposed));
    if (p.bias != nullptr) {
      const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      const cudaDataType_t bias_type = CUDA_R_32F;
      errors(api().desc_set(product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
      errors(api().desc_set(product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias, sizeof p.bias));
      errors(api().desc_set(product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias_type, sizeof bias_type));
    }
    // Rows and columns as they lie in memory, seen in columns.
    const int64_t b_rows = p.b_transposed ? p.columns : p.inner, b_columns = p.b_transposed ? p.inner : p.columns;
    const int64_t a_rows = p.a_transposed ? p.inner : p.rows, a_columns = p.a_transposed ? p.rows : p.inner;
    errors(
        api().layout_create(&left, type, static_cast<uint64_t>(b_columns), static_cast<uint64_t>(b_rows), b_columns));
    errors(
        api().layout_create(&right, type, static_cast<uint64_t>(a_columns), static_cast<uint64_t>(a_rows), a_columns));
    errors(api().layout_create(&result, result_type, static_cast<uint64_t>(p.columns), static_cast<uint64_t>(p.rows),
                               p.columns));
    if (!errors(api().preference_create(&preference))) return;
    // Split sums that are added in one order: the result repeats bit by bit.
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    errors(api().preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &p.workspace_bytes,
                                sizeof p.workspace_bytes));
    errors(
        api().preference_set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions));
  }
  ~Description() {
    if (preference != nullptr) (void)api().preference_destroy(preference);
    for (cublasLtMatrixLayout_t layout : {left, right, result})
      if (layout != nullptr) (void)api().layout_destroy(layout);
    if (product != nullptr) (void)api().desc_destroy(product);
  }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;
};

Status multiply(const LibraryMatmul& p, Stream stream) {
  const char* version = "";
  if (const Status status = load_library(&version); !status.ok()) return status;
  const Description description(p);
  if (const Status status = description.errors.status(); !status.ok()) return status;
  cublasLtHandle_t handle = nullptr;
  if (const Status status = current_handle(&handle); !status.ok()) return status;
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  if (const Status status =
          status_of(api().heuristic(handle, description.product, description.left, description.right,
                                    description.result, description.result, description.preference, 1, &found, &count));
      !status.ok())
    return status;
  if (count == 0) return {Problem::unsupported, 0, "cuBLASLt has no algorithm for this product"};
  const float one = 1, zero = 0;
  return status_of(api().matmul(handle, description.product, &one, p.b, description.left, p.a, description.right, &zero,
                                p.c, description.result, p.c, description.result, &found.algo, p.workspace,
                                p.workspace_bytes, stream));
}

}  // namespace

const MatmulLibrary& cublaslt() {
  static const MatmulLibrary table = {.name = "cuBLASLt", .load = load_library, .multiply = multiply};
  return table;
}

}  // namespace engine::kernels::cuda
