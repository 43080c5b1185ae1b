#include "bench/layer_report.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "bench/bench_case.h"
#include "engine/backend.h"

namespace engine::bench {
namespace {

LayerRow row_of(const ProfiledCall& profiled, const Ceilings& ceilings) {
  const OpCall& call = profiled.call;
  return {.layer = call.layer,
          .kind = kind_of(call),
          .shape = call.shape,
          .implementation = profiled.implementation,
          .seconds = profiled.seconds,
          .cost = call.cost,
          .floor_seconds = floor_seconds(call.cost, ceilings),
          .compute_bound = call.cost.flops / ceilings.flops_per_s > call.cost.bytes() / ceilings.bytes_per_s,
          .candidates = {}};
}

bool same_kind(const LayerRow& a, const LayerRow& b) {
  return a.layer == b.layer && a.kind == b.kind && a.shape == b.shape && a.implementation == b.implementation;
}

// The same problem in several layers is measured once.
class CandidateTimes {
 public:
  CandidateTimes(Device device, double seconds_each) : device_(device), seconds_each_(seconds_each) {}

  std::vector<Candidate> of(const ConvolutionCase& conv) {
    const std::string key = conv.problem.text() + (conv.statistics ? " statistics" : "");
    const auto known = times_.find(key);
    if (known != times_.end()) return known->second;
    return times_[key] = time_candidates(conv, device_, seconds_each_);
  }

 private:
  Device device_;
  double seconds_each_;
  std::map<std::string, std::vector<Candidate>> times_;
};

void add_candidates(LayerReport& report, const StepProfile& profile, const LayerOptions& options) {
  CandidateTimes times(options.work.device, options.seconds_per_candidate);
  for (const ProfiledCall& call : profile.calls) {
    if (!call.call.convolution || (!options.only.empty() && call.call.layer != options.only)) continue;
    const auto row = std::find_if(report.rows.begin(), report.rows.end(), [&](const LayerRow& r) {
      return r.layer == call.call.layer && r.kind == kind_of(call.call);
    });
    if (row != report.rows.end()) row->candidates = times.of(*call.call.convolution);
  }
}

}  // namespace

const Candidate* LayerRow::alternative() const {
  for (const Candidate& candidate : candidates)
    if (candidate.name != implementation) return &candidate;
  return nullptr;
}

const Candidate* LayerRow::chosen() const {
  for (const Candidate& candidate : candidates)
    if (candidate.name == implementation) return &candidate;
  return nullptr;
}

LayerReport make_report(const StepProfile& profile, const Ceilings& ceilings) {
  LayerReport report{.ceilings = ceilings,
                     .step_seconds = profile.step_seconds,
                     .profiled_seconds = profile.profiled_seconds,
                     .operations_seconds = profile.calls_seconds(),
                     .outside_seconds = profile.outside_seconds,
                     .steps = profile.steps,
                     .consistent = profile.consistent()};
  for (const ProfiledCall& call : profile.calls) {
    LayerRow row = row_of(call, ceilings);
    const auto known = std::find_if(report.rows.begin(), report.rows.end(),
                                    [&](const LayerRow& other) { return same_kind(row, other); });
    if (known == report.rows.end()) {
      report.rows.push_back(std::move(row));
      continue;
    }
    ++known->calls;
    known->seconds += row.seconds;
    known->floor_seconds += row.floor_seconds;
    known->cost.flops += row.cost.flops;
    known->cost.read += row.cost.read;
    known->cost.written += row.cost.written;
  }
  return report;
}

LayerReport profile_layers(const LayerOptions& options, const Ceilings& ceilings) {
  const WorkloadOptions& work = options.work;
  StepProfile profile = profile_step({.work = work, .warmup_limit = options.warmup_limit, .seconds = options.seconds});
  if (!options.force_impl.empty())
    for (ProfiledCall& call : profile.calls)
      if (call.call.convolution) call.implementation = options.force_impl;
  LayerReport report = make_report(profile, ceilings);
  const models::ResNet net = models::make_resnet(work.model, {.initialize = false});
  report.model = work.model;
  report.precision = precision_name(work.precision);
  report.mode = name_of(work.mode);
  report.device = to_string(work.device);
  report.description = backend(work.device).description();
  report.batch = work.batch;
  report.image_size = work.image_size > 0 ? work.image_size : net.specification().default_image_size();
  report.threads = num_threads();
  report.emulated = work.device.type == DeviceType::emulated;
  report.floor = step_floor(net, work.batch, report.image_size, work.precision.dtype, work.mode, ceilings);
  if (options.seconds_per_candidate > 0) add_candidates(report, profile, options);
  return report;
}

std::string disagreement(const LayerReport& report) {
  if (report.consistent) return {};
  std::ostringstream text;
  text.precision(1);
  text << std::fixed << "the operations of " << report.model << " add up to " << report.operations_seconds * 1e3
       << " ms, the step without the clock takes " << report.step_seconds * 1e3
       << " ms: " << 100 * (report.operations_seconds / report.step_seconds - 1) << "% apart, more than "
       << 100 * kAgreement << "%; " << report.outside_seconds * 1e3
       << " ms are spent between operations, the rest is noise: use a larger batch, or a quieter machine";
  return text.str();
}

}  // namespace engine::bench
