#include "engine/train/result_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/text.h"
#include "engine/train/accuracy.h"
#include "engine/train/log.h"
#include "engine/train/progress.h"
#include "engine/train/recipe_book.h"

namespace engine {
namespace {

std::string comparable_text(const std::string& why_not) {
  return "paper-comparable: " + (why_not.empty() ? "yes" : "no (" + why_not + ")");
}

// Against the last epoch of the other curve that this run has reached, too.
std::string compared(const ReferenceCurve& curve, int64_t epochs, double acc1) {
  const auto after = std::upper_bound(curve.epochs.begin(), curve.epochs.end(), static_cast<double>(epochs));
  if (after == curve.epochs.begin()) return "";
  const auto at = static_cast<size_t>(after - curve.epochs.begin()) - 1;
  return fmt::format("{} had {:.2f}% after {} epochs, this run has {:.2f}% after {}: {:+.2f} points",
                     printable(curve.name), curve.val_acc1[at], curve.epochs[at], acc1, epochs,
                     acc1 - curve.val_acc1[at]);
}

}  // namespace

std::vector<std::string> result_lines(const TrainConfig& config, const TrainOutcome& outcome) {
  if (!outcome.final_val_acc1) return {};
  std::string accuracy =
      fmt::format("val acc1 {} ± {:.2f}%", styled(Style::green, fmt::format("{:.2f}%", *outcome.final_val_acc1)),
                  outcome.plus_minus);
  if (outcome.final_ema_acc1) accuracy += fmt::format(", ema {:.2f}%", *outcome.final_ema_acc1);
  if (outcome.best_val_acc1) accuracy += fmt::format(", best {:.2f}%", *outcome.best_val_acc1);
  std::vector<std::string> lines = {accuracy, comparable_text(outcome.not_comparable)};
  const double judged = outcome.final_ema_acc1.value_or(*outcome.final_val_acc1);
  if (std::string text = against_recipe(config, judged, outcome.not_comparable.empty()); !text.empty()) {
    lines.push_back(std::move(text));
  }
  if (config.compare_to.empty()) return lines;
  try {
    std::string text = compared(find_reference(config.compare_to), outcome.epochs, *outcome.final_val_acc1);
    if (!text.empty()) lines.push_back(std::move(text));
  } catch (const Error& error) {  // it was there when the run began
    log_warning(error.what());
  }
  return lines;
}

std::string test_line(const TrainConfig& config, const DataFacts& data, const TestOutcome& outcome,
                      const std::string& what) {
  const double plus_minus = wilson_half_width(outcome.acc1, outcome.samples);
  const std::string why_not = not_paper_comparable(config, data, outcome.samples, outcome.skipped);
  if (config.log_format != "jsonl") {
    return fmt::format("{} acc1 {:.2f} ± {:.2f}  acc5 {:.2f}  loss {:.4f}  ({} pictures in {:.1f} s)  {}", what,
                       outcome.acc1, plus_minus, outcome.acc5, outcome.loss, outcome.samples, outcome.seconds,
                       comparable_text(why_not));
  }
  std::string event = what;
  std::replace(event.begin(), event.end(), ' ', '_');
  const nlohmann::ordered_json json = {{"event", event},
                                       {"acc1", outcome.acc1},
                                       {"plus_minus", plus_minus},
                                       {"acc5", outcome.acc5},
                                       {"loss", outcome.loss},
                                       {"samples", outcome.samples},
                                       {"paper_comparable", why_not.empty()},
                                       {"seconds", outcome.seconds},
                                       {"ts", unix_time()}};
  return json.dump();
}

}  // namespace engine
