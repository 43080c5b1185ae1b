#include "engine/train/auto_batch.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "engine/error.h"
#include "engine/fallback.h"
#include "engine/train/device_choice.h"
#include "engine/train/device_data.h"
#include "engine/train/log.h"
#include "engine/train/recipe.h"

namespace engine {
namespace {

// With a little too little memory a step can be done, but not be recorded.
int64_t unrecorded_steps() {
  int64_t steps = 0;
  for (const auto& [reason, count] : fallbacks())
    if (reason.find("could not be recorded") != std::string::npos) steps += count;
  return steps;
}

bool fits(const TrainSetup& setup) {
  // Everything that the trial allocates is gone at its end.
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(setup.config, setup.model.module->parameters());
  TrainStep step(setup.model, *optimizer, step_options(setup));
  const int64_t size = *setup.config.train_crop_size;
  const int64_t before = unrecorded_steps();
  try {
    step.rehearse({.count = batch_at_once(setup.config), .height = size, .width = size},
                  std::min(*setup.config.val_batch_size, setup.facts.val_samples));
    return unrecorded_steps() == before;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::memory) throw;
    return false;
  }
}

}  // namespace

void keep_batch(TrainConfig& config, const SavedState& saved) {
  for (const auto& [name, value] : saved.identity) {
    if (name == "batch_size") config.batch_size = std::strtoll(value.c_str(), nullptr, 10);
    if (name == "grad_accum_steps") config.grad_accum_steps = std::strtoll(value.c_str(), nullptr, 10);
  }
}

void fit_batch(TrainSetup& setup) {
  TrainConfig& config = setup.config;
  check(setup.ranks == nullptr,
        "--auto-batch finds the batch of one rank; find it without the others, and give them its -b");
  check(config.accum_bn != "exact",
        "--auto-batch makes smaller batches, but --accum-bn exact takes all pictures of a step at once; give one of "
        "them");
  if (setup.resume.checkpoint) return;
  set_up_device(setup.device, config);
  const std::optional<DeviceData> data = keep_on_device(config, *setup.data.train, setup.device);  // its memory
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
