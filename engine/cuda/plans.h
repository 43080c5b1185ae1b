#pragma once
// Which implementation runs a convolution or a matrix product: our kernel, or cuDNN's and cuBLASLt's. Every distinct
// problem is measured once, the choice is kept on disk.
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

// "product bf16 rows256 columns1000 inner2048 b-transposed": the pointers do not matter.
std::string problem_text(const kernels::LibraryMatmul& product);

class Plans {
 public:
  explicit Plans(const Context& context) : context_(context) {}
  ~Plans();
  Plans(const Plans&) = delete;
  Plans& operator=(const Plans&) = delete;

  // Runs the problem once with our kernel (library null) or the library's plan.
  using Run = std::function<void(const LibraryPlan* library)>;
  // Runs it with the implementation of choice, which is chosen by several runs at the first time. With `may_measure`
  // false (a graph is being captured; the result may not be written twice) a problem without a choice goes to our
  // kernel, and is chosen for the next time.
  void run(const LibraryConvolution& problem, bool statistics, bool may_measure, const Run& run);
  // The same for a matrix product; `library` says whether the library is to run it, and the result whether it could.
  using RunProduct = std::function<bool(bool library)>;
  void run(const kernels::LibraryMatmul& product, bool may_measure, const RunProduct& run);

  std::string export_json() const;
  // Throws Error(checkpoint) if the text is something else.
  void import_json(const std::string& json);
  // Our kernels always: they repeat bit by bit on every GPU of a kind.
  void set_deterministic(bool on);
  // "own", "cudnn" (cuBLASLt for products), or "" for what is faster. Throws Error(usage) for another name, and
  // Error(device) for "cudnn" without cuDNN.
  void force(const std::string& name);

  // cuDNN's version, or why there is none.
  std::string library_description() const;

 private:
  struct Entry {
    LibraryPlan* library = nullptr;
    bool chosen = false, use_library = false;
  };
  // A problem as its implementations see it.
  struct Contest {
    std::string key;
    bool may_measure;
    std::function<bool(Entry&)> offer;  // prepares the library; false if it has nothing
    std::function<void(Entry&, bool library)> run;
  };
  bool our_kernels_only() const;
  bool library_usable() const;
  void run(const Contest& contest);
  void choose(const Contest& contest, Entry& entry);
  double time(const Contest& contest, Entry& entry, bool library) const;
  std::string cache_file() const;
  void load();

  const Context& context_;
  std::map<std::string, Entry> entries_;
  PlanChoices choices_;
  std::string forced_;
  bool deterministic_ = false, loaded_ = false;
};

}  // namespace engine::cuda
