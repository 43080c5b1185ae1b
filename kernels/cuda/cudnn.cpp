// Convolutions by cuDNN: an operation graph for each problem, the first engine that its heuristics offer and that
// repeats bit by bit.
#include <array>
#include <memory>
#include <vector>

#include "kernels/cuda/cudnn_api.h"
#include "kernels/cuda/libraries.h"

namespace engine::kernels {

struct LibraryPlan {
  cuda::Descriptor plan{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR};
  int64_t workspace = 0;
};

namespace cuda {
namespace {

// Tensors of a graph, named by the numbers that a variant pack gives pointers to.
enum Uid : int64_t { kX = 1, kW, kY, kScale, kShift, kResidual, kConvolved, kScaled, kShifted, kSummed };

constexpr int64_t kMostWorkspace = int64_t{1} << 30;
// Required before version 9.2 and deprecated since.
constexpr auto kGraphHandle = static_cast<cudnnBackendAttributeName_t>(800);
constexpr auto kPlanHandle = static_cast<cudnnBackendAttributeName_t>(400);

cudnnDataType_t data_type(DataType type) {
  switch (type) {
    case DataType::f32:
      return CUDNN_DATA_FLOAT;
    case DataType::bf16:
      return CUDNN_DATA_BFLOAT16;
    case DataType::f16:
      return CUDNN_DATA_HALF;
  }
  return CUDNN_DATA_FLOAT;
}

// cuDNN names the axes N, C, H, W whatever lies how in memory.
struct Nchw {
  int64_t n, c, h, w;
};

Descriptor tensor(Uid uid, const Nchw& size, cudnnDataType_t type, bool is_virtual = false) {
  Descriptor descriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  descriptor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, int64_t{uid})
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, {size.n, size.c, size.h, size.w})
      .set(CUDNN_ATTR_TENSOR_STRIDES, {size.h * size.w * size.c, 1, size.w * size.c, size.c})
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, int64_t{16})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual)
      .finalize();
  return descriptor;
}

Descriptor convolution(const Conv2dShape& shape) {
  Descriptor descriptor(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  descriptor.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, int64_t{2})
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, {shape.padding, shape.padding})
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, {shape.padding, shape.padding})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, {1, 1})
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, {shape.stride, shape.stride})
      .finalize();
  return descriptor;
}

// The operations of a graph, with everything that they point to.
struct Operations {
  std::vector<Descriptor> parts, operations;

  const Descriptor& keep(Descriptor descriptor) {
    parts.push_back(std::move(descriptor));
    return parts.back();
  }
  Operations() { parts.reserve(32); }  // references to parts stay valid

  cudnnStatus_t status() const {
    for (const auto* list : {&parts, &operations})
      for (const Descriptor& descriptor : *list)
        if (!descriptor.ok()) return descriptor.status();
    return CUDNN_STATUS_SUCCESS;
  }

  // y = mode(x, b)
  void pointwise(cudnnPointwiseMode_t mode, const Descriptor& x, const Descriptor* b, const Descriptor& y) {
    Descriptor how(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode)
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
        .finalize();
    Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, keep(std::move(how)))
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y).finalize();
    operations.push_back(std::move(operation));
  }
};

