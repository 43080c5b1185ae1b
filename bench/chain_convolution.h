#pragma once
// One convolution as a bare oneDNN primitive: operands of any layout, and the fastest implementation by measuring.
#include <compare>
#include <string>
#include <unordered_map>
#include <vector>

#include <dnnl.hpp>

namespace engine::bench::chain {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;
using Tag = memory::format_tag;
using Type = memory::data_type;
using Args = std::unordered_map<int, memory>;

dnnl::engine& cpu();
dnnl::stream& stream();
double now();  // seconds

// Huge pages, because page faults of 4 KiB otherwise cost more than the elementwise primitives.
void* allocate(size_t bytes);
memory new_memory(const memory::desc& desc, bool random = false);

// A buffer for the reordered operands of kind `role`, shared by all primitives: they run one after another.
void* operand_buffer(int role, size_t bytes);

dnnl::primitive_attr user_scratchpad();
void run(const dnnl::primitive& primitive, const memory::desc& scratch, Args args);
void reorder(const memory& from, const memory& to);

struct ConvShape {
  memory::dims x, w, y, strides, pad;
  auto operator<=>(const ConvShape&) const = default;
};

enum class Direction { fprop, dgrad, wgrad, infer };
const char* direction_name(Direction d);

struct Plan {
  dnnl::primitive primitive;
  memory::desc x, w, y, scratch;
  std::string impl;
  double seconds = 1e9;
};

// Runs a plan on operands of any layout: what differs is reordered before or after, inside the timed region.
void execute(const Plan& plan, Direction d, const memory& x, const memory& w, const memory& y,
             const memory* bias = nullptr);

struct Attempt {
  std::string impl;
  double milliseconds;
  size_t scratch;
};
// A problem and every implementation that was tried for it.
struct Measured {
  ConvShape shape;
  Direction direction;
  std::vector<Attempt> tried;
  int count = 0;  // convolutions of the net with this problem
};

struct Operands {
  Type type = Type::f32;
  bool nhwc = false;  // else activations are blocked by 16 wherever their channels allow it
};
// Tries every algorithm, implementation and layout that the library offers. Throws std::runtime_error if it has none.
Plan fastest(const ConvShape& s, Direction d, const Operands& o, const dnnl::primitive_attr& attr, Measured& log);

}  // namespace engine::bench::chain
