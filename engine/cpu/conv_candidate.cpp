#include "engine/cpu/conv_candidate.h"

#include <time.h>

#include <cstring>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/cpu/allocator.h"
#include "engine/cpu/dnnl.h"
#include "engine/cpu/threads.h"

namespace engine::cpu {
namespace {

using onednn::algorithm;
using onednn::append_relu;
using onednn::Convolution;
using onednn::device;
using onednn::Direction;
using onednn::Implementation;
using onednn::memory;
using onednn::stream;
using onednn::Tag;
using onednn::Type;
using onednn::type_of;
using onednn::user_scratchpad;
using onednn::visit_implementations;

struct NamedTag {
  Tag tag;
  const char* name;
};

// Formats worth trying for an activation of `c` channels: the one that it has first.
std::vector<NamedTag> formats(int64_t c, int64_t channels_per_group, Layout layout) {
  const NamedTag blocked = {Tag::nChw16c, "nChw16c"}, nhwc = {Tag::nhwc, "nhwc"};
  if (c < 16) return {nhwc, {Tag::nchw, "nchw"}};  // an image: the first convolution's kernels want it planar
  if (c % 16 != 0) return {nhwc};
  std::vector<NamedTag> list = layout == Layout::blocked16 ? std::vector{blocked, nhwc} : std::vector{nhwc, blocked};
  if (channels_per_group == 8) list.push_back({Tag::nChw8c, "nChw8c"});  // grouped kernels block by the group
  if (channels_per_group == 4) list.push_back({Tag::nChw4c, "nChw4c"});
  return list;
}

memory::desc activation(int64_t n, int64_t c, int64_t h, int64_t w, Type type, Tag tag) {
  return {{n, c, h, w}, type, tag};
}

Tag tag_of(Layout layout) {
  return layout == Layout::blocked16 ? Tag::nChw16c : Tag::nhwc;
}

// Filters as users hold them, [K,R,S,C/groups], in the library's order of dimensions.
memory::dims filter_dims(const Conv2dShape& s) {
  if (s.groups == 1) return {s.k, s.c, s.r, s.s};
  return {s.groups, s.k / s.groups, s.c / s.groups, s.r, s.s};
}
memory::desc plain_filter(const Conv2dShape& s) {
  const int64_t c = s.c / s.groups, k = s.k / s.groups, row = s.s * c, filter = s.r * row;
  if (s.groups == 1) return {filter_dims(s), Type::f32, memory::dims{filter, 1, row, c}};
  return {filter_dims(s), Type::f32, memory::dims{k * filter, filter, 1, row, c}};
}

Direction direction_of(ConvDirection direction) {
  return static_cast<Direction>(direction);
}
static_assert(static_cast<int>(ConvDirection::backward_weights) == static_cast<int>(Direction::backward_weights));

bool is_forward(ConvDirection d) {
  return d == ConvDirection::forward || d == ConvDirection::inference;
}

// A reorder that is made once. Empty if both sides are the same.
class Reorder {
 public:
  Reorder(const memory::desc& from, const memory::desc& to) : from_(from), to_(to) {
    if (from == to) return;
    // Winograd's filters take several times their size of scratch, once; the library would keep it for good.
    const dnnl::reorder::primitive_desc pd(device(), from, device(), to, user_scratchpad());
    scratch_ = pd.scratchpad_desc();
    primitive_ = dnnl::reorder(pd);
  }
  bool needed() const { return primitive_.has_value(); }
  size_t from_bytes() const { return from_.get_size(); }
  size_t to_bytes() const { return to_.get_size(); }
  void run(const void* from, void* to) const {
    const Buffer scratch(scratch_.get_size());
    std::unordered_map<int, memory> args = {{DNNL_ARG_FROM, memory(from_, device(), const_cast<void*>(from))},
                                            {DNNL_ARG_TO, memory(to_, device(), to)}};
    if (scratch.bytes() > 0) args.emplace(DNNL_ARG_SCRATCHPAD, memory(scratch_, device(), scratch.as()));
    primitive_->execute(stream(), args);
    stream().wait();
  }