Operations forward(const LibraryConvolution& problem) {
  const Conv2dShape& s = problem.shape;
  const cudnnDataType_t type = data_type(problem.type);
  const Nchw output = {s.n, s.k, s.p(), s.q()};
  Operations all;
  const bool epilogue = problem.scale_shift || problem.residual || problem.relu;
  const Descriptor& x = all.keep(tensor(kX, {s.n, s.c, s.h, s.w}, type));
  const Descriptor& w = all.keep(tensor(kW, {s.k, s.c / s.groups, s.r, s.s}, type));
  const Descriptor& y = all.keep(tensor(kY, output, type));
  const auto between = [&](Uid uid) { return &all.keep(tensor(uid, output, CUDNN_DATA_FLOAT, true)); };
  const Descriptor* last = epilogue ? between(kConvolved) : &y;

  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, all.keep(convolution(s)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, *last)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1.0f)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 0.0f)
      .finalize();
  all.operations.push_back(std::move(operation));

  // Each step writes the next virtual tensor, the last one y.
  const auto step = [&](cudnnPointwiseMode_t mode, const Descriptor* b, bool is_last, Uid uid) {
    const Descriptor* result = is_last ? &y : between(uid);
    all.pointwise(mode, *last, b, *result);
    last = result;
  };
  const auto per_channel = [&](Uid uid) { return &all.keep(tensor(uid, {1, s.k, 1, 1}, CUDNN_DATA_FLOAT)); };
  if (problem.scale_shift) {
    step(CUDNN_POINTWISE_MUL, per_channel(kScale), false, kScaled);
    step(CUDNN_POINTWISE_ADD, per_channel(kShift), !problem.residual && !problem.relu, kShifted);
  }
  if (problem.residual) step(CUDNN_POINTWISE_ADD, &all.keep(tensor(kResidual, output, type)), !problem.relu, kSummed);
  if (problem.relu) step(CUDNN_POINTWISE_RELU_FWD, nullptr, true, kY);
  return all;
}

Operations backward_data(const LibraryConvolution& problem) {
  const Conv2dShape& s = problem.shape;
  const cudnnDataType_t type = data_type(problem.type);
  Operations all;
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, all.keep(convolution(s)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, all.keep(tensor(kW, {s.k, s.c / s.groups, s.r, s.s}, type)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, all.keep(tensor(kX, {s.n, s.c, s.h, s.w}, type)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, all.keep(tensor(kY, {s.n, s.k, s.p(), s.q()}, type)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, 1.0f)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT, 0.0f)
      .finalize();
  all.operations.push_back(std::move(operation));
  return all;
}

Operations backward_weights(const LibraryConvolution& problem) {
  const Conv2dShape& s = problem.shape;
  const cudnnDataType_t type = data_type(problem.type);
  Operations all;
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, all.keep(convolution(s)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, all.keep(tensor(kX, {s.n, s.c, s.h, s.w}, type)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, all.keep(tensor(kY, {s.n, s.k, s.p(), s.q()}, type)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
           all.keep(tensor(kW, {s.k, s.c / s.groups, s.r, s.s}, problem.f32_gradient ? CUDNN_DATA_FLOAT : type)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_TYPE_FLOAT, 1.0f)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, CUDNN_TYPE_FLOAT, 0.0f)
      .finalize();
  all.operations.push_back(std::move(operation));
  return all;
}

Operations operations_of(const LibraryConvolution& problem) {
  switch (problem.direction) {
    case ConvDirection::forward:
      return forward(problem);
    case ConvDirection::backward_data:
      return backward_data(problem);
    case ConvDirection::backward_weights:
      return backward_weights(problem);
  }
  return {};
}

// Repeats bit by bit, and sums products in f32: tensor cores would round f32 inputs to TF32 first, and the transforms
// of Winograd and Fourier round on the way.
bool engine_is_acceptable(cudnnBackendDescriptor_t config, DataType type, bool tf32) {
  const CudnnApi& api = cudnn_api();
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t pointer = engine.get();
  int64_t count = 0;
  if (!engine.ok() || api.get_attribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                        &pointer) != CUDNN_STATUS_SUCCESS)
    return false;
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes{};
  if (api.get_attribute(engine.get(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                        static_cast<int64_t>(notes.size()), &count, notes.data()) != CUDNN_STATUS_SUCCESS)
    return false;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const cudnnBackendNumericalNote_t note = notes[i];
    if (note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
        note == CUDNN_NUMERICAL_NOTE_WINOGRAD || note == CUDNN_NUMERICAL_NOTE_FFT)
      return false;
    if (type == DataType::f32 &&
        ((note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE && !tf32) || note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS))
      return false;
  }
  return true;
}

// The plan of an engine configuration, unless it cannot be made or needs too much memory.
std::unique_ptr<LibraryPlan> plan_of(cudnnBackendDescriptor_t config, cudnnHandle_t handle) {
  auto made = std::make_unique<LibraryPlan>();
  made->plan.set(kPlanHandle, CUDNN_TYPE_HANDLE, handle)
      .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, config)
      .finalize();
  int64_t count = 0;
  if (!made->plan.ok() ||
      cudnn_api().get_attribute(made->plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                                &made->workspace) != CUDNN_STATUS_SUCCESS)
    return nullptr;
  return made->workspace <= kMostWorkspace ? std::move(made) : nullptr;
}

std::unique_ptr<LibraryPlan> best_plan(const Descriptor& graph, cudnnHandle_t handle, DataType type, bool tf32,
                                       cudnnBackendHeurMode_t mode) {
  const CudnnApi& api = cudnn_api();
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode)
      .finalize();
  int64_t count = 0;
  if (!heuristic.ok() || api.get_attribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                           CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr) != CUDNN_STATUS_SUCCESS)
    return nullptr;
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> pointers;
  for (int64_t i = 0; i < count; ++i) {
    configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (!configs.back().ok()) return nullptr;
    pointers.push_back(configs.back().get());
  }
  if (api.get_attribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count,
                        pointers.data()) != CUDNN_STATUS_SUCCESS)
    return nullptr;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    if (!engine_is_acceptable(pointers[i], type, tf32)) continue;
    if (std::unique_ptr<LibraryPlan> plan = plan_of(pointers[i], handle)) return plan;
  }
  return nullptr;
}

