#include "engine/optim/sgd.h"

#include <utility>

#include "engine/error.h"
#include "kernels/optimizer_rule.h"

namespace engine {

Sgd::Sgd(std::vector<NamedParameter> parameters, SgdOptions options)
    : Optimizer(options.momentum > 0 ? Kept{"Sgd", {"momentum_buffer"}} : Kept{"Sgd"}, std::move(parameters),
                options.lr, {options.weight_decay, options.norm_weight_decay, options.bias_weight_decay}),
      momentum_(options.momentum),
      nesterov_(options.nesterov) {
  check(options.momentum >= 0 && options.momentum < 1, "Sgd: momentum=", options.momentum,
        ", expected 0 <= momentum < 1");
  check(!options.nesterov || options.momentum > 0, "Sgd: nesterov needs a momentum above 0");
}

kernels::OptimizerRule Sgd::rule() const {
  return {.kind = kernels::OptimizerKind::sgd, .momentum = momentum_, .nesterov = nesterov_};
}

}  // namespace engine
