#include "engine/cpu/conv_plan.h"

#include <algorithm>
#include <limits>
#include <sstream>
#include <utility>

#include "engine/cpu/allocator.h"
#include "engine/cpu/conv_candidate.h"
#include "engine/cpu/dnnl.h"
#include "engine/cpu/simd/kernels.h"
#include "engine/cpu/threads.h"
#include "engine/fallback.h"

namespace engine::cpu {
namespace {

constexpr const char* kFormat = "engine-cpu-plans-1";
constexpr const char* kDirectionNames[] = {"forward", "inference", "backward_data", "backward_weights"};

// A problem is measured on as many images as keep one run near ten milliseconds, and as outweigh the filter, whose
// transformation (Winograd's above all) is paid once a batch. A ResNet-50 has some seventy problems.
constexpr int64_t kMeasuredMacs = 1'000'000'000;
constexpr int64_t kActivationsPerFilter = 4;
// Implementations whose first runs come this close to the best are run again, in turns.
constexpr int kFirstRuns = 3;
constexpr double kFinalist = 1.3;
constexpr int kFinalRuns = 2;
// Times closer than this are equal: the library's preference decides, not the noise.
constexpr double kEqual = 0.98;

const char* name_of_layout(Layout layout) {
  return layout == Layout::blocked16 ? "blocked16" : "nhwc";
}

bool is_reference(const std::string& name) {
  return name.find("ref") != std::string::npos;
}
bool is_winograd(const std::string& name) {
  return name.find("wino") != std::string::npos;
}

// What stands behind the loops for this processor in the library's list: the same with fewer registers, and products of
// unrolled images.
bool is_second_choice(const std::string& name, const std::string& first) {
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  return (has(first, "avx512") && !has(name, "avx512")) || (has(first, "avx2") && !has(name, "avx2"));
}

ConvProblem scaled_down(ConvProblem problem) {
  Conv2dShape& s = problem.shape;
  const int64_t macs_per_image = std::max<int64_t>(s.macs() / std::max<int64_t>(s.n, 1), 1);
  const int64_t threads = num_threads();
  const int64_t activations_per_image = s.h * s.w * s.c + s.p() * s.q() * s.k;
  const int64_t filter = s.k * s.r * s.s * (s.c / s.groups);
  int64_t images = std::max({kMeasuredMacs / macs_per_image,
                             kActivationsPerFilter * filter / std::max<int64_t>(activations_per_image, 1), int64_t{1}});
  images = (images + threads - 1) / threads * threads;
  s.n = std::min(s.n, images);
  return problem;
}

size_t output_bytes(const ConvProblem& problem) {
  const Conv2dShape& s = problem.shape;
  return static_cast<size_t>(s.n * s.p() * s.q() * s.k) * size_of(problem.dtype);
}

// The candidates that may be chosen: none of the reference loops, none for older processors.
template <class Visit>
void visit_contenders(const ConvProblem& problem, const Visit& visit) {
  std::string first;
  visit_candidates(problem, [&](const std::string& name, const auto& make) {
    if (is_reference(name)) return true;
    if (first.empty()) first = name;
    return is_second_choice(name, first) || visit(name, make);
  });
}

// The fastest implementation's name, by the minimum of a few runs each: other processes only ever add time.
std::string measure(const ConvProblem& full, const ConvOperands& given) {
  const ConvProblem problem = scaled_down(full);
  ConvOperands operands = given;
  // What adds to its output would not find the same input again.
  const Buffer output(problem.residual == Residual::in_place ? output_bytes(problem) : 0);
  if (problem.residual == Residual::in_place) operands.y = output.as();
  if (problem.residual == Residual::in_place) operands.residual = output.as();
  struct Timed {
    std::string name;
    std::unique_ptr<ConvCandidate> candidate;
    double seconds;
  };
  std::vector<Timed> timed;
  double best = std::numeric_limits<double>::infinity();
  visit_contenders(problem, [&](const std::string& name, const auto& make) {
    Timed entry = {name, make(), 0};
    entry.seconds = entry.candidate->time(operands);  // page faults, cold caches: hardly ever the minimum
    for (int run = 1; run < kFirstRuns; ++run) entry.seconds = std::min(entry.seconds, entry.candidate->time(operands));
    best = std::min(best, entry.seconds);
    timed.push_back(std::move(entry));
    return true;
  });
  std::erase_if(timed, [&](const Timed& entry) { return entry.seconds > kFinalist * best; });
  for (int run = 0; run < kFinalRuns && timed.size() > 1; ++run)
    for (Timed& entry : timed) entry.seconds = std::min(entry.seconds, entry.candidate->time(operands));
  const Timed* winner = nullptr;
  for (const Timed& entry : timed)
    if (winner == nullptr || entry.seconds < kEqual * winner->seconds) winner = &entry;
  return winner ? winner->name : std::string();
}

// The choice without measuring: Winograd where it pays on every machine that we measured, else the library's first.
std::string by_rule(const ConvProblem& problem) {
  const Conv2dShape& s = problem.shape;
  const bool want_winograd = problem.dtype == DType::f32 && s.c >= 32 && s.k >= 32;
  std::string first, winograd, any;
  visit_candidates(problem, [&](const std::string& name, const auto&) {
    if (any.empty()) any = name;
    if (is_reference(name)) return true;
    if (first.empty()) first = name;
    if (winograd.empty() && is_winograd(name)) winograd = name;
    return winograd.empty() || !want_winograd;
  });
  if (want_winograd && !winograd.empty()) return winograd;
  return first.empty() ? any : first;
}

std::unique_ptr<ConvPlan> build(const ConvProblem& problem, const std::string& wanted) {
  std::unique_ptr<ConvPlan> plan;
  visit_candidates(problem, [&](const std::string& name, const auto& make) {
    if (name != wanted) return true;
    plan = make();
    return false;
  });
  return plan;
}

}  // namespace

std::string ConvProblem::text() const {
  std::ostringstream out;
  out << kDirectionNames[static_cast<int>(direction)] << ' ' << name_of(dtype) << " n" << shape.n << " h" << shape.h
      << " w" << shape.w << " c" << shape.c << " k" << shape.k << " r" << shape.r << " s" << shape.s << " stride"
      << shape.stride << " pad" << shape.padding << " groups" << shape.groups << " x=" << name_of_layout(x)
      << " y=" << name_of_layout(y);
  if (bias) out << " bias";
  if (residual != Residual::none) out << (residual == Residual::in_place ? " residual-in-place" : " residual");
  if (relu) out << " relu";
  return out.str();
}

std::vector<std::string> conv_implementations(const ConvProblem& problem) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name, const auto&) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    return true;
  };
  visit_contenders(problem, add);
  if (names.empty()) visit_candidates(problem, add);
  return names;
}

