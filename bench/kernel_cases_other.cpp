#include <algorithm>
#include <string>

#include "bench/kernel_cases.h"
#include "bench/kernel_operands.h"

namespace engine::bench {
namespace {

using namespace kernels;
using kernels::Module;  // rather than a net's

struct Map {  // [n,h,w,c]
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t rows() const { return n * h * w; }
  int64_t count() const { return rows() * c; }
};

std::string text_of(const Map& m) {
  return std::to_string(m.n) + "x" + std::to_string(m.h) + "x" + std::to_string(m.w) + "x" + std::to_string(m.c);
}

class Others {
 public:
  Others(const Module& module, DataType type, Stream stream) : module_(module), type_(type), stream_(stream) {}

  std::vector<MakeCase> take() { return std::move(cases_); }

  void elementwise(const Map& map) {
    one<Unary>("unary", map, unary_cost, kernels().unary, [](Unary& a, Operands& m, int64_t count) {
      a.x = m.activation(count);
      a.y = m.activation(count);
    });
    one<Binary>("binary", map, binary_cost, kernels().binary, [](Binary& a, Operands& m, int64_t count) {
      a.b_count = count;
      a.a = m.activation(count);
      a.b = m.activation(count);
      a.y = m.activation(count);
    });
    one<Affine>("affine", map, affine_cost, kernels().affine, [](Affine& a, Operands& m, int64_t count) {
      a.x = m.activation(count);
      a.y = m.activation(count);
    });
    one<AddRelu>("add_relu", map, add_relu_cost, kernels().add_relu, [](AddRelu& a, Operands& m, int64_t count) {
      a.a = m.activation(count);
      a.b = m.activation(count);
      a.y = m.activation(count);
    });
    one<ReluBackward>("relu_backward", map, relu_backward_cost, kernels().relu_backward,
                      [](ReluBackward& a, Operands& m, int64_t count) {
                        a.dy = m.activation(count);
                        a.y = m.activation(count);
                        a.dx = m.activation(count);
                      });
    one<Sum>("sum", map, sum_cost, kernels().sum,
             [workspace = kernels().sum_workspace](Sum& a, Operands& m, int64_t count) {
               a.x = m.activation(count);
               a.y = m.floats(1);
               a.workspace = m.bytes(workspace(count));
             });
  }

  void layout(const Map& map) {
    add("fill", map, fill_cost, kernels().fill, [=, type = type_](Operands& m) {
      return Fill{.y = m.activation(map.count()), .type = element_type(type), .count = map.count()};
    });
    add("convert", map, convert_cost, kernels().convert, [=, type = type_](Operands& m) {
      const ElementType other = type == DataType::f32 ? ElementType::bf16 : ElementType::f32;
      Convert args = {.x = m.activation(map.count()), .x_type = element_type(type)};
      args.y = m.bytes(static_cast<size_t>(map.count() * kernels::size_of(other)));
      args.y_type = other;
      args.count = map.count();
      return args;
    });
    add("transpose", map, transpose_cost, kernels().transpose, [=, type = type_](Operands& m) {
      Transpose args = {.x = m.activation(map.count()), .y = m.activation(map.count())};
      args.element_bytes = kernels::size_of(type);
      args.batch = map.n;
      args.rows = map.h * map.w;
      args.columns = map.c;
      return args;
    });
    const SubsampleShape shape = {
        .n = map.n, .h = map.h, .w = map.w, .c = map.c, .k = 2 * map.c, .stride = 2, .before = map.c / 2};
    const int64_t outputs = shape.n * shape.p() * shape.q() * shape.k;
    add("subsample_pad", map, subsample_pad_cost, kernels().subsample_pad, [=, type = type_](Operands& m) {
      return SubsamplePad{.shape = shape, .type = type, .x = m.activation(map.count()), .y = m.activation(outputs)};
    });
    add("subsample_pad_backward", map, subsample_pad_backward_cost, kernels().subsample_pad_backward,
        [=, type = type_](Operands& m) {
          SubsamplePadBackward args = {.shape = shape, .type = type};
          args.dy = m.activation(outputs);
          args.dx = m.activation(map.count());
          return args;
        });
  }

