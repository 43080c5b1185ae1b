#include "engine/cuda/backend.h"
#include "engine/statistics_exchange.h"

namespace engine::cuda {

kernels::RowParts CudaBackend::gather_ranks(StatisticsExchange& exchange, int64_t rows, int64_t channels,
                                            float* partials, const kernels::RowParts& parts, bool sums,
                                            float* gathered) {
  context_.check_launch(
      "batch_norm",
      kernels().batch_norm_merge(
          {.rows = rows, .channels = channels, .sums = sums, .partials = partials, .parts = parts}, stream()));
  exchange.all_gather(context_.device(), partials, gathered, static_cast<size_t>(2 * channels));
  return {.rows_per_part = rows, .parts = exchange.size()};
}

void CudaBackend::finalize(const BatchNormForward& args, float* partials, const kernels::RowParts& own_parts,
                           float* factors) {
  const int64_t channels = args.x.size(3);
  StatisticsExchange* const exchange = args.training ? statistics_exchange() : nullptr;
  const int64_t ranks = exchange != nullptr ? exchange->size() : 1;
  const Scratch gathered = scratch_floats(exchange != nullptr ? 2 * channels * ranks : 0);
  kernels::RowParts parts = own_parts;
  if (exchange != nullptr) {
    parts = gather_ranks(*exchange, rows_of(args.x), channels, partials, own_parts, false, gathered.as<float>());
    partials = gathered.as<float>();
  }
  context_.check_launch("batch_norm", kernels().batch_norm_finalize({.rows = rows_of(args.x) * ranks,
                                                                     .channels = channels,
                                                                     .partials = partials,
                                                                     .parts = parts,
                                                                     .gamma = args.gamma.raw<float>(),
                                                                     .beta = args.beta.raw<float>(),
                                                                     .mean_shift = pointer_or_null(args.mean_shift),
                                                                     .momentum = args.momentum,
                                                                     .eps = args.eps,
                                                                     .running_mean = args.running_mean.raw<float>(),
                                                                     .running_var = args.running_var.raw<float>(),
                                                                     .mean = args.mean.raw<float>(),
                                                                     .rstd = args.rstd.raw<float>(),
                                                                     .scale = factors,
                                                                     .shift = factors + channels},
                                                                    stream()));
}

void CudaBackend::normalize(const BatchNormForward& args, const float* factors, const float* residual_factors) {
  const int64_t channels = args.x.size(3);
  const float* const residual_shift = residual_factors != nullptr ? residual_factors + channels : nullptr;
  context_.check_launch("batch_norm", kernels().batch_norm_normalize({.type = data_type("batch_norm", args.x),
                                                                      .rows = rows_of(args.x),
                                                                      .channels = channels,
                                                                      .x = args.x.raw(),
                                                                      .scale = factors,
                                                                      .shift = factors + channels,
                                                                      .residual = pointer_or_null<void>(args.residual),
                                                                      .residual_scale = residual_factors,
                                                                      .residual_shift = residual_shift,
                                                                      .relu = args.relu,
                                                                      .y = args.y.raw()},
                                                                     stream()));
}

void CudaBackend::statistics(const Tensor& x, float* partials) {
  context_.check_launch("batch_norm", kernels().batch_norm_statistics({.type = data_type("batch_norm", x),
                                                                       .rows = rows_of(x),
                                                                       .channels = x.size(3),
                                                                       .x = x.raw(),
                                                                       .partials = partials},
                                                                      stream()));
}

void CudaBackend::batch_norm_forward(const BatchNormForward& args) {
  const Range range(context_, "batch_norm_forward");
  const int64_t channels = args.x.size(3);
  const Scratch factors = scratch_floats(2 * channels);
  if (args.training) {
    const kernels::RowParts parts = kernels().batch_norm_parts(rows_of(args.x), channels);
    const Scratch partials = scratch(parts.bytes(channels));
    statistics(args.x, partials.as<float>());
    finalize(args, partials.as<float>(), parts, factors.as<float>());
  } else {
    finalize(args, nullptr, {}, factors.as<float>());
  }
  normalize(args, factors.as<float>());
}

void CudaBackend::finalize_backward(const BatchNormBackward& args, float* partials, const kernels::RowParts& own_parts,
                                    float* coefficients) {
  const int64_t channels = args.x.size(3);
  StatisticsExchange* const exchange = args.training ? statistics_exchange() : nullptr;
  const int64_t ranks = exchange != nullptr ? exchange->size() : 1;
  const Scratch gathered = scratch_floats(exchange != nullptr ? 2 * channels * ranks : 0);
  kernels::RowParts parts = own_parts;
  if (exchange != nullptr) {
    // dgamma and dbeta are of this rank's sums, which are one part now; dx is of all ranks'.
    const kernels::RowParts all =
        gather_ranks(*exchange, rows_of(args.x), channels, partials, own_parts, true, gathered.as<float>());
    context_.check_launch("batch_norm_backward", kernels().batch_norm_backward_finalize(
                                                     {.rows = rows_of(args.x),
                                                      .channels = channels,
                                                      .partials = partials,
                                                      .parts = {.rows_per_part = rows_of(args.x), .parts = 1},
                                                      .gamma = args.gamma.raw<float>(),
                                                      .rstd = args.rstd.raw<float>(),
                                                      .training = args.training,
                                                      .dgamma = args.dgamma.raw<float>(),
                                                      .dbeta = args.dbeta.raw<float>()},
                                                     stream()));
    partials = gathered.as<float>();
    parts = all;
  }
  context_.check_launch("batch_norm_backward",
                        kernels().batch_norm_backward_finalize({.rows = rows_of(args.x) * ranks,
                                                                .channels = channels,
                                                                .partials = partials,
                                                                .parts = parts,
                                                                .gamma = args.gamma.raw<float>(),
                                                                .rstd = args.rstd.raw<float>(),
                                                                .training = args.training,
                                                                .dgamma = exchange ? nullptr : args.dgamma.raw<float>(),
                                                                .dbeta = exchange ? nullptr : args.dbeta.raw<float>(),
                                                                .a = coefficients,
                                                                .b = coefficients + channels,
                                                                .c = coefficients + 2 * channels},
                                                               stream()));
}

void CudaBackend::normalize_backward(const BatchNormBackward& args, const BatchNormBackward* second) {
  const char* op = "batch_norm_backward";
  const kernels::DataType type = data_type(op, args.x);
  const int64_t channels = args.x.size(3), rows = rows_of(args.x);
  const kernels::RowParts parts = kernels().batch_norm_parts(rows, channels);
  const Scratch partials = scratch(parts.bytes(channels)),
                second_partials = scratch(second ? parts.bytes(channels) : 0);
  const Scratch coefficients = scratch_floats((second ? 6 : 3) * channels);
  float* const a = coefficients.as<float>();
  float* const second_a = a + 3 * channels;
  kernels::BatchNormBackwardReduce reduce = {.type = type,
                                             .rows = rows,
                                             .channels = channels,
                                             .dy = args.dy.raw(),
                                             .y = pointer_or_null<void>(args.y),
                                             .x = args.x.raw(),
                                             .mean = args.mean.raw<float>(),
                                             .partials = partials.as<float>(),
                                             .dresidual = pointer_or_null<void>(args.dresidual)};
  // The masked gradient is in dresidual already if somebody asked for it.
  const bool masked = args.dresidual.defined();
  kernels::BatchNormBackwardApply apply = {.type = type,
                                           .rows = rows,
                                           .channels = channels,
                                           .dy = masked ? args.dresidual.raw() : args.dy.raw(),
                                           .y = masked ? nullptr : pointer_or_null<void>(args.y),
                                           .x = args.x.raw(),
                                           .mean = args.mean.raw<float>(),
                                           .a = a,
                                           .b = a + channels,
                                           .c = a + 2 * channels,
                                           .dx = args.dx.raw()};
  if (second != nullptr) {
    reduce.second_x = apply.second_x = second->x.raw();
    reduce.second_mean = apply.second_mean = second->mean.raw<float>();
    reduce.second_partials = second_partials.as<float>();
    apply.second_a = second_a;
    apply.second_b = second_a + channels;
    apply.second_c = second_a + 2 * channels;
    apply.second_dx = second->dx.raw();
  }
  context_.check_launch(op, kernels().batch_norm_backward_reduce(reduce, stream()));
  finalize_backward(args, partials.as<float>(), parts, a);
  if (second != nullptr) finalize_backward(*second, second_partials.as<float>(), parts, second_a);
  context_.check_launch(op, kernels().batch_norm_backward_apply(apply, stream()));
}

void CudaBackend::batch_norm_backward(const BatchNormBackward& args) {
  const Range range(context_, "batch_norm_backward");
  normalize_backward(args);
}

}  // namespace engine::cuda
