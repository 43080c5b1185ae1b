#include "engine/cuda/conv_plan.h"

#include <algorithm>
#include <sstream>

#include "engine/fallback.h"

namespace engine::cuda {
namespace {

constexpr const char* kFormat = "engine-cuda-plans-1";
constexpr const char* kOwn = "own";
constexpr const char* kLibrary = "cudnn";
constexpr const char* kDirections[] = {"forward", "backward_data", "backward_weights"};
constexpr const char* kTypes[] = {"f32", "bf16", "f16"};
constexpr int kRuns = 3;  // timed ones, after one that loads code and fills caches
// Times closer than this are equal: our kernel is taken, not the noise.
constexpr double kEqual = 0.98;

}  // namespace

std::string problem_text(const LibraryConvolution& problem, bool statistics) {
  const kernels::Conv2dShape& s = problem.shape;
  std::ostringstream out;
  out << kDirections[static_cast<int>(problem.direction)] << ' ' << kTypes[static_cast<int>(problem.type)] << " n"
      << s.n << " h" << s.h << " w" << s.w << " c" << s.c << " k" << s.k << " r" << s.r << " s" << s.s << " stride"
      << s.stride << " pad" << s.padding << " groups" << s.groups;
  if (problem.scale_shift) out << " scale";
  if (problem.residual) out << " residual";
  if (problem.relu) out << " relu";
  if (statistics) out << " statistics";
  return out.str();
}

ConvPlans::~ConvPlans() {
  for (const auto& [key, entry] : entries_)
    if (entry.library != nullptr) context_.module().libraries->cudnn->destroy(entry.library);
}

bool ConvPlans::library_usable() const {
  const kernels::Libraries* libraries = context_.module().libraries;
  const char* version = "";
  return libraries != nullptr && libraries->cudnn != nullptr && libraries->cudnn->load(&version).ok();
}

std::string ConvPlans::library_description() const {
  const kernels::Libraries* libraries = context_.module().libraries;
  if (libraries == nullptr || libraries->cudnn == nullptr) return "no cuDNN";
  const char* version = "";
  const Status status = libraries->cudnn->load(&version);
  return status.ok() ? std::string("cuDNN ") + version : std::string("no cuDNN (") + status.text + ")";
}

void ConvPlans::run(const LibraryConvolution& problem, bool statistics, bool may_measure, const Run& run) {
  if (context_.module().libraries == nullptr || deterministic_ || forced_ == kOwn) return run(nullptr);
  const std::string key = problem_text(problem, statistics);
  Entry& entry = entries_[key];
  if (!entry.chosen) choose(key, entry, problem, may_measure, run);
  run(entry.use_library ? entry.library : nullptr);
}

void ConvPlans::choose(const std::string& key, Entry& entry, const LibraryConvolution& problem, bool may_measure,
                       const Run& run) {
  if (!loaded_) load();
  const auto known = choices_.find(key);
  const bool wanted = forced_ == kLibrary || known == choices_.end() || known->second == kLibrary;
  if (wanted && entry.library == nullptr && library_usable()) {
    const Status status = context_.module().libraries->cudnn->create(problem, &entry.library);
    if (!status.ok()) entry.library = nullptr;
  }
  if (forced_ == kLibrary) {
    entry.chosen = true;
    entry.use_library = entry.library != nullptr;
    if (!entry.use_library) count_fallback("cuda: cuDNN was forced, but offers nothing for " + key);
    return;
  }
  if (known != choices_.end()) {
    entry.chosen = true;
    entry.use_library = known->second == kLibrary && entry.library != nullptr;
    return;
  }
  if (entry.library == nullptr) {
    entry.chosen = true;
    return;
  }
  if (!may_measure) return;
  entry.use_library = time(entry.library, run) < kEqual * time(nullptr, run);
  entry.chosen = true;
  choices_[key] = entry.use_library ? kLibrary : kOwn;
  write_plan_cache(cache_file(), kFormat, choices_);
}

// The minimum of a few runs, in seconds: whatever else the GPU does only ever adds time.
double ConvPlans::time(const LibraryPlan* library, const Run& run) const {
  const Runtime& runtime = context_.runtime();
  kernels::Event begin = nullptr, end = nullptr;
  context_.check("creating an event", runtime.event_create(&begin));
  context_.check("creating an event", runtime.event_create(&end));
  float best = 0;
  for (int i = 0; i <= kRuns; ++i) {
    context_.check("recording an event", runtime.event_record(begin, context_.stream()));
    run(library);
    context_.check("recording an event", runtime.event_record(end, context_.stream()));
    context_.check("measuring a convolution", runtime.event_synchronize(end));
    float ms = 0;
    context_.check("reading a time", runtime.elapsed_ms(&ms, begin, end));
    if (i > 0) best = i == 1 ? ms : std::min(best, ms);
  }
  context_.check("destroying an event", runtime.event_destroy(begin));
  context_.check("destroying an event", runtime.event_destroy(end));
  return best;
}

std::string ConvPlans::cache_file() const {
  kernels::RuntimeVersions versions;
  (void)context_.runtime().versions(&versions);
  std::ostringstream name;
  name << "cuda-" << context_.properties().name << '-' << library_description() << "-driver-" << versions.driver;
  std::string text = name.str();
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == ' ' || c == '/'; }, '-');
  return plan_cache_file(text);
}

void ConvPlans::load() {
  loaded_ = true;
  PlanChoices known = read_plan_cache(cache_file(), kFormat);
  for (const auto& [key, name] : choices_) known[key] = name;  // what was imported before goes first
  choices_ = std::move(known);
}

std::string ConvPlans::export_json() const {
  return plans_to_json(kFormat, choices_);
}

void ConvPlans::import_json(const std::string& json) {
  PlanChoices choices;
  if (!plans_from_json(kFormat, json, choices))
    fail(ErrorKind::checkpoint, "import_plans: the text is not a list of ", context_.device(), "'s plans (format ",
         kFormat, ")");
  for (const auto& [key, name] : choices) choices_[key] = name;
  for (auto& [key, entry] : entries_) entry.chosen = false;
}

void ConvPlans::set_deterministic(bool on) {
  deterministic_ = on;
}

void ConvPlans::force(const std::string& name) {
  engine::check(name.empty() || name == kOwn || name == kLibrary, "--force-impl ", name, ": expected own or cudnn");
  if (name == kLibrary && !library_usable())
    fail(ErrorKind::device, "--force-impl cudnn: ", context_.device(), " has ", library_description(),
         "; install cuDNN 9 where the system's loader finds it, or use --force-impl own");
  forced_ = name;
  for (auto& [key, entry] : entries_) entry.chosen = false;
}

}  // namespace engine::cuda
