#pragma once
// One implementation of one convolution problem, with the reorders that its operands need. See conv_plan.h.
#include <functional>
#include <memory>
#include <string>

#include "engine/cpu/conv_plan.h"

namespace engine::cpu {

class ConvCandidate : public ConvPlan {
 public:
  // Seconds of processor time of one execution without the filter's conversion.
  virtual double time(const ConvOperands& operands) const = 0;
};

// Visits the implementations of a problem in the order of preference until `visit` returns false. `make` builds the
// candidate, which costs some milliseconds of code generation.
void visit_candidates(const ConvProblem& problem,
                      const std::function<bool(const std::string& name,
                                               const std::function<std::unique_ptr<ConvCandidate>()>& make)>& visit);

}  // namespace engine::cpu