  void images(const Map& map) {
    add("normalize_images", map, normalize_images_cost, kernels().normalize_images, [=, type = type_](Operands& m) {
      static constexpr float kHalf[] = {0.5f, 0.5f, 0.5f};
      NormalizeImages args = {.n = map.n, .h = map.h, .w = map.w, .p = map.h, .q = map.w, .type = type};
      args.x = static_cast<const uint8_t*>(m.bytes(static_cast<size_t>(map.count())));
      args.mean = kHalf;
      args.std = kHalf;
      args.y = m.activation(map.count());
      return args;
    });
    add("normalize_images, mixed", map, normalize_images_cost, kernels().normalize_images,
        [=, type = type_](Operands& m) {
          static constexpr float kHalf[] = {0.5f, 0.5f, 0.5f};
          NormalizeImages args = {.n = map.n, .h = map.h, .w = map.w, .p = map.h, .q = map.w, .type = type};
          args.x = static_cast<const uint8_t*>(m.bytes(static_cast<size_t>(map.count())));
          args.mix = m.copy_of(std::vector<ImageMix>{{.weight = 0.7f, .target_weight = 0.7f, .partner = 1}});
          args.mean = kHalf;
          args.std = kHalf;
          args.y = m.activation(map.count());
          return args;
        });
  }

  // What a batch normalisation does between its passes.
  void batch_norm(const Map& map) {
    const int64_t rows = map.rows(), c = map.c;
    const RowParts parts = kernels().batch_norm_parts(rows, c);
    add("batch_norm_statistics", map, batch_norm_statistics_cost, kernels().batch_norm_statistics,
        [=, type = type_](Operands& m) {
          BatchNormStatistics args = {.type = type, .rows = rows, .channels = c, .x = m.activation(map.count())};
          args.partials = static_cast<float*>(m.bytes(parts.bytes(c)));
          return args;
        });
    add("batch_norm_finalize", map, batch_norm_finalize_cost, kernels().batch_norm_finalize, [=](Operands& m) {
      BatchNormFinalize args = {.rows = rows, .channels = c};
      args.partials = static_cast<float*>(m.bytes(parts.bytes(c)));
      args.parts = parts;
      for (float** out : {&args.running_mean, &args.running_var, &args.mean, &args.rstd, &args.scale, &args.shift})
        *out = m.floats(c);
      args.gamma = m.floats(c);
      args.beta = m.floats(c);
      return args;
    });
    add("batch_norm_backward_finalize", map, batch_norm_backward_finalize_cost, kernels().batch_norm_backward_finalize,
        [=](Operands& m) {
          BatchNormBackwardFinalize args = {.rows = rows, .channels = c};
          args.partials = static_cast<float*>(m.bytes(parts.bytes(c)));
          args.parts = parts;
          args.gamma = m.floats(c);
          args.rstd = m.floats(c);
          for (float** out : {&args.dgamma, &args.dbeta, &args.a, &args.b, &args.c}) *out = m.floats(c);
          return args;
        });
  }

  void pools(const Map& map) {
    const Pool2dShape max = {.n = map.n, .h = map.h, .w = map.w, .c = map.c, .window = 3, .stride = 2, .padding = 1};
    const Pool2dShape average = {.n = map.n, .h = map.h, .w = map.w, .c = map.c, .window = 2, .stride = 2};
    const auto outputs = [](const Pool2dShape& s) { return s.n * s.p() * s.q() * s.c; };
    const auto positions = [](Operands& m, int64_t count) {  // the middle of the window, which is always inside
      return m.copy_of(std::vector<uint8_t>(static_cast<size_t>(count), 4));
    };
    const int64_t count = map.count(), pooled = outputs(max), averaged = outputs(average), c = map.c;
    const DataType type = type_;
    add("max_pool_forward", map, max_pool_forward_cost, kernels().max_pool_forward, [=](Operands& m) {
      MaxPoolForward args = {.shape = max, .type = type, .x = m.activation(count), .y = m.activation(pooled)};
      args.argmax = positions(m, pooled);
      return args;
    });
    add("max_pool_backward", map, max_pool_backward_cost, kernels().max_pool_backward, [=](Operands& m) {
      MaxPoolBackward args = {.shape = max, .type = type, .dy = m.activation(pooled)};
      args.argmax = positions(m, pooled);
      args.dx = m.activation(count);
      return args;
    });
    add("avg_pool_forward", map, avg_pool_forward_cost, kernels().avg_pool_forward, [=](Operands& m) {
      return AvgPoolForward{.shape = average, .type = type, .x = m.activation(count), .y = m.activation(averaged)};
    });
    add("avg_pool_backward", map, avg_pool_backward_cost, kernels().avg_pool_backward, [=](Operands& m) {
      return AvgPoolBackward{.shape = average, .type = type, .dy = m.activation(averaged), .dx = m.activation(count)};
    });
    add("batch_norm_pool_forward", map, batch_norm_pool_forward_cost, kernels().batch_norm_pool_forward,
        [=](Operands& m) {
          BatchNormPoolForward args = {.shape = max, .type = type, .x = m.activation(count)};
          args.scale = m.floats(c);
          args.shift = m.floats(c);
          args.y = m.activation(pooled);
          args.argmax = positions(m, pooled);
          return args;
        });
    const auto backward = [=](auto args, Operands& m) {
      args.shape = max;
      args.type = type;
      args.dy = m.activation(pooled);
      args.y = m.activation(pooled);
      args.argmax = positions(m, pooled);
      args.x = m.activation(count);
      args.mean = m.floats(c);
      return args;
    };
    const RowParts parts = kernels().batch_norm_parts(max.n * max.p() * max.q(), c);
    add("batch_norm_pool_backward_reduce", map, batch_norm_pool_backward_reduce_cost,
        kernels().batch_norm_pool_backward_reduce, [=](Operands& m) {
          BatchNormPoolBackwardReduce args = backward(BatchNormPoolBackwardReduce{}, m);
          args.partials = static_cast<float*>(m.bytes(parts.bytes(c)));
          return args;
        });
    add("batch_norm_pool_backward_apply", map, batch_norm_pool_backward_apply_cost,
        kernels().batch_norm_pool_backward_apply, [=](Operands& m) {
          BatchNormPoolBackwardApply args = backward(BatchNormPoolBackwardApply{}, m);
          for (const float** in : {&args.a, &args.b, &args.c}) *in = m.floats(c);
          args.dx = m.activation(count);
          return args;
        });
  }

