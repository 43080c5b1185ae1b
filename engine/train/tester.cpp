#include "engine/dist/communicator.h"
#include "engine/train/device_choice.h"
#include "engine/train/evaluate.h"
#include "engine/train/log.h"
#include "engine/train/pipeline.h"
#include "engine/train/progress.h"
#include "engine/train/signals.h"
#include "engine/train/trainer.h"

namespace engine {

TestOutcome test(const TrainSetup& setup) {
  set_up_device(setup.device, setup.config);
  Loader loader(setup.data.val, val_sample(setup.config),
                val_loader_options(setup.config, setup.data.val->size(), setup.ranks ? setup.ranks->rank() : 0));
  const int64_t total = setup.data.val->size();
  const Evaluation evaluation = evaluate(setup.model, loader,
                                         {.input = input_format(setup.config, setup.facts, setup.device),
                                          .ranks = setup.ranks,
                                          .interrupted = [&](int64_t samples) {
                                            set_status_line(count_bar("testing", samples, total, terminal_width()));
                                            return stop_signal() != 0;
                                          }});
  set_status_line("");
  if (!evaluation.complete) return {};
  return {.samples = evaluation.sums.count,
          .skipped = static_cast<int64_t>(loader.bad_images().size()),
          .acc1 = evaluation.sums.acc1(),
          .acc5 = evaluation.sums.acc5(),
          .loss = evaluation.sums.mean_loss(),
          .seconds = evaluation.seconds,
          .complete = true};
}

}  // namespace engine
