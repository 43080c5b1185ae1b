#include "bench/step_timing.h"

#include <chrono>
#include <cstdio>
#include <iostream>
#include <numeric>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "bench/process_usage.h"
#include "bench/statistics.h"

namespace engine::bench {

using Json = nlohmann::ordered_json;

double timed(const Step& step) {
  const auto start = std::chrono::steady_clock::now();
  step();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

WarmUp warm_up(const Step& step, double limit) {
  WarmUp result;
  auto& times = result.seconds;
  for (double spent = 0; spent < limit;) {
    times.push_back(timed(step));
    spent += times.back();
    result.stable = is_stable(times, {.seconds = 0});
    if (result.stable) break;
  }
  return result;
}

Json measure(const Step& step, long batch, double seconds) {
  step();
  const ProcessUsage before = process_usage();
  std::vector<double> times;
  for (double spent = 0; times.size() < 3 || spent < seconds; spent += times.back()) times.push_back(timed(step));
  const ProcessUsage after = process_usage();
  const double steps = static_cast<double>(times.size());
  const double median = quantile(times, 0.5), wall = std::accumulate(times.begin(), times.end(), 0.0);
  return {{"img_per_s", static_cast<double>(batch) / median},
          {"median_s", median},
          {"p5_s", quantile(times, 0.05)},
          {"p95_s", quantile(times, 0.95)},
          {"steps", times.size()},
          {"minor_faults_per_step", static_cast<double>(after.minor_faults - before.minor_faults) / steps},
          {"major_faults_per_step", static_cast<double>(after.major_faults - before.major_faults) / steps},
          {"cpu_per_wall", (after.cpu_seconds - before.cpu_seconds) / wall},
          {"memory", memory_report()},
          {"step_s", times}};
}

Json memory_report() {
  const ProcessUsage usage = process_usage();
  return {{"peak_resident_bytes", usage.peak_resident_bytes}, {"resident_bytes", usage.resident_bytes}};
}

void print_line(const Json& json) {
  std::cout << json.dump() << std::endl;
}

void serve(const std::function<Json(double)>& answer) {
  for (std::string line; std::getline(std::cin, line) && line != "quit";) {
    double seconds = 0;
    if (std::sscanf(line.c_str(), "run %lf", &seconds) != 1)
      throw std::invalid_argument("'" + line + "' on stdin is no command, expected 'run SECONDS' or 'quit'");
    print_line(answer(seconds));
  }
}

}  // namespace engine::bench