  void head(const Map& last, int64_t classes) {
    const int64_t n = last.n, c = last.c, k = classes, pixels = last.h * last.w;
    const DataType type = type_;
    add("global_avg_pool_forward", last, global_avg_pool_forward_cost, kernels().global_avg_pool_forward,
        [=](Operands& m) {
          GlobalAvgPoolForward args = {.n = n, .pixels = pixels, .c = c, .type = type};
          args.x = m.activation(last.count());
          args.y = m.activation(n * c);
          return args;
        });
    add("global_avg_pool_backward", last, global_avg_pool_backward_cost, kernels().global_avg_pool_backward,
        [=](Operands& m) {
          GlobalAvgPoolBackward args = {.n = n, .pixels = pixels, .c = c, .type = type};
          args.dy = m.activation(n * c);
          args.dx = m.activation(last.count());
          return args;
        });
    const LinearShape shape = {.n = n, .c = c, .k = k};
    const Map features = {.n = n, .h = 1, .w = 1, .c = c}, logits = {.n = n, .h = 1, .w = 1, .c = k};
    add("linear_forward", features, linear_forward_cost, kernels().linear_forward, [=](Operands& m) {
      LinearForward args = {.shape = shape, .type = type, .x = m.activation(n * c), .w = m.activation(k * c)};
      args.bias = m.floats(k);
      args.y = m.activation(n * k);
      return args;
    });
    add("linear_backward_data", features, linear_backward_data_cost, kernels().linear_backward_data, [=](Operands& m) {
      LinearBackwardData args = {.shape = shape, .type = type, .dy = m.activation(n * k), .w = m.activation(k * c)};
      args.dx = m.activation(n * c);
      return args;
    });
    add("linear_backward_weights", features, linear_backward_weights_cost, kernels().linear_backward_weights,
        [=](Operands& m) {
          LinearBackwardWeights args = {.shape = shape, .type = type, .x = m.activation(n * c)};
          args.dy = m.activation(n * k);
          args.dw = m.floats(k * c);
          return args;
        });
    add("column_sum", logits, column_sum_cost, kernels().column_sum,
        [=, workspace = kernels().column_sum_workspace](Operands& m) {
          ColumnSum args = {.type = type, .rows = n, .channels = k, .x = m.activation(n * k), .y = m.floats(k)};
          args.workspace = m.bytes(workspace(n, k));
          return args;
        });
    add("softmax_cross_entropy", logits, softmax_cross_entropy_cost, kernels().softmax_cross_entropy,
        [=, workspace = kernels().softmax_cross_entropy_workspace](Operands& m) {
          SoftmaxCrossEntropy args = {.n = n, .k = k, .type = type, .logits = m.activation(n * k)};
          args.labels = m.copy_of(std::vector<int64_t>(static_cast<size_t>(n), k / 2));
          args.loss = m.floats(1);
          args.dlogits = m.activation(n * k);
          args.workspace = m.bytes(workspace(n));
          return args;
        });
    add("mixed_targets", logits, mixed_targets_cost, kernels().mixed_targets, [=](Operands& m) {
      MixedTargets args = {.n = n, .k = k, .y = m.floats(n * k)};
      args.labels = m.copy_of(std::vector<int64_t>(static_cast<size_t>(n), k / 2));
      args.mix = m.copy_of(std::vector<ImageMix>{{.target_weight = 0.7f, .partner = 1}});
      return args;
    });
  }