const ConvPlan& ConvPlans::find(const ConvProblem& problem, const ConvOperands& operands) {
  // A primitive is made for a number of threads and must run with it.
  const std::string key = problem.text();
  auto& plans = plans_[num_threads()];
  if (const auto known = plans.find(key); known != plans.end()) return *known->second;
  if (!deterministic_ && !loaded_) load_file();

  std::unique_ptr<ConvPlan> plan;
  if (const auto choice = choices_.find(key); choice != choices_.end()) plan = build(problem, choice->second);
  if (!plan) {
    std::string name = deterministic_ ? by_rule(problem) : measure(problem, operands);
    if (name.empty()) name = by_rule(problem);
    plan = build(problem, name);
    // A format may be offered for the few images that were measured and not for the whole batch.
    if (!plan) plan = build(problem, name = by_rule(problem));
    if (!plan) fail(ErrorKind::internal, "conv2d: oneDNN ", onednn::version(), " offers nothing for ", key);
    if (is_reference(name)) count_fallback("cpu: oneDNN has only its reference loops for " + key);
    choices_[key] = name;
    if (!deterministic_) write_plan_cache(plan_cache_path(), kFormat, choices_);
  }
  return *plans.emplace(key, std::move(plan)).first->second;
}

std::string ConvPlans::export_json() const {
  return plans_to_json(kFormat, choices_);
}

void ConvPlans::import_json(const std::string& json) {
  PlanChoices choices;
  if (!plans_from_json(kFormat, json, choices))
    fail(ErrorKind::checkpoint, "import_plans: the text is not a list of the cpu's plans (format ", kFormat, ")");
  for (const auto& [key, name] : choices) {
    for (auto& [threads, plans] : plans_) {
      const auto known = plans.find(key);
      if (known != plans.end() && known->second->name() != name) plans.erase(known);
    }
    choices_[key] = name;
  }
}

void ConvPlans::set_deterministic(bool on) {
  if (on == deterministic_) return;
  deterministic_ = on;
  plans_.clear();
  choices_.clear();
  loaded_ = false;
}

std::string plan_cache_path() {
  const std::string isa = onednn::has_native_bf16() ? "avx512-bf16" : kernels_for_this_cpu().isa;
  return plan_cache_file("cpu-" + isa + "-" + std::to_string(num_threads()) + "-" + onednn::version());
}

void ConvPlans::load_file() {
  loaded_ = true;
  choices_.merge(read_plan_cache(plan_cache_path(), kFormat));  // what was imported before goes first
}

}  // namespace engine::cpu
