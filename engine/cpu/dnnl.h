#pragma once
// oneDNN, and everything that differs between its versions 2 and 3. Included by .cpp files of this folder only.
#include <dnnl.hpp>
#include <string>

#include "engine/dtype.h"
#include "engine/error.h"
#include "kernels/types.h"

namespace engine::cpu::onednn {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;
using Tag = memory::format_tag;
using Type = memory::data_type;

inline dnnl::engine& device() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}
inline dnnl::stream& stream() {
  static dnnl::stream s(device());
  return s;
}

inline Type type_of(DType dtype) {
  return dtype == DType::bf16 ? Type::bf16 : Type::f32;
}

inline std::string version() {
  const dnnl_version_t* v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

// True if bf16 products are an instruction of this processor. Elsewhere the library emulates or refuses them.
inline bool has_native_bf16() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto bf16 = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (isa & bf16) == bf16;
}

inline dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

inline void append_relu(dnnl::post_ops& ops) {
#if DNNL_VERSION_MAJOR >= 3
  ops.append_eltwise(algorithm::eltwise_relu, 0, 0);
#else
  ops.append_eltwise(1, algorithm::eltwise_relu, 0, 0);
#endif
}

enum class Direction { forward, inference, backward_data, backward_weights };

struct Convolution {
  Direction direction = Direction::forward;
  algorithm kind = algorithm::convolution_direct;
  memory::desc x, w, bias, y;  // bias may be empty
  memory::dims strides, padding;
};

// An implementation of a convolution that the library offers.
struct Implementation {
  std::string name;
  memory::desc x, w, y, scratch;
};

namespace detail {

// Calls visit(implementation, make primitive) for each implementation behind a descriptor until it returns false.
template <class Primitive, class Describe, class Descriptor, class Visit>
bool walk(Descriptor& pd, const Describe& describe, const Visit& visit) {
  if (!pd) return true;
  do {
    Implementation found = describe(pd);
    found.name = pd.impl_info_str();
    found.scratch = pd.scratchpad_desc();
    if (!visit(found, [&] { return dnnl::primitive(Primitive(pd)); })) return false;
  } while (pd.next_impl());
  return true;
}

}  // namespace detail

// Visits what the library offers for `conv`, best guess first; nothing if it offers nothing. `visit` returns false to
// stop; so does this function then. The descriptors outlive the walk because next_impl() reads them again.
template <class Visit>
bool visit_implementations(const Convolution& conv, const dnnl::primitive_attr& attr, const Visit& visit) {
  using Forward = dnnl::convolution_forward;
  using BackwardData = dnnl::convolution_backward_data;
  using BackwardWeights = dnnl::convolution_backward_weights;
  const auto forward_kind =
      conv.direction == Direction::inference ? prop_kind::forward_inference : prop_kind::forward_training;
  const auto describe_forward = [](const auto& pd) {
    return Implementation{{}, pd.src_desc(), pd.weights_desc(), pd.dst_desc(), {}};
  };
  const auto describe_data = [](const auto& pd) {
    return Implementation{{}, pd.diff_src_desc(), pd.weights_desc(), pd.diff_dst_desc(), {}};
  };
  const auto describe_weights = [](const auto& pd) {
    return Implementation{{}, pd.src_desc(), pd.diff_weights_desc(), pd.diff_dst_desc(), {}};
  };
  try {
#if DNNL_VERSION_MAJOR >= 3
    // A weight gradient may be f32 beside bf16 operands, a forward hint may not.
    memory::desc hint_w(conv.w.get_dims(), conv.x.get_data_type(), Tag::any);
    Forward::primitive_desc forward(
        device(), forward_kind, conv.kind, conv.x, conv.direction == Direction::backward_weights ? hint_w : conv.w,
        conv.bias, conv.y, conv.strides, conv.padding, conv.padding,
        conv.direction == Direction::forward || conv.direction == Direction::inference ? attr : dnnl::primitive_attr(),
        true);
    if (conv.direction == Direction::backward_data) {
      BackwardData::primitive_desc pd(device(), conv.kind, conv.x, conv.w, conv.y, conv.strides, conv.padding,
                                      conv.padding, forward, attr, true);
      return detail::walk<BackwardData>(pd, describe_data, visit);
    }
    if (conv.direction == Direction::backward_weights) {
      BackwardWeights::primitive_desc pd(device(), conv.kind, conv.x, conv.w, conv.y, conv.strides, conv.padding,
                                         conv.padding, forward, attr, true);
      return detail::walk<BackwardWeights>(pd, describe_weights, visit);
    }
    return detail::walk<Forward>(forward, describe_forward, visit);
#else
    memory::dims dims(conv.w.data.dims, conv.w.data.dims + conv.w.data.ndims);
    memory::desc hint_w(dims, conv.x.data_type(), Tag::any);
    const bool weights = conv.direction == Direction::backward_weights;
    const auto& w = weights ? hint_w : conv.w;
    const auto desc = conv.bias.get_size() > 0 ? Forward::desc(forward_kind, conv.kind, conv.x, w, conv.bias, conv.y,
                                                               conv.strides, conv.padding, conv.padding)
                                               : Forward::desc(forward_kind, conv.kind, conv.x, w, conv.y, conv.strides,
                                                               conv.padding, conv.padding);
    if (conv.direction == Direction::forward || conv.direction == Direction::inference) {
      Forward::primitive_desc pd(desc, attr, device(), true);
      return detail::walk<Forward>(pd, describe_forward, visit);
    }
    const Forward::primitive_desc forward(desc, device(), true);
    if (!forward) return true;
    if (weights) {
      const BackwardWeights::desc backward(conv.kind, conv.x, conv.w, conv.y, conv.strides, conv.padding, conv.padding);
      BackwardWeights::primitive_desc pd(backward, attr, device(), forward, true);
      return detail::walk<BackwardWeights>(pd, describe_weights, visit);
    }
    const BackwardData::desc backward(conv.kind, conv.x, conv.w, conv.y, conv.strides, conv.padding, conv.padding);
    BackwardData::primitive_desc pd(backward, attr, device(), forward, true);
    return detail::walk<BackwardData>(pd, describe_data, visit);
#endif
  } catch (const dnnl::error& e) {
    if (e.status == dnnl_unimplemented || e.status == dnnl_invalid_arguments) return true;  // not offered
    throw;
  }
}

inline dnnl::matmul::primitive_desc matmul_descriptor(const memory::desc& a, const memory::desc& b,
                                                      const memory::desc& bias, const memory::desc& c,
                                                      const dnnl::primitive_attr& attr) {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::matmul::primitive_desc(device(), a, b, bias, c, attr);
#else
  if (bias.get_size() == 0) return dnnl::matmul::primitive_desc({a, b, c}, attr, device());
  return dnnl::matmul::primitive_desc({a, b, bias, c}, attr, device());
#endif
}

// Runs `body`, turning the library's exceptions into ours.
template <class Body>
void guarded(const char* op, const Body& body) {
  try {
    body();
  } catch (const dnnl::error& e) {
    const bool memory = e.status == dnnl_out_of_memory;
    fail(memory ? ErrorKind::memory : ErrorKind::internal, op, ": oneDNN ", version(), " failed: ", e.message,
         memory ? "; use a smaller batch" : "");
  }
}

}  // namespace engine::cpu::onednn