  void find_non_finite(int64_t parameters) {
    const Map all = {.n = 1, .h = 1, .w = 1, .c = parameters};
    const auto cost = [parameters](const FindNonFinite& args) { return find_non_finite_cost(args, parameters); };
    add("find_non_finite", all, cost, kernels().find_non_finite, [=](Operands& m) {
      const float* values = m.floats(parameters);
      std::vector<FloatChunk> chunks;
      for (int64_t begin = 0; begin < parameters; begin += kOptimizerChunk)
        chunks.push_back({values + begin, static_cast<int32_t>(std::min(kOptimizerChunk, parameters - begin)), 1});
      FindNonFinite args = {.chunks = m.copy_of(chunks), .num_chunks = static_cast<int64_t>(chunks.size())};
      args.found = m.copy_of(std::vector<uint32_t>{0});
      args.squares = m.floats(args.num_chunks);
      return args;
    });
  }

  void model_average(int64_t parameters) {
    const Map all = {.n = 1, .h = 1, .w = 1, .c = parameters};
    const auto cost = [parameters](const ModelAverage& args) { return model_average_cost(args, parameters); };
    add("model_average", all, cost, kernels().model_average, [=](Operands& m) {
      float *const average = m.floats(parameters), *const value = m.floats(parameters);
      std::vector<AverageChunk> chunks;
      for (int64_t begin = 0; begin < parameters; begin += kOptimizerChunk)
        chunks.push_back(
            {average + begin, value + begin, static_cast<int32_t>(std::min(kOptimizerChunk, parameters - begin))});
      return ModelAverage{
          .chunks = m.copy_of(chunks), .num_chunks = static_cast<int64_t>(chunks.size()), .decay = 0.999f};
    });
  }

 private:
  const Kernels& kernels() const { return *module_.kernels; }

  // make(operands) -> the launcher's arguments.
  template <class CostOf, class Launch, class Make>
  void add(const char* kernel, const Map& map, CostOf cost, Launch launch, Make make) {
    cases_.push_back([=, runtime = module_.runtime, type = type_, stream = stream_] {
      Operands m(*runtime, type, stream);
      const auto args = make(m);
      return KernelCase{kernel, text_of(map), cost(args), [=] { return launch(args, stream); }, m.take()};
    });
  }

  template <class Arguments, class CostOf, class Launch, class Fill>
  void one(const char* kernel, const Map& map, CostOf cost, Launch launch, Fill fill) {
    add(kernel, map, cost, launch, [=, type = type_, count = map.count()](Operands& m) {
      Arguments args;
      args.type = type;
      args.count = count;
      fill(args, m, count);
      return args;
    });
  }

  const Module& module_;
  DataType type_;
  Stream stream_;
  std::vector<MakeCase> cases_;
};

}  // namespace

std::vector<MakeCase> other_kernel_cases(const Module& module, const std::vector<NetConvolution>& convolutions,
                                         const KernelCasesOptions& options, Stream stream) {
  const auto output_of = [](const NetConvolution& layer) {
    const Conv2dShape& s = layer.shape;
    return Map{.n = s.n, .h = s.p(), .w = s.q(), .c = s.k};
  };
  const Map first = output_of(convolutions.front()), last = output_of(convolutions.back());
  Map largest = first;
  for (const NetConvolution& layer : convolutions)
    if (output_of(layer).count() > largest.count()) largest = output_of(layer);
  const Conv2dShape& stem = convolutions.front().shape;

  Others others(module, options.type, stream);
  others.images({.n = stem.n, .h = stem.h, .w = stem.w, .c = stem.c});
  others.elementwise(largest);
  others.layout(largest);
  others.batch_norm(largest);
  others.pools(first);
  others.head(last, options.classes);
  others.find_non_finite(options.parameters);
  others.model_average(options.parameters);
  return others.take();
}

}  // namespace engine::bench
