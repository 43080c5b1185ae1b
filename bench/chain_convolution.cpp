#include "bench/chain_convolution.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <new>
#include <random>
#include <stdexcept>
#include <utility>

namespace engine::bench::chain {

dnnl::engine& cpu() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}
dnnl::stream& stream() {
  static dnnl::stream s(cpu());
  return s;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void* allocate(size_t bytes) {
  constexpr size_t kHuge = size_t{2} << 20;
  bytes = (bytes + kHuge - 1) / kHuge * kHuge;
  char* raw =
      static_cast<char*>(mmap(nullptr, bytes + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (raw == MAP_FAILED) throw std::bad_alloc();
  char* aligned = reinterpret_cast<char*>((reinterpret_cast<size_t>(raw) + kHuge - 1) / kHuge * kHuge);
  madvise(aligned, bytes, MADV_HUGEPAGE);
  return aligned;
}

memory new_memory(const memory::desc& desc, bool random) {
  memory m(desc, cpu(), allocate(desc.get_size()));
  if (random) {
    std::minstd_rand generator(7);
    std::normal_distribution<float> normal;
    std::vector<float> sample(1 << 16);
    for (float& v : sample) v = normal(generator);
    auto* bytes = static_cast<char*>(m.get_data_handle());
    const size_t size = desc.data_type() == Type::bf16 ? 2 : 4, count = desc.get_size() / size;
    for (size_t i = 0; i < count; ++i)  // bf16 is the upper half of an f32
      std::memcpy(bytes + i * size, reinterpret_cast<char*>(&sample[i & 0xffff]) + (4 - size), size);
  }
  return m;
}

namespace {

struct Shared {
  size_t size = 0;
  void* data = nullptr;
  void* get(size_t bytes) {
    if (bytes > size) data = allocate(size = bytes);
    return data;
  }
};
Shared scratchpad;

}  // namespace

void* operand_buffer(int role, size_t bytes) {
  static std::map<int, Shared> buffers;
  return buffers[role].get(bytes);
}

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

void run(const dnnl::primitive& primitive, const memory::desc& scratch, Args args) {
  if (scratch.get_size() > 0) args[DNNL_ARG_SCRATCHPAD] = memory(scratch, cpu(), scratchpad.get(scratch.get_size()));
  primitive.execute(stream(), args);
}

void reorder(const memory& from, const memory& to) {
  static std::vector<std::pair<std::pair<memory::desc, memory::desc>, dnnl::reorder>> cache;
  for (auto& [key, primitive] : cache)
    if (key.first == from.get_desc() && key.second == to.get_desc())
      return primitive.execute(stream(), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
  cache.push_back({{from.get_desc(), to.get_desc()}, dnnl::reorder(from, to)});
  cache.back().second.execute(stream(), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

const char* direction_name(Direction d) {
  return std::array{"fprop", "dgrad", "wgrad", "infer"}[static_cast<size_t>(d)];
}

namespace {

int arg_x(Direction d) {
  return d == Direction::dgrad ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC;
}
int arg_w(Direction d) {
  return d == Direction::wgrad ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS;
}
int arg_y(Direction d) {
  return d == Direction::fprop || d == Direction::infer ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST;
}

dnnl_convolution_desc_t describe(algorithm kind, const ConvShape& s, Direction d, Type type, Tag x_tag, Tag y_tag) {
  const memory::desc x(s.x, type, x_tag), y(s.y, type, y_tag), bias({s.w[0]}, Type::f32, Tag::x);
  const memory::desc w(s.w, d == Direction::wgrad ? Type::f32 : type, Tag::any);
  switch (d) {
    case Direction::fprop:
      return dnnl::convolution_forward::desc(prop_kind::forward_training, kind, x, w, y, s.strides, s.pad, s.pad).data;
    case Direction::infer:
      return dnnl::convolution_forward::desc(prop_kind::forward_inference, kind, x, w, bias, y, s.strides, s.pad, s.pad)
          .data;
    case Direction::dgrad:
      return dnnl::convolution_backward_data::desc(kind, x, w, y, s.strides, s.pad, s.pad).data;
    default:
      return dnnl::convolution_backward_weights::desc(kind, x, w, y, s.strides, s.pad, s.pad).data;
  }
}

}  // namespace

void execute(const Plan& plan, Direction d, const memory& x, const memory& w, const memory& y, const memory* bias) {
  Args args;
  std::vector<std::pair<memory, memory>> after;
  auto bind = [&](int arg, const memory& actual, const memory::desc& wanted, bool output) {
    if (actual.get_desc() == wanted) {
      args[arg] = actual;
      return;
    }
    memory temporary(wanted, cpu(), operand_buffer(arg, wanted.get_size()));
    if (output)
      after.push_back({temporary, actual});
    else
      reorder(actual, temporary);
    args[arg] = temporary;
  };
  bind(arg_x(d), x, plan.x, d == Direction::dgrad);
  bind(arg_w(d), w, plan.w, d == Direction::wgrad);
  bind(arg_y(d), y, plan.y, d == Direction::fprop || d == Direction::infer);
  if (bias) args[DNNL_ARG_BIAS] = *bias;
  run(plan.primitive, plan.scratch, std::move(args));
  for (auto& [from, to] : after) reorder(from, to);
}

Plan fastest(const ConvShape& s, Direction d, const Operands& o, const dnnl::primitive_attr& attr, Measured& log) {
  auto layouts = [&](const memory::dims& dims) {
    if (dims[1] % 16 == 0) return std::vector{Tag::nChw16c, Tag::nhwc};
    return dims[1] == 3 ? std::vector{Tag::nchw, Tag::nhwc} : std::vector{Tag::nhwc};
  };
  auto operand = [](const memory::desc& md, int role) {
    return memory(md, cpu(), operand_buffer(100 + role, md.get_size()));
  };
  auto held = [&](const memory::dims& dims) { return dims[1] % 16 || o.nhwc ? Tag::nhwc : Tag::nChw16c; };
  const memory x = operand({s.x, o.type, held(s.x)}, 0), y = operand({s.y, o.type, held(s.y)}, 1);
  const memory w = operand({s.w, Type::f32, Tag::ohwi}, 2), bias = operand({{s.w[0]}, Type::f32, Tag::x}, 3);
  Plan best;
  for (algorithm kind : {algorithm::convolution_direct, algorithm::convolution_winograd})
    for (Tag x_tag : layouts(s.x))
      for (Tag y_tag : layouts(s.y)) {
        if ((x_tag == Tag::nhwc) != (y_tag == Tag::nhwc) && s.y[1] % 16 == 0) continue;
        // next_impl() reads the descriptor and the hint again: both outlive the iteration. A gradient's hint is the
        // forward primitive.
        dnnl_convolution_desc_t desc, forward_desc;
        dnnl::primitive_desc hint, pd;
        try {
          desc = describe(kind, s, d, o.type, x_tag, y_tag);
          forward_desc = describe(kind, s, Direction::fprop, o.type, x_tag, y_tag);
          hint = dnnl::primitive_desc(&forward_desc, nullptr, cpu(), nullptr, true);
          pd = dnnl::primitive_desc(&desc, &attr, cpu(), hint.get(true), true);
        } catch (const dnnl::error&) {
          continue;  // not offered for this shape
        }
        if (!pd.get(true)) continue;
        do {
          const std::string impl = pd.impl_info_str();
          if (impl.find("ref") != std::string::npos) break;  // hundreds of times slower: not worth a run
          using dnnl::query;
          const bool forward = d == Direction::fprop || d == Direction::infer;
          Plan candidate{dnnl::primitive(pd),
                         pd.query_md(d == Direction::dgrad ? query::diff_src_md : query::src_md),
                         pd.query_md(d == Direction::wgrad ? query::diff_weights_md : query::weights_md),
                         pd.query_md(forward ? query::dst_md : query::diff_dst_md),
                         pd.scratchpad_desc(),
                         impl + (y_tag == Tag::nhwc ? "/nhwc" : "/blocked")};
          const memory weights = d == Direction::infer ? operand(candidate.w, 4) : w;
          auto once = [&] {
            const double start = now();
            execute(candidate, d, x, weights, y, d == Direction::infer ? &bias : nullptr);
            stream().wait();
            return now() - start;
          };
          // A warm-up; then the minimum of a few runs, because other processes only ever add time. What is far slower
          // than the best so far gets one run.
          once();
          double spent = candidate.seconds = once();
          for (int i = 0; i < 6 && spent < 0.15 && candidate.seconds < 3 * best.seconds; ++i) {
            const double seconds = once();
            spent += seconds;
            candidate.seconds = std::min(candidate.seconds, seconds);
          }
          log.tried.push_back({candidate.impl, candidate.seconds * 1e3, candidate.scratch.get_size()});
          if (candidate.seconds < best.seconds) best = candidate;
        } while (pd.next_impl());
      }
  if (!best.primitive.get(true)) throw std::runtime_error("no implementation of a convolution");
  return best;
}

}  // namespace engine::bench::chain