 private:
  memory::desc from_, to_, scratch_;
  std::optional<dnnl::reorder> primitive_;
};

// Processor time of this thread. It has the first and largest share of every loop and spins while it waits for the
// others, so that on an idle machine this is the time on the wall; on a busy one it leaves out what other processes
// took.
double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

enum class Addition { none, sum, binary };  // how the residual enters

class Candidate final : public ConvCandidate {
 public:
  Candidate(const ConvProblem& problem, std::string name, Implementation found, dnnl::primitive primitive,
            Addition addition)
      : problem_(problem),
        name_(std::move(name)),
        found_(std::move(found)),
        primitive_(std::move(primitive)),
        addition_(addition),
        actual_x_(activation(shape().n, shape().c, shape().h, shape().w, type_of(problem.dtype), tag_of(problem.x))),
        actual_y_(
            activation(shape().n, shape().k, shape().p(), shape().q(), type_of(problem.dtype), tag_of(problem.y))),
        x_(input_x() ? Reorder(actual_x_, found_.x) : Reorder(found_.x, actual_x_)),
        y_(is_forward(problem.direction) ? Reorder(found_.y, actual_y_) : Reorder(actual_y_, found_.y)) {
    const memory::desc plain = plain_filter(shape());
    if (problem.direction == ConvDirection::backward_weights)
      w_.emplace_back(found_.w, plain);
    else
      prepare_filter(plain);
    if (addition_ == Addition::sum && y_.needed()) residual_.emplace(actual_y_, found_.y);
  }

  const std::string& name() const override { return name_; }
  size_t prepared_bytes() const override { return found_.w.get_size(); }

  void prepare(const float* w, void* prepared) const override {
    if (w_.empty()) {
      std::memcpy(prepared, w, found_.w.get_size());
    } else if (w_.size() == 1) {
      w_[0].run(w, prepared);
    } else {
      const Buffer between(w_[0].to_bytes());
      w_[0].run(w, between.as());
      w_[1].run(between.as(), prepared);
    }
  }

  void run(const ConvOperands& o) const override {
    if (problem_.direction == ConvDirection::backward_weights) {
      const bool direct = !w_[0].needed();
      const Buffer own(direct ? 0 : found_.w.get_size());
      execute(o, direct ? o.dw : own.as());
      if (!direct) w_[0].run(own.as(), o.dw);
    } else if (o.prepared) {
      execute(o, const_cast<void*>(o.prepared));
    } else if (w_.empty()) {
      execute(o, const_cast<float*>(o.w));
    } else {
      const Buffer prepared(found_.w.get_size());
      prepare(o.w, prepared.as());
      execute(o, prepared.as());
    }
  }

  double time(const ConvOperands& o) const override {
    const Buffer filter(found_.w.get_size());
    if (problem_.direction != ConvDirection::backward_weights && o.w) prepare(o.w, filter.as());
    const double start = thread_seconds();
    execute(o, filter.as());
    return thread_seconds() - start;
  }

 private:
  const Conv2dShape& shape() const { return problem_.shape; }
  bool input_x() const { return problem_.direction != ConvDirection::backward_data; }

  // Some formats (Winograd's transformed filters in inference) can only be made from the library's own order.
  void prepare_filter(const memory::desc& plain) {
    if (plain == found_.w) return;
    try {
      w_.emplace_back(plain, found_.w);
    } catch (const dnnl::error&) {
      const memory::desc between(filter_dims(shape()), Type::f32, shape().groups == 1 ? Tag::oihw : Tag::goihw);
      w_.emplace_back(plain, between);
      w_.emplace_back(between, found_.w);
    }
  }

  void execute(const ConvOperands& o, void* filter) const {
    const bool forward = is_forward(problem_.direction);
    const Buffer own_x(x_.needed() ? found_.x.get_size() : 0), own_y(y_.needed() ? found_.y.get_size() : 0);
    const Buffer scratch(found_.scratch.get_size());
    void* const x = x_.needed() ? own_x.as() : o.x;
    void* const y = y_.needed() ? own_y.as() : o.y;
    if (x_.needed() && input_x()) x_.run(o.x, x);
    if (y_.needed() && !forward) y_.run(o.y, y);
    if (addition_ == Addition::sum) {
      if (residual_)
        residual_->run(o.residual, y);
      else if (o.residual != y)
        copy(o.residual, y, found_.y.get_size());
    }
    std::unordered_map<int, memory> args;
    const auto bind = [&](int arg, const memory::desc& desc, const void* data) {
      args.emplace(arg, memory(desc, device(), const_cast<void*>(data)));
    };
    bind(input_x() ? DNNL_ARG_SRC : DNNL_ARG_DIFF_SRC, found_.x, x);
    bind(problem_.direction == ConvDirection::backward_weights ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, found_.w,
         filter);
    bind(forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, found_.y, y);
    if (problem_.bias) bind(DNNL_ARG_BIAS, {{shape().k}, Type::f32, Tag::x}, o.bias);
    if (addition_ == Addition::binary) bind(DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, found_.y, o.residual);
    if (scratch.bytes() > 0) bind(DNNL_ARG_SCRATCHPAD, found_.scratch, scratch.as());
    primitive_.execute(stream(), args);
    if (x_.needed() && !input_x()) x_.run(x, o.x);
    if (y_.needed() && forward) y_.run(y, o.y);
    stream().wait();
  }

