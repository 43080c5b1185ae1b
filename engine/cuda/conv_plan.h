#pragma once
// Which implementation runs a convolution: our kernel or cuDNN's. Every distinct problem is measured once, the choice
// is kept on disk.
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "engine/cuda/context.h"
#include "engine/plan_cache.h"
#include "kernels/libraries.h"

namespace engine::cuda {

using kernels::LibraryConvolution;
using kernels::LibraryPlan;

// As the cache's files spell it: "forward bf16 n32 h56 w56 c64 k64 r3 s3 stride1 pad1 groups1 statistics".
// `statistics`: the batch's statistics of the result are wanted too.
std::string problem_text(const LibraryConvolution& problem, bool statistics);

class ConvPlans {
 public:
  explicit ConvPlans(const Context& context) : context_(context) {}
  ~ConvPlans();
  ConvPlans(const ConvPlans&) = delete;
  ConvPlans& operator=(const ConvPlans&) = delete;

  // Runs the problem once with our kernel (library null) or the library's plan.
  using Run = std::function<void(const LibraryPlan* library)>;
  // Runs it with the implementation of choice, which is measured by several runs where it is not known yet. With
  // `may_measure` false (a graph is being captured; the result may not be written twice) an unknown problem goes to our
  // kernel.
  void run(const LibraryConvolution& problem, bool statistics, bool may_measure, const Run& run);

  std::string export_json() const;
  // Throws Error(checkpoint) if the text is something else.
  void import_json(const std::string& json);
  // Our kernels always: they repeat bit by bit on every GPU of a kind.
  void set_deterministic(bool on);
  // "own", "cudnn", or "" for what is faster. Throws Error(usage) for another name, and Error(device) for "cudnn"
  // without cuDNN.
  void force(const std::string& name);

  // cuDNN's version, or why there is none.
  std::string library_description() const;

 private:
  struct Entry {
    LibraryPlan* library = nullptr;
    bool chosen = false, use_library = false;
  };
  bool library_usable() const;
  void choose(const std::string& key, Entry& entry, const LibraryConvolution& problem, bool may_measure,
              const Run& run);
  double time(const LibraryPlan* library, const Run& run) const;
  std::string cache_file() const;
  void load();

  const Context& context_;
  std::map<std::string, Entry> entries_;
  PlanChoices choices_;
  std::string forced_;
  bool deterministic_ = false, loaded_ = false;
};

}  // namespace engine::cuda
