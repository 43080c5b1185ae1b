#pragma once
// How every program of the comparison times a step, and how it talks to bench/compare: bench/README.md, "Protocol".
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace engine::bench {

using Step = std::function<void()>;

double timed(const Step& step);  // seconds

struct WarmUp {
  std::vector<double> seconds;  // of each step
  bool stable = false;
};
// Steps until two neighbouring windows of five (three, if a step takes over a second) have medians within 2% of each
// other, or until `limit` seconds have passed.
WarmUp warm_up(const Step& step, double limit);

// Steps for at least `seconds`, and at least three. The step before them does not count: in an interleaved run another
// program has just used the caches. {"img_per_s", "median_s", "p5_s", "p95_s", "steps", "minor_faults_per_step",
// "major_faults_per_step", "cpu_per_wall", "memory", "step_s"}
nlohmann::ordered_json measure(const Step& step, long batch, double seconds);

// {"peak_resident_bytes", "resident_bytes"} of this process.
nlohmann::ordered_json memory_report();

void print_line(const nlohmann::ordered_json& json);  // on stdout, flushed: a driver waits for it

// Obeys stdin, "run SECONDS" with a line of JSON from `answer`, until it ends or says "quit".
void serve(const std::function<nlohmann::ordered_json(double seconds)>& answer);

}  // namespace engine::bench
