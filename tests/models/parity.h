#pragma once
// Comparison of whole nets with what PyTorch computed for them (tests/golden, written by write_goldens.py).
//
// The rule, for every net, quantity and precision. A golden holds a float64 value and the error of PyTorch's own
// float32 (or bfloat16) against it. With e the error of PyTorch for the tensor at hand and rho PyTorch's largest
// relative error in the group of tensors (all gradients, say),
//
//   |ours - exact| <= kMargin * (e + rho * |exact|) + 2 * eps * |exact|
//
// for the 2-norm and for the largest element alike; eps is the unit roundoff of f32. Two correct implementations add in
// different orders, so they differ by a small multiple of their errors: that is kMargin. In resnet18 and resnet50 some
// ReLUs of millions stand so close to 0 that rounding decides their side, others in each implementation, and one of
// them can move the gradients of the layers before it by a percent: that is rho. Of sixty tests kMargin = 1 fails two
// with AVX-512 and three with AVX2 kernels, kMargin = 2 none and two. No test has a tolerance of its own.
//
// A whole tensor is compared through its dot products with eight vectors of random signs: the mean square of the
// differences of these is an unbiased estimate of the squared 2-norm of the tensor's difference, whatever its size.
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/nn/module.h"
#include "engine/tensor.h"

namespace parity {

inline constexpr double kMargin = 4;

// The numbers that both sides compute: 64 random bits for element `index` of `name`, and a multiple of 2^-23 in [-1,1).
class Numbers {
 public:
  explicit Numbers(const std::string& name);
  uint64_t bits(uint64_t index) const;
  double uniform(uint64_t index) const { return static_cast<double>(bits(index) >> 40) * 0x1p-23 - 1; }

 private:
  uint64_t state_;
};
uint64_t fnv1a(const std::string& text);

// Elements in PyTorch's order of axes (filters OIHW).
std::vector<double> values_of(const engine::Tensor& x);

struct Digest {
  double norm = 0, norm_error = 0, peak = 0, peak_error = 0;
  std::vector<double> sketches, samples;
};

struct Golden {
  int64_t image_size = 0, batch = 0;
  float lr = 0, momentum = 0, weight_decay = 0, label_smoothing = 0;
  bool nesterov = false;
  std::vector<double> losses, loss_errors;
  Digest eval_logits, logits;
  std::map<std::string, Digest> gradients, statistics;
};
Golden read_golden(const std::string& name);

struct Member {
  int64_t parameters = 0, entries = 0;
  std::string fnv1a;  // of the lines "name [shape]\n" of the state
};
std::map<std::string, Member> read_family();

// PyTorch's largest relative error in a group of tensors, without those that are zero but for rounding (the bias in
// front of a batch norm).
double largest_relative_error(const std::map<std::string, Digest>& group);

// An empty text if `values` are within the rule's bound of `exact`, otherwise what differs by how much.
std::string difference(const std::string& name, std::span<const double> values, const Digest& exact, double rho);

// Overwrites parameters and buffers with the values that both sides compute.
void set_values(engine::Module& module);
// Images [N,size,size,3] f32 and labels [N] of batch 0 or 1.
engine::Tensor images(int64_t number, int64_t batch, int64_t size);
engine::Tensor labels(int64_t number, int64_t batch);

// One thread and the fixed rule for choosing algorithms while it lives: the same bits every time, and no threads that
// wait for each other while other tests run on the same cores (ten times slower).
class Reproducible {
 public:
  Reproducible();
  ~Reproducible();
  Reproducible(const Reproducible&) = delete;
  Reproducible& operator=(const Reproducible&) = delete;

 private:
  int threads_;
};

}  // namespace parity
