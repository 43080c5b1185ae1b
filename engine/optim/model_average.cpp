#include "engine/optim/model_average.h"

#include <algorithm>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"

namespace engine {

double model_average_decay(double decay, int64_t batch, int64_t steps, int64_t epochs) {
  const double share = static_cast<double>(batch * steps) / static_cast<double>(epochs);
  return 1 - std::min(1.0, (1 - decay) * share);
}

ModelAverage::ModelAverage(Module& model, Module& average, double decay)
    : model_(model), average_(average), decay_(decay) {
  check(decay >= 0 && decay <= 1, "ModelAverage: decay=", decay, ", expected 0 <= decay <= 1");
  move(0);
}

void ModelAverage::move(double decay) {
  const std::vector<NamedTensor> from = model_.state(), to = average_.state();
  check(from.size() == to.size(), "ModelAverage: the model has ", from.size(), " tensors, its average ", to.size());
  std::vector<AveragedTensor> averaged;
  for (size_t i = 0; i < from.size(); ++i) {
    check(from[i].name == to[i].name && from[i].tensor.shape() == to[i].tensor.shape(), "ModelAverage: the model has ",
          from[i].name, " ", from[i].tensor.shape(), ", where its average has ", to[i].name, " ", to[i].tensor.shape());
    Tensor average = to[i].tensor.detach();
    if (average.dtype() != DType::f32) {
      average.copy_from(from[i].tensor.detach());
      continue;
    }
    average.storage().bump_version();
    averaged.push_back({.average = average, .value = from[i].tensor.detach()});
  }
  if (averaged.empty()) return;
  backend(averaged.front().value.device()).average(averaged, static_cast<float>(decay));
}

void ModelAverage::update() {
  move(num_updates_ == 0 ? 0 : decay_);
  ++num_updates_;
}

}  // namespace engine
