#include "engine/train/step_times.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "engine/train/progress.h"

namespace engine {
namespace {

constexpr double kMuch = 0.1;  // share of the time
constexpr int64_t kUnsettledSteps = 10, kJudgedStep = 50;

}  // namespace

const char* bound_by(const StepTimes& times) {
  const std::array<std::pair<double, const char*>, 3> waits = {
      {{times.data, "data"}, {times.copy, "copy"}, {times.comm, "comm"}}};
  const double much = kMuch * times.total();
  const auto longest =
      std::max_element(waits.begin(), waits.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  if (longest->first > much) return longest->second;
  return times.device >= much || times.host <= much ? "device" : "host";
}

std::string bound_hint(const StepTimes& times, const BoundFacts& facts) {
  const std::string_view bound = bound_by(times);
  const double total = times.total();
  const auto percent = [&](double part) { return std::lround(100 * part / total); };
  if (bound == "data") {
    // Without waiting a step takes the rest of its time, for which the pictures have to come faster by as much.
    const double busy = std::max(1 - times.data / total, 0.01);
    const auto needed =
        static_cast<int64_t>(std::ceil(static_cast<double>(std::max<int64_t>(facts.workers, 1)) / busy));
    const std::string waits =
        fmt::format("{}% of the time goes to waiting for pictures, {} img/s of {} worker{}: ", percent(times.data),
                    rate_text(facts.img_per_s), facts.workers, facts.workers == 1 ? "" : "s");
    if (needed <= facts.cores) return waits + fmt::format("try --workers {}", needed);
    return waits + fmt::format(
                       "that takes about {} of them and there are {} cores; store smaller pictures with "
                       "resnet-pack --max-side, or see --test-io",
                       needed, facts.cores);
  }
  if (bound == "copy")
    return fmt::format("{}% of the time goes to copying pictures to {}: a larger --batch-size copies in fewer pieces",
                       percent(times.copy), facts.device);
  if (bound == "comm")
    return fmt::format(
        "{}% of the time goes to adding gradients over the ranks: a larger --batch-size or "
        "--grad-accum-steps does it less often",
        percent(times.comm));
  if (bound == "host")
    return fmt::format("{} waits for work: a batch of {} is small for it, a larger --batch-size keeps it busy",
                       facts.device, facts.batch);
  if (facts.device == "cpu" && facts.native_bf16 && facts.precision == "fp32")
    return "this processor computes faster in bf16: try --precision bf16";
  if (facts.device == "cpu" && facts.threads < facts.cores)
    return fmt::format("{} of {} cores compute: try --threads {}", facts.threads, facts.cores, facts.cores);
  return "";
}

bool SettledSteps::add(double seconds, const StepTimes& times, int64_t images) {
  ++steps_;
  if (steps_ <= kUnsettledSteps || steps_ > kJudgedStep) return false;
  times_.add(times);
  seconds_ += seconds;
  images_ += images;
  return steps_ == kJudgedStep;
}

}  // namespace engine
