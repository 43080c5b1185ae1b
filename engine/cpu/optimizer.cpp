// The optimiser, and the look at the gradients before it: one parallel region each over pieces of all parameters, most
// of which are far too small for one of their own.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "engine/cpu/backend.h"
#include "engine/cpu/simd/kernels.h"
#include "engine/cpu/threads.h"

namespace engine::cpu {
namespace {

constexpr int64_t kPiece = 16 << 10;
constexpr double kClipEps = 1e-6;  // PyTorch's

struct Piece {
  size_t owner;
  int64_t begin, count;
};

template <class Tensors, class Get>
std::vector<Piece> pieces_of(const Tensors& tensors, const Get& get) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < tensors.size(); ++i)
    for (int64_t begin = 0, count = get(tensors[i]).numel(); begin < count; begin += kPiece)
      pieces.push_back({i, begin, std::min(kPiece, count - begin)});
  return pieces;
}

// body(index of a piece), in any order.
template <class Body>
void for_pieces(const std::vector<Piece>& pieces, const Body& body) {
  int64_t bytes = 0;
  for (const Piece& piece : pieces) bytes += 3 * piece.count * static_cast<int64_t>(sizeof(float));
  parallel_for(
      static_cast<int64_t>(pieces.size()),
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) body(static_cast<size_t>(i));
      },
      bytes > kSerialBytes);
}

float* at(const Tensor& x, const Piece& piece) {
  return x.defined() ? x.raw<float>() + piece.begin : nullptr;
}

float value_or(const Tensor& x, float otherwise) {
  return x.defined() ? *x.raw<float>() : otherwise;
}

// The factors by which lars and lamb move each parameter (kernels/optimizer_rule.h), from the squares of each piece.
std::vector<float> ratios_of(std::span<const OptimizerParameter> parameters, const OptimizerRule& rule,
                             const std::vector<Piece>& pieces, const std::vector<std::array<float, 2>>& squares) {
  std::vector<std::array<double, 2>> sums(parameters.size());
  for (size_t i = 0; i < pieces.size(); ++i)
    for (size_t k = 0; k < 2; ++k) sums[pieces[i].owner][k] += double{squares[i][k]};
  std::vector<float> ratios(parameters.size(), 1.0f);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const double parameter = std::sqrt(sums[i][0]), other = std::sqrt(sums[i][1]);
    const double decay = double{parameters[i].weight_decay};
    if (decay == 0 || !(parameter > 0) || !(other > 0)) continue;
    ratios[i] =
        static_cast<float>(rule.kind == OptimizerKind::lamb
                               ? parameter / other
                               : double{rule.trust} * parameter / (other + decay * parameter + double{rule.eps}));
  }
  return ratios;
}

}  // namespace

