#pragma once
// One convolution as a backend is asked for it: which implementation runs it, and what the others would take.
#include <map>
#include <string>
#include <vector>

#include "engine/cpu/conv_plan.h"
#include "engine/device.h"

namespace engine::bench {

struct ConvolutionCase {
  cpu::ConvProblem problem;  // layouts are the CPU's business and nhwc elsewhere
  bool statistics = false;   // of a batch normalisation, in the epilogue (GPU)
};

using Choices = std::map<std::string, std::string>;  // problem -> implementation

// What the device has chosen so far.
Choices chosen_implementations(Device device);
// "own" where a device has no choice to make, empty if there is a choice and it is not known.
std::string implementation_of(const ConvolutionCase& conv, Device device, const Choices& choices);

struct Candidate {
  std::string name;
  double seconds = 0;
};

// Each implementation that may run it, by itself on random operands, the filter's conversion included; fastest first.
// On the CPU these are oneDNN's, on a GPU our kernel ("own") and cuDNN's where there is one; afterwards none is forced.
// At least three runs each, and more until `seconds_each` have passed.
std::vector<Candidate> time_candidates(const ConvolutionCase& conv, Device device, double seconds_each);

}  // namespace engine::bench
