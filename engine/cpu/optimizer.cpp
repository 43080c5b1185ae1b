#include <algorithm>
#include <vector>

#include "engine/cpu/backend.h"
#include "engine/cpu/simd/kernels.h"
#include "engine/cpu/threads.h"

namespace engine::cpu {

// One parallel region over pieces of all parameters: most of them are far too small for one of their own.
void CpuBackend::optimizer_step(std::span<const OptimizerParameter> parameters, const OptimizerStep& step) {
  if (step.found.defined() && *step.found.raw<int64_t>() != 0) return;
  const float lr = step.device_lr.defined() ? *step.device_lr.raw<float>() : step.lr;
  const float grad_scale = step.grad_scale.defined() ? *step.grad_scale.raw<float>() : 1.0f;
  constexpr int64_t kPiece = 16 << 10;
  struct Piece {
    const OptimizerParameter* owner;
    int64_t begin, count;
  };
  std::vector<Piece> pieces;
  int64_t bytes = 0;
  for (const OptimizerParameter& p : parameters) {
    bytes += 3 * static_cast<int64_t>(p.parameter.bytes());
    for (int64_t begin = 0; begin < p.parameter.numel(); begin += kPiece)
      pieces.push_back({&p, begin, std::min(kPiece, p.parameter.numel() - begin)});
  }
  const auto& kernels = kernels_for_this_cpu();
  parallel_for(
      static_cast<int64_t>(pieces.size()),
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const Piece& piece = pieces[static_cast<size_t>(i)];
          const OptimizerParameter& p = *piece.owner;
          const bool has_momentum = p.momentum.defined();
          kernels.sgd(p.parameter.raw<float>() + piece.begin, p.grad.raw<float>() + piece.begin,
                      has_momentum ? p.momentum.raw<float>() + piece.begin : nullptr,
                      {.lr = lr,
                       .grad_scale = grad_scale,
                       .momentum = step.momentum,
                       .weight_decay = p.weight_decay,
                       .nesterov = step.nesterov},
                      piece.count);
        }
      },
      bytes > kSerialBytes);
}

}  // namespace engine::cpu