void CpuBackend::optimizer_step(std::span<const OptimizerParameter> parameters, const OptimizerStep& step) {
  if (step.found.defined() && *step.found.raw<int64_t>() != 0) return;
  const OptimizerRule& rule = step.rule;
  const std::vector<Piece> pieces =
      pieces_of(parameters, [](const OptimizerParameter& p) -> const Tensor& { return p.parameter; });
  const auto& kernels = kernels_for_this_cpu();
  OptimizerConstants constants = {
      .rule = rule, .lr = value_or(step.device_lr, step.lr), .grad_scale = value_or(step.grad_scale, 1.0f)};
  if (rule.has_moments()) {
    const auto t = static_cast<double>(++*step.steps.raw<int64_t>());
    constants.correction1 = static_cast<float>(1 / (1 - std::pow(double{rule.beta1}, t)));
    constants.correction2 = static_cast<float>(1 / std::sqrt(1 - std::pow(double{rule.beta2}, t)));
  }
  const auto constants_of = [&](const OptimizerParameter& p) {
    OptimizerConstants result = constants;
    result.weight_decay = p.weight_decay;
    return result;
  };
  std::vector<float> ratios(parameters.size(), 1.0f);
  if (rule.has_ratio()) {
    std::vector<std::array<float, 2>> squares(pieces.size());
    for_pieces(pieces, [&](size_t i) {
      const Piece& piece = pieces[i];
      const OptimizerParameter& p = parameters[piece.owner];
      const OptimizerConstants c = constants_of(p);
      if (rule.kind == OptimizerKind::lamb) {
        kernels.lamb_moments(at(p.parameter, piece), at(p.grad, piece), at(p.momentum, piece),
                             at(p.second_moment, piece), c, piece.count, squares[i].data());
      } else {
        squares[i] = {kernels.sum_of_squares(at(p.parameter, piece), 1, piece.count),
                      kernels.sum_of_squares(at(p.grad, piece), c.grad_scale, piece.count)};
      }
    });
    ratios = ratios_of(parameters, rule, pieces, squares);
  }
  for_pieces(pieces, [&](size_t i) {
    const Piece& piece = pieces[i];
    const OptimizerParameter& p = parameters[piece.owner];
    OptimizerConstants c = constants_of(p);
    c.ratio = ratios[piece.owner];
    float *const x = at(p.parameter, piece), *const g = at(p.grad, piece), *const m = at(p.momentum, piece);
    if (rule.kind == OptimizerKind::adamw)
      kernels.adamw(x, g, m, at(p.second_moment, piece), c, piece.count);
    else if (rule.kind == OptimizerKind::lamb)
      kernels.lamb(x, m, at(p.second_moment, piece), c, piece.count);
    else
      kernels.sgd(x, g, m, c, piece.count);
  });
}

void CpuBackend::check_gradients(const GradientCheck& check) {
  const std::vector<Piece> pieces = pieces_of(check.gradients, [](const Tensor& x) -> const Tensor& { return x; });
  const auto& kernels = kernels_for_this_cpu();
  std::vector<float> squares(pieces.size());
  for_pieces(pieces, [&](size_t i) {
    squares[i] = kernels.sum_of_squares(at(check.gradients[pieces[i].owner], pieces[i]), 1, pieces[i].count);
  });
  // A sum that is not finite may be one of large numbers.
  const auto is_finite = [](const float* x, int64_t count) {
    return std::all_of(x, x + count, [](float v) { return std::isfinite(v); });
  };
  const auto num = static_cast<int64_t>(check.gradients.size()) + (check.loss.defined() ? 1 : 0);
  int64_t found = 0;
  double sum = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    sum += double{squares[i]};
    if (found == 0 && !std::isfinite(squares[i]) && !is_finite(at(check.gradients[piece.owner], piece), piece.count))
      found = num - static_cast<int64_t>(piece.owner);
  }
  if (found == 0 && check.loss.defined() && !is_finite(check.loss.raw<float>(), check.loss.numel())) found = 1;
  const double unscale = double{value_or(check.unscale, 1.0f)}, norm = unscale * std::sqrt(sum);
  const double clip = check.max_norm > 0 ? double{check.max_norm} / (norm + kClipEps) : 1.0;
  *check.found.raw<int64_t>() = found;
  *check.norm.raw<float>() = static_cast<float>(norm);
  *check.grad_scale.raw<float>() = static_cast<float>(clip < 1 ? unscale * clip : unscale);
}

void CpuBackend::average(std::span<const AveragedTensor> tensors, float decay) {
  const std::vector<Piece> pieces =
      pieces_of(tensors, [](const AveragedTensor& x) -> const Tensor& { return x.value; });
  const auto& kernels = kernels_for_this_cpu();
  for_pieces(pieces, [&](size_t i) {
    const AveragedTensor& x = tensors[pieces[i].owner];
    float *const average = at(x.average, pieces[i]), *const value = at(x.value, pieces[i]);
    if (decay == 0)
      std::copy_n(value, pieces[i].count, average);
    else
      kernels.average(average, value, decay, pieces[i].count);
  });
}

}  // namespace engine::cpu
