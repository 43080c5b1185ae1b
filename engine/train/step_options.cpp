// What a configuration says of the training step.
#include "engine/dist/communicator.h"
#include "engine/train/failed_batch.h"
#include "engine/train/pipeline.h"
#include "engine/train/ranks.h"
#include "engine/train/trainer.h"

namespace engine {

int64_t rank_of(const TrainSetup& setup) {
  return setup.ranks != nullptr ? setup.ranks->rank() : 0;
}

StepOptions step_options(const TrainSetup& setup, const RankLinks* links) {
  return {.input = input_format(setup.config, setup.facts, setup.device),
          .grad_accum_steps = batches_a_step(setup.config),
          .loss = loss_options(setup.config),
          .mixes = mix_options(setup.config).any(),
          .erases = setup.config.random_erase > 0,
          .max_grad_norm = static_cast<float>(*setup.config.clip_grad_norm),
          .exchange = links != nullptr ? links->gradients.get() : nullptr,
          .record = links == nullptr || links->may_record(),
          .scale_loss = *setup.config.precision == "fp16",
          .recompute = setup.config.recompute || setup.config.accum_bn == "exact",
          .skip_nonfinite = setup.config.skip_nonfinite,
          .on_diverged = [&setup](const FailedBatch& batch) {
            FailedBatch kept = batch;
            kept.config = config_json(setup.config);
            return keep_failed_batch(setup.run_dir, rank_of(setup), kept, *setup.model.module);
          }};
}

}  // namespace engine
