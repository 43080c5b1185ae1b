#pragma once
// Which implementation runs a convolution: every distinct problem is measured once, the choice is kept on disk.
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/dtype.h"
#include "engine/plan_cache.h"
#include "engine/storage.h"
#include "kernels/types.h"

namespace engine::cpu {

using kernels::Conv2dShape;

enum class ConvDirection : uint8_t { forward, inference, backward_data, backward_weights };

// How an inference convolution gets the residual that it adds.
enum class Residual : uint8_t { none, separate, in_place };  // in_place: y already holds it

struct ConvProblem {
  ConvDirection direction = ConvDirection::forward;
  Conv2dShape shape;
  DType dtype = DType::f32;
  Layout x = Layout::nhwc, y = Layout::nhwc;
  bool bias = false, relu = false;
  Residual residual = Residual::none;

  // As the cache's files spell it: "forward f32 n32 h56 w56 c64 k64 r3 s3 stride1 pad1 groups1 x=blocked16 ...".
  std::string text() const;
};

// Operands of one execution, in the problem's layouts; the output is among them.
struct ConvOperands {
  void* x = nullptr;
  void* y = nullptr;
  const float* w = nullptr;  // [K,R,S,C/groups]; null in inference, where the filter comes prepared
  float* dw = nullptr;       // backward_weights only
  const void* prepared = nullptr;
  const float* bias = nullptr;
  const void* residual = nullptr;
};

// A chosen implementation, ready to run.
class ConvPlan {
 public:
  virtual ~ConvPlan() = default;
  virtual const std::string& name() const = 0;
  // Bytes of the filter in the implementation's own format, and the conversion into it.
  virtual size_t prepared_bytes() const = 0;
  virtual void prepare(const float* w, void* prepared) const = 0;
  virtual void run(const ConvOperands& operands) const = 0;
};

// Every implementation that may be chosen for the problem, by name, in the order of the library's preference, direct
// before Winograd. The library's reference loops are among them only if it offers nothing else.
std::vector<std::string> conv_implementations(const ConvProblem& problem);

class ConvPlans {
 public:
  // The plan for a problem. The first time it is taken from the choices known, or chosen: by measuring on the operands
  // (whose outputs are overwritten), or by a fixed rule if deterministic.
  const ConvPlan& find(const ConvProblem& problem, const ConvOperands& operands);

  std::string export_json() const;
  // Choices to use from now on, as export_json() wrote them. Throws Error(checkpoint) if the text is something else. A
  // name that this machine does not offer is measured anew.
  void import_json(const std::string& json);
  void set_deterministic(bool on);

 private:
  void load_file();

  bool deterministic_ = false, loaded_ = false;
  PlanChoices choices_;                                                    // measured or imported
  std::map<int, std::map<std::string, std::unique_ptr<ConvPlan>>> plans_;  // by number of threads, by problem
};

// ${XDG_CACHE_HOME:-~/.cache}/libengine/plans-v1-cpu-<instruction set>-<threads>-<library version>.json; empty if there
// is no home.
std::string plan_cache_path();

}  // namespace engine::cpu
