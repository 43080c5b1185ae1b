#include "engine/train/opening_text.h"

#include <fmt/format.h>

#include "engine/dist/communicator.h"
#include "engine/text.h"
#include "engine/train/accuracy.h"
#include "engine/train/log.h"
#include "engine/train/progress.h"
#include "engine/train/recipe_book.h"

namespace engine {

std::vector<std::string> opening_lines(const TrainSetup& setup, const Schedule& schedule, const std::string& device,
                                       bool data_on_device) {
  const TrainConfig& c = setup.config;
  std::vector<std::string> lines;
  const auto line = [&](const char* name, const std::string& text) {
    lines.push_back(styled(Style::bold, fmt::format("{:<8} ", name)) + text);
  };
  line("device", device);
  line("model", fmt::format("{}, {} parameters, {:.3f} GMACs a picture at {}x{}, {}{}", setup.model.name,
                            with_thousands(setup.model.parameters), static_cast<double>(setup.model.macs) / 1e9,
                            *c.train_crop_size, *c.train_crop_size, *c.precision,
                            c.weights.empty() ? "" : ", from " + printable(c.weights)));
  line("data", fmt::format("{}; {} worker{}{}", setup.data.summary, *c.workers, *c.workers == 1 ? "" : "s",
                           data_on_device ? "; training pictures on the device" : ""));
  line("train",
       fmt::format("{} epoch{} of {} steps, {} in all; global batch {}{}; {}, {} lr {:g}, weight decay {:g}{}, seed {}",
                   *c.epochs, *c.epochs == 1 ? "" : "s", with_thousands(steps_per_epoch(c, setup.facts.train_samples)),
                   with_thousands(schedule.total_steps), global_batch(c),
                   c.grad_accum_steps > 1 ? fmt::format(" ({} x {})", *c.batch_size, c.grad_accum_steps) : "", c.opt,
                   *c.lr_scheduler, *c.lr, *c.weight_decay,
                   *c.clip_grad_norm > 0 ? fmt::format(", gradient clipped to {:g}", *c.clip_grad_norm) : "", c.seed));
  if (setup.ranks != nullptr) {
    line("ranks", fmt::format("{}, {} pictures a step on each{}", setup.ranks->description(),
                              *c.batch_size * c.grad_accum_steps, c.sync_bn ? ", batch norms of all together" : ""));
  }
  if (!c.recipe.empty()) {
    const std::string expected = recipe_expectation(c);
    line("recipe", expected.empty() ? printable(c.recipe) : expected);
  }
  line("output", printable(setup.run_dir.string()));
  return lines;
}

}  // namespace engine
