#pragma once
// Where a step's time goes: every layer and direction with its time in place, what it moved and multiplied, how far
// that is from its own floor, and what other implementations would take.
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "bench/ceilings.h"
#include "bench/convolution_case.h"
#include "bench/profile.h"
#include "bench/roofline.h"

namespace engine::bench {

struct LayerRow {
  std::string layer, kind;  // "layer1.0.conv1", "conv fprop"
  std::string shape, implementation;
  int calls = 1;
  double seconds = 0;  // in the step
  OpCost cost;
  double floor_seconds = 0;  // of this operation as it is executed: max(flops / rate, bytes / bandwidth)
  bool compute_bound = false;
  // Each implementation by itself, fastest first: operands may lie in caches there, so that these times compare with
  // each other and not with `seconds`. Empty where there is no choice or none was asked for.
  std::vector<Candidate> candidates;

  double share_of_floor() const { return floor_seconds / seconds; }  // above 1: faster than memory, from caches
  // The fastest that was not chosen, and the chosen one by itself; null if there is none.
  const Candidate* alternative() const;
  const Candidate* chosen() const;
};

struct LayerReport {
  std::string model, precision, mode, device, description;
  int64_t batch = 0, image_size = 0;
  int threads = 0;
  Ceilings ceilings;
  StepFloor floor;
  double step_seconds = 0, profiled_seconds = 0, operations_seconds = 0, outside_seconds = 0;
  int steps = 0;
  bool consistent = true;  // the operations' sum is within kAgreement of the step
  bool emulated = false;
  std::vector<LayerRow> rows;  // in the order of their first call
};

struct LayerOptions {
  WorkloadOptions work;
  std::string force_impl;               // as the caller forced it
  double warmup_limit = 60;             // seconds
  double seconds = 5;                   // of profiling
  double seconds_per_candidate = 0.05;  // 0: no alternatives
  std::string only;                     // alternatives for this layer alone
};

// Runs the step on a workload of its own: let go of any other first. On the CPU with the number of threads that is set.
LayerReport profile_layers(const LayerOptions& options, const Ceilings& ceilings);

// The rows of a profile; the accounting that profile_layers() does.
LayerReport make_report(const StepProfile& profile, const Ceilings& ceilings);

// Says if the sum of the operations is further than kAgreement from the step; empty if not.
std::string disagreement(const LayerReport& report);

void print_layers(std::FILE* out, const LayerReport& report);
// One layer in full, with every candidate. Throws Error(usage), naming similar layers, if there is no such layer.
void explain_layer(std::FILE* out, const LayerReport& report, const std::string& layer);

// {"model", ..., "layers": [...]}: see docs of --results-file.
nlohmann::ordered_json layers_json(const LayerReport& report);

// A page that needs nothing else: style inline, no script.
std::string layers_html(const std::vector<LayerReport>& reports);

}  // namespace engine::bench
