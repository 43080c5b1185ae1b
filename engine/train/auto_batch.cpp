#include "engine/train/auto_batch.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include "engine/error.h"
#include "engine/train/device_choice.h"
#include "engine/train/log.h"
#include "engine/train/recipe.h"

namespace engine {
namespace {

// The number that a checkpoint's identity holds.
std::optional<int64_t> saved_number(const TrainSetup& setup, const char* key) {
  if (!setup.resume.saved) return std::nullopt;
  for (const auto& [name, value] : setup.resume.saved->identity)
    if (name == key) return std::strtoll(value.c_str(), nullptr, 10);
  return std::nullopt;
}

bool fits(const TrainSetup& setup) {
  // Everything that the trial allocates is gone at its end.
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(setup.config, setup.model.module->parameters());
  TrainStep step(setup.model, *optimizer, step_options(setup));
  const int64_t size = *setup.config.train_crop_size;
  try {
    step.rehearse({.count = batch_at_once(setup.config), .height = size, .width = size},
                  std::min(*setup.config.val_batch_size, setup.facts.val_samples));
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::memory) throw;
    return false;
  }
}

}  // namespace

void fit_batch(TrainSetup& setup) {
  TrainConfig& config = setup.config;
  check(setup.ranks == nullptr,
        "--auto-batch finds the batch of one rank; find it without the others, and give them its -b");
  check(config.accum_bn != "exact",
        "--auto-batch makes smaller batches, but --accum-bn exact takes all pictures of a step at once; give one of "
        "them");
  const std::optional<int64_t> batch = saved_number(setup, "batch_size"),
                               accumulated = saved_number(setup, "grad_accum_steps");
  if (batch && accumulated) {
    config.batch_size = batch;
    config.grad_accum_steps = *accumulated;
    return;
  }
  set_up_device(setup.device, config);
  const int64_t asked = *config.batch_size;
  while (!fits(setup)) {
    if (*config.batch_size % 2 != 0)
      fail(ErrorKind::memory, "--auto-batch: not even a batch of ", *config.batch_size,
           " pictures fits into the memory of ", setup.device,
           asked > *config.batch_size ? ", and it cannot be halved" : "",
           "; take a -b that is a power of two, or smaller pictures");
    config.batch_size = *config.batch_size / 2;
    config.grad_accum_steps *= 2;
    config.val_batch_size = std::min(*config.val_batch_size, *config.batch_size);
  }
  for (NamedParameter& parameter : setup.model.module->parameters()) parameter.tensor.clear_grad();
  if (*config.batch_size != asked)
    log_info("--auto-batch: " + std::to_string(asked) + " pictures at once do not fit into the memory; " +
             std::to_string(*config.batch_size) + " do, and --grad-accum-steps " +
             std::to_string(config.grad_accum_steps) + " keeps the step the same");
}

}  // namespace engine
