#pragma once
// What a finished run says of itself.
#include <string>
#include <vector>

#include "engine/train/trainer.h"

namespace engine {

// "val acc1 91.25% ± 0.55%, best 91.30%", "paper-comparable: yes", what the recipe expects, and the run that
// --compare-to names. Empty if nothing was validated.
std::vector<std::string> result_lines(const TrainConfig& config, const TrainOutcome& outcome);

// A line on stdout for --test-only, text or a JSON object; `what` is "test" or "test ema".
std::string test_line(const TrainConfig& config, const DataFacts& data, const TestOutcome& outcome,
                      const std::string& what);

}  // namespace engine
