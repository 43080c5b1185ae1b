#include "engine/optim/adamw.h"

#include <utility>

#include "engine/error.h"
#include "kernels/optimizer_rule.h"

namespace engine {

void check_moments(const char* optimizer, float beta1, float beta2, float eps) {
  for (const auto& [name, beta] : {std::pair("beta1", beta1), std::pair("beta2", beta2)})
    check(beta >= 0 && beta < 1, optimizer, ": ", name, "=", beta, ", expected 0 <= ", name, " < 1");
  check(eps > 0, optimizer, ": eps=", eps, ", expected a number above 0");
}

AdamW::AdamW(std::vector<NamedParameter> parameters, AdamWOptions options)
    : Optimizer({.name = "AdamW", .buffers = {"exp_avg", "exp_avg_sq"}, .counts_steps = true}, std::move(parameters),
                options.lr, {options.weight_decay, options.norm_weight_decay, options.bias_weight_decay}),
      options_(options) {
  check_moments("AdamW", options.beta1, options.beta2, options.eps);
}

kernels::OptimizerRule AdamW::rule() const {
  return {.kind = kernels::OptimizerKind::adamw, .beta1 = options_.beta1, .beta2 = options_.beta2, .eps = options_.eps};
}

}  // namespace engine
