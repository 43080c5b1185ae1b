#include "engine/cuda/plans.h"

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
  out << kDirections[static_cast<int>(problem.direction)] << ' '
      << (problem.tf32 ? "tf32" : kTypes[static_cast<int>(problem.type)]) << " n" << s.n << " h" << s.h << " w" << s.w
      << " c" << s.c << " k" << s.k << " r" << s.r << " s" << s.s << " stride" << s.stride << " pad" << s.padding
      << " groups" << s.groups;
  if (problem.scale_shift) out << " scale";
  if (problem.residual) out << " residual";
  if (problem.relu) out << " relu";
  if (statistics) out << " statistics";
  return out.str();
}

std::string problem_text(const kernels::LibraryMatmul& product) {
  std::ostringstream out;
  out << "product " << (product.tf32 ? "tf32" : kTypes[static_cast<int>(product.type)]) << " rows" << product.rows
      << " columns" << product.columns << " inner" << product.inner;
  if (product.a_transposed) out << " a-transposed";
  if (product.b_transposed) out << " b-transposed";
  if (product.bias != nullptr) out << " bias";
  return out.str();
}

Plans::~Plans() {
  for (const auto& [key, entry] : entries_)
    if (entry.library != nullptr) context_.module().libraries->cudnn->destroy(entry.library);
}

bool Plans::library_usable() const {
  const kernels::Libraries* libraries = context_.module().libraries;
  const char* version = "";
  return libraries != nullptr && libraries->cudnn != nullptr && libraries->cudnn->load(&version).ok();
}

std::string Plans::library_description() const {
  const kernels::Libraries* libraries = context_.module().libraries;
  if (libraries == nullptr || libraries->cudnn == nullptr) return "no cuDNN";
  const char* version = "";
  const Status status = libraries->cudnn->load(&version);
  return status.ok() ? std::string("cuDNN ") + version : std::string("no cuDNN (") + status.text + ")";
}

bool Plans::our_kernels_only() const {
  return context_.module().libraries == nullptr || deterministic_ || forced_ == kOwn;
}

void Plans::run(const LibraryConvolution& problem, bool statistics, bool may_measure, const Run& run) {
  if (our_kernels_only()) return run(nullptr);
  this->run({.key = problem_text(problem, statistics),
             .may_measure = may_measure,
             .offer =
                 [&](Entry& entry) {
                   if (entry.library == nullptr && library_usable() &&
                       !context_.module().libraries->cudnn->create(problem, &entry.library).ok())
                     entry.library = nullptr;
                   return entry.library != nullptr;
                 },
             .run = [&](Entry& entry, bool library) { run(library ? entry.library : nullptr); }});
}

void Plans::run(const kernels::LibraryMatmul& product, bool may_measure, const RunProduct& run) {
  if (our_kernels_only() || context_.module().libraries->cublaslt == nullptr) return void(run(false));
  this->run({.key = problem_text(product),
             .may_measure = may_measure,
             .offer = [&](Entry&) { return may_measure && run(true); },  // it knows by trying
             .run = [&](Entry&, bool library) { (void)(run(library) || run(false)); }});
}

void Plans::run(const Contest& contest) {
  Entry& entry = entries_[contest.key];
  if (!entry.chosen) choose(contest, entry);
  contest.run(entry, entry.use_library);
}

void Plans::choose(const Contest& contest, Entry& entry) {
  if (!contest.may_measure) return;
  if (!loaded_) load();
  entry.chosen = true;
  const auto known = choices_.find(contest.key);
  if (forced_.empty() && known != choices_.end() && known->second != kLibrary) return;
  const bool offered = contest.offer(entry);
  if (!offered && forced_ == kLibrary)
    count_fallback("cuda: cudnn was forced, but the library offers nothing for " + contest.key);
  if (!offered || forced_ == kLibrary || known != choices_.end()) {
    entry.use_library = offered;
    return;
  }
  entry.use_library = time(contest, entry, true) < kEqual * time(contest, entry, false);
  choices_[contest.key] = entry.use_library ? kLibrary : kOwn;
  write_plan_cache(cache_file(), kFormat, choices_);
}

// The minimum of a few runs, in seconds: whatever else the GPU does only ever adds time.
double Plans::time(const Contest& contest, Entry& entry, bool library) const {
  const Runtime& runtime = context_.runtime();
  kernels::Event begin = nullptr, end = nullptr;
  context_.check("creating an event", runtime.event_create(&begin));
  context_.check("creating an event", runtime.event_create(&end));
  float best = 0;
  for (int i = 0; i <= kRuns; ++i) {
    context_.check("recording an event", runtime.event_record(begin, context_.stream()));
    contest.run(entry, library);
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

std::string Plans::cache_file() const {
  kernels::RuntimeVersions versions;
  (void)context_.runtime().versions(&versions);
  std::ostringstream name;
  name << "cuda-" << context_.properties().name << '-' << library_description() << "-driver-" << versions.driver;
  std::string text = name.str();
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == ' ' || c == '/'; }, '-');
  return plan_cache_file(text);
}

void Plans::load() {
  loaded_ = true;
  PlanChoices known = read_plan_cache(cache_file(), kFormat);
  for (const auto& [key, name] : choices_) known[key] = name;  // what was imported before goes first
  choices_ = std::move(known);
}

std::string Plans::export_json() const {
  return plans_to_json(kFormat, choices_);
}

void Plans::import_json(const std::string& json) {
  PlanChoices choices;
  if (!plans_from_json(kFormat, json, choices))
    fail(ErrorKind::checkpoint, "import_plans: the text is not a list of ", context_.device(), "'s plans (format ",
         kFormat, ")");
  for (const auto& [key, name] : choices) choices_[key] = name;
  for (auto& [key, entry] : entries_) entry.chosen = entry.use_library = false;
}

void Plans::set_deterministic(bool on) {
  deterministic_ = on;
}

void Plans::force(const std::string& name) {
  engine::check(name.empty() || name == kOwn || name == kLibrary, "--force-impl ", name, ": expected own or cudnn");
  if (name == kLibrary && !library_usable())
    fail(ErrorKind::device, "--force-impl cudnn: ", context_.device(), " has ", library_description(),
         "; install cuDNN 9 where the system's loader finds it, or use --force-impl own");
  forced_ = name;
  for (auto& [key, entry] : entries_) entry.chosen = entry.use_library = false;
}

}  // namespace engine::cuda