Status load_library(const char** version) {
  return cudnn_api().loaded(version);
}

Status create(const LibraryConvolution& problem, LibraryPlan** out) {
  *out = nullptr;
  const char* version = "";
  if (const Status status = load_library(&version); !status.ok()) return status;
  cudnnHandle_t handle = nullptr;
  const Status has_handle = current_handle(&handle);

  const Operations operations = operations_of(problem);
  if (const cudnnStatus_t status = operations.status(); status != CUDNN_STATUS_SUCCESS) return status_of(status);
  std::vector<cudnnBackendDescriptor_t> pointers;
  for (const Descriptor& operation : operations.operations) pointers.push_back(operation.get());
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (handle != nullptr) graph.set(kGraphHandle, CUDNN_TYPE_HANDLE, handle);
  graph
      .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(pointers.size()),
           pointers.data())
      .finalize();
  if (!graph.ok()) return status_of(graph.status());
  // Only here, so that a graph is judged where there is no GPU too.
  if (!has_handle.ok()) return has_handle;

  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    std::unique_ptr<LibraryPlan> plan = best_plan(graph, handle, problem.type, problem.tf32, mode);
    if (!plan) continue;
    *out = plan.release();
    return {};
  }
  return {Problem::unsupported, 0, "cuDNN has no deterministic engine for this convolution"};
}

Status run(const LibraryPlan* plan, const LibraryConvolutionData& data, Stream stream) {
  cudnnHandle_t handle = nullptr;
  if (const Status status = current_handle(&handle); !status.ok()) return status;
  if (const Status status = status_of(cudnn_api().set_stream(handle, stream)); !status.ok()) return status;

  std::vector<int64_t> uids = {kX, kW, kY};
  std::vector<void*> pointers = {data.x, data.w, data.y};
  const auto add = [&](Uid uid, const void* pointer) {
    if (pointer == nullptr) return;
    uids.push_back(uid);
    pointers.push_back(const_cast<void*>(pointer));
  };
  add(kScale, data.scale);
  add(kShift, data.shift);
  add(kResidual, data.residual);
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, uids)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, static_cast<int64_t>(pointers.size()),
           pointers.data())
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, data.workspace)
      .finalize();
  if (!pack.ok()) return status_of(pack.status());
  return status_of(cudnn_api().execute(handle, plan->plan.get(), pack.get()));
}

}  // namespace

const ConvolutionLibrary& cudnn() {
  static const ConvolutionLibrary table = {
      .name = "cuDNN",
      .load = load_library,
      .create = create,
      .workspace = [](const LibraryPlan* plan) { return static_cast<size_t>(plan->workspace); },
      .run = run,
      .destroy = [](LibraryPlan* plan) { delete plan; },
  };
  return table;
}

}  // namespace cuda
}  // namespace engine::kernels
