#include "engine/optim/layerwise.h"

#include <utility>

#include "engine/error.h"
#include "engine/optim/adamw.h"
#include "kernels/optimizer_rule.h"

namespace engine {

Lars::Lars(std::vector<NamedParameter> parameters, LarsOptions options)
    : Optimizer(options.momentum > 0 ? Kept{"Lars", {"momentum_buffer"}} : Kept{"Lars"}, std::move(parameters),
                options.lr, {options.weight_decay, options.norm_weight_decay, options.bias_weight_decay}),
      options_(options) {
  check(options.momentum >= 0 && options.momentum < 1, "Lars: momentum=", options.momentum,
        ", expected 0 <= momentum < 1");
  check(!options.nesterov || options.momentum > 0, "Lars: nesterov needs a momentum above 0");
  check(options.trust > 0, "Lars: trust=", options.trust, ", expected a number above 0");
}

kernels::OptimizerRule Lars::rule() const {
  return {.kind = kernels::OptimizerKind::lars,
          .momentum = options_.momentum,
          .nesterov = options_.nesterov,
          .eps = options_.eps,
          .trust = options_.trust};
}

Lamb::Lamb(std::vector<NamedParameter> parameters, LambOptions options)
    : Optimizer({.name = "Lamb", .buffers = {"exp_avg", "exp_avg_sq"}, .counts_steps = true}, std::move(parameters),
                options.lr, {options.weight_decay, options.norm_weight_decay, options.bias_weight_decay}),
      options_(options) {
  check_moments("Lamb", options.beta1, options.beta2, options.eps);
}

kernels::OptimizerRule Lamb::rule() const {
  return {.kind = kernels::OptimizerKind::lamb, .beta1 = options_.beta1, .beta2 = options_.beta2, .eps = options_.eps};
}

}  // namespace engine
