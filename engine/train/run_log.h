#pragma once
// Everything that a run reports while it trains: metrics.jsonl, TensorBoard events, and lines or a progress bar.
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/io/metrics_log.h"
#include "engine/io/tensorboard.h"
#include "engine/train/progress.h"
#include "engine/train/run_state.h"
#include "engine/train/step_times.h"

namespace engine {

struct RunLogOptions {
  std::filesystem::path run_dir;
  std::optional<int64_t> resume_step;  // continues the files of a run that was stopped there
  int64_t print_freq = 10;
};

// Times of the steps since the last line.
struct IntervalTimes {
  double seconds = 0;
  StepTimes times;
  int64_t images = 0;
};

// "  ema 94.32", or nothing if there is no average.
std::string average_text(const ValidationResult& result);

// What tells of time in a line of metrics.jsonl. All else depends on steps alone, never on the clock, so that the lines
// of a run that was stopped and resumed are those of a run that was not.
inline constexpr const char* kTimeKeys[] = {"ts", "img_per_s", "data_wait", "bound", "time", "seconds"};

class RunLog {
 public:
  explicit RunLog(const RunLogOptions& options);

  // After a step; redraws the progress bar a few times a second.
  void step(const Progress& progress);
  // Each print_freq steps: {"event":"train",...}. Between two of them a slow run says where it is (`progress` holds the
  // means since the last line).
  void train(const Progress& progress, const IntervalTimes& times);
  void validating(int64_t done, int64_t total);
  // {"event":"val",...}. A line of this step that is there already, from a process that was killed after writing it, is
  // not written again.
  void validation(const ValidationResult& result, const Progress& progress, double seconds, bool is_best);

  // Makes what metrics.jsonl holds durable; to be called before the checkpoint that it belongs to is written.
  void sync() { metrics_.sync(); }

 private:
  void append(const std::string& json);

  RunLogOptions options_;
  MetricsLog metrics_;
  EventWriter events_;
  std::optional<int64_t> last_logged_validation_;
  std::chrono::steady_clock::time_point last_draw_{}, last_line_ = std::chrono::steady_clock::now();
};

}  // namespace engine