  static void copy(const void* from, void* to, size_t bytes) {
    const auto* source = static_cast<const char*>(from);
    auto* target = static_cast<char*>(to);
    parallel_for(
        static_cast<int64_t>(bytes),
        [&](int64_t begin, int64_t end) {
          std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
        },
        static_cast<int64_t>(bytes) > kSerialBytes);
  }

  const ConvProblem problem_;
  const std::string name_;
  const Implementation found_;
  const dnnl::primitive primitive_;
  const Addition addition_;
  const memory::desc actual_x_, actual_y_;
  const Reorder x_, y_;
  std::vector<Reorder> w_;  // of the filter, one after the other; none if it is used as it is
  std::optional<Reorder> residual_;
};

}  // namespace

void visit_candidates(const ConvProblem& problem,
                      const std::function<bool(const std::string& name,
                                               const std::function<std::unique_ptr<ConvCandidate>()>& make)>& visit) {
  use_threads();
  const Conv2dShape& s = problem.shape;
  const Type type = type_of(problem.dtype);
  const auto x_formats = formats(s.c, s.groups > 1 ? s.c / s.groups : 0, problem.x);
  const auto y_formats = formats(s.k, s.groups > 1 ? s.k / s.groups : 0, problem.y);
  Convolution conv{.direction = direction_of(problem.direction)};
  conv.strides = {s.stride, s.stride};
  conv.padding = {s.padding, s.padding};
  conv.w = {filter_dims(s), problem.direction == ConvDirection::backward_weights ? Type::f32 : type, Tag::any};
  if (problem.bias) conv.bias = {{s.k}, Type::f32, Tag::x};
  const memory::desc actual_y = activation(s.n, s.k, s.p(), s.q(), type, tag_of(problem.y));
  for (const algorithm kind : {algorithm::convolution_direct, algorithm::convolution_winograd})
    for (const NamedTag& xf : x_formats)
      for (const NamedTag& yf : y_formats) {
        // Mixed formats are for operands that cannot have the same one.
        if (xf.tag != yf.tag && s.c >= 16 && x_formats.size() > 1 && y_formats.size() > 1) continue;
        if (s.c < 16 && (xf.tag == Tag::nhwc) != (yf.tag == Tag::nhwc) && y_formats.size() > 1) continue;
        conv.kind = kind;
        conv.x = activation(s.n, s.c, s.h, s.w, type, xf.tag);
        conv.y = activation(s.n, s.k, s.p(), s.q(), type, yf.tag);
        for (const Addition addition : {Addition::none, Addition::sum, Addition::binary}) {
          if ((addition != Addition::none) != (problem.residual != Residual::none)) continue;
          // The other operand of a binary post-op has the result's format, and must not be the result.
          if (addition == Addition::binary && (problem.residual == Residual::in_place || conv.y != actual_y)) continue;
          dnnl::primitive_attr attr = user_scratchpad();
          dnnl::post_ops after;
          if (addition == Addition::sum) after.append_sum(1);
          if (addition == Addition::binary) after.append_binary(algorithm::binary_add, conv.y);
          if (problem.relu) append_relu(after);
          attr.set_post_ops(after);
          const bool go_on = visit_implementations(conv, attr, [&](const Implementation& found, const auto& make) {
            std::string name = found.name + "/" + xf.name + ">" + yf.name;
            if (addition == Addition::binary) name += "+binary";
            return visit(name, [&]() -> std::unique_ptr<ConvCandidate> {
              return std::make_unique<Candidate>(problem, name, found, make(), addition);
            });
          });
          if (!go_on) return;
        }
      }
}

}  // namespace engine::cpu
