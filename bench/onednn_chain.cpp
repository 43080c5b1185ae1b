// The ceiling of the CPU backend: the training step (forward, backward from a random loss gradient, SGD) and the
// inference pass of a ResNet as a bare chain of oneDNN primitives, with the right shapes and traffic on random data.
// Nothing of the engine is used. For each convolution and direction every algorithm, implementation and layout that
// the library offers is timed once, reorders included, and the fastest runs in the chain.
//
//   onednn_chain --net resnet50 --batch 32 --precision bf16 --threads 2 --json
#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/chain_convolution.h"
#include "bench/step_timing.h"

namespace {

using namespace engine::bench::chain;

struct Act {  // an activation and its gradient, NCHW logically
  memory::dims dims;
  memory value, grad;
  bool has_grad = false;  // during a backward sweep: some consumer wrote it already
};
using ActPtr = std::shared_ptr<Act>;

struct Options {
  std::string net = "resnet18";
  int batch = 32, threads = omp_get_max_threads(), repeats = 3;
  Type type = Type::f32;
  bool json = false, layers = false, nhwc = false, serve = false;
  bool train = true, infer = true;  // which of the two will run
  double warmup_limit = 180;        // seconds
};

class Chain {
 public:
  explicit Chain(Options options) : o(std::move(options)) {}

  ActPtr activation(memory::dims dims) {
    auto a = std::make_shared<Act>();
    a->dims = dims;
    const Tag tag = dims[1] % 16 || o.nhwc ? Tag::nhwc : Tag::nChw16c;
    a->value = new_memory({dims, o.type, tag}, dims[1] == 3);
    a->grad = memory(a->value.get_desc(), cpu(), nullptr);
    return a;
  }

  ActPtr conv(const ActPtr& x, int k, int r, int stride, bool relu_when_inferring, bool residual = false) {
    const int pad = r / 2;
    const memory::dim h = (x->dims[2] + 2 * pad - r) / stride + 1, w = (x->dims[3] + 2 * pad - r) / stride + 1;
    ActPtr y = activation({x->dims[0], k, h, w});
    const ConvShape shape{x->dims, {k, x->dims[1], r, r}, y->dims, {stride, stride}, {pad, pad}};
    memory weights = parameter(shape.w, Tag::ohwi);
    memory bias = parameter({k}, Tag::x, /*learned=*/false);
    memory gradient = gradients_.back();
    const bool needs_dx = x->dims[1] != 3;
    const Plan fprop = o.train ? plan(shape, Direction::fprop) : Plan{};
    const Plan wgrad = o.train ? plan(shape, Direction::wgrad) : Plan{};
    const Plan dgrad = o.train && needs_dx ? plan(shape, Direction::dgrad) : Plan{};
    forward_.push_back([=] { execute(fprop, Direction::fprop, x->value, weights, y->value); });
    add_backward({x}, y, [=, this] {
      execute(wgrad, Direction::wgrad, x->value, gradient, y->grad);
      if (needs_dx) accumulate(x, [&](const memory& dx) { execute(dgrad, Direction::dgrad, dx, weights, y->grad); });
    });
    // Folded batch normalisation: the weights stay prepared, the residual is added where it lies (its buffer is y).
    if (!o.infer) return y;
    const Plan infer = plan(shape, Direction::infer, relu_when_inferring, residual);
    memory prepared(new_memory(infer.w, true));
    infer_.push_back([=] { execute(infer, Direction::infer, x->value, prepared, y->value, &bias); });
    return y;
  }

  ActPtr batch_norm(const ActPtr& x, bool relu) {
    ActPtr y = activation(x->dims);
    using dnnl::normalization_flags;
    auto flags = normalization_flags::use_scale_shift;
    if (relu) flags |= normalization_flags::fuse_norm_relu;
    const auto md = x->value.get_desc();
    dnnl::batch_normalization_forward::primitive_desc pd({prop_kind::forward_training, md, 1e-5f, flags},
                                                         user_scratchpad(), cpu());
    dnnl::batch_normalization_backward::primitive_desc back_pd({prop_kind::backward, md, md, 1e-5f, flags},
                                                               user_scratchpad(), cpu(), pd);
    memory scale_shift = parameter({2, x->dims[1]}, Tag::nc), gradient = gradients_.back();
    memory mean = new_memory(pd.mean_desc()), variance = new_memory(pd.variance_desc());
    memory workspace = relu ? new_memory(pd.workspace_desc()) : memory();
    note("batch_norm", pd.impl_info_str());
    Args args{{DNNL_ARG_MEAN, mean}, {DNNL_ARG_VARIANCE, variance}, {DNNL_ARG_SCALE_SHIFT, scale_shift}};
    if (relu) args[DNNL_ARG_WORKSPACE] = workspace;
    auto with = [args](std::initializer_list<std::pair<const int, memory>> more) {
      Args all(more);
      all.insert(args.begin(), args.end());
      return all;
    };
    dnnl::batch_normalization_forward forward(pd);
    dnnl::batch_normalization_backward backward(back_pd);
    forward_.push_back([=] {
      run(forward, pd.scratchpad_desc(), with({{DNNL_ARG_SRC, x->value}, {DNNL_ARG_DST, y->value}}));
    });
    add_backward({x}, y, [=, this] {
      accumulate(x, [&](const memory& dx) {
        run(backward, back_pd.scratchpad_desc(),
            with({{DNNL_ARG_SRC, x->value},
                  {DNNL_ARG_DIFF_DST, y->grad},
                  {DNNL_ARG_DIFF_SRC, dx},
                  {DNNL_ARG_DIFF_SCALE_SHIFT, gradient}}));
      });
    });
    alias_when_inferring(x, y);
    return y;
  }

  ActPtr add_relu(const ActPtr& a, const ActPtr& b) {
    ActPtr y = activation(a->dims);
    const auto md = a->value.get_desc();
    dnnl::primitive_attr attr = user_scratchpad();
    dnnl::post_ops relu;
    relu.append_eltwise(1, algorithm::eltwise_relu, 0, 0);
    attr.set_post_ops(relu);
    dnnl::binary::primitive_desc pd({algorithm::binary_add, md, md, md}, attr, cpu());
    dnnl::eltwise_forward::primitive_desc hint(
        {prop_kind::forward_training, algorithm::eltwise_relu_use_dst_for_bwd, md, 0}, cpu());
    dnnl::eltwise_backward::primitive_desc back_pd({algorithm::eltwise_relu_use_dst_for_bwd, md, md, 0}, cpu(), hint);
    dnnl::binary forward(pd);
    dnnl::eltwise_backward backward(back_pd);
    note("add_relu", pd.impl_info_str());
    forward_.push_back([=] {
      run(forward, pd.scratchpad_desc(),
          {{DNNL_ARG_SRC_0, a->value}, {DNNL_ARG_SRC_1, b->value}, {DNNL_ARG_DST, y->value}});
    });
    // Both branches share the gradient: it replaces y's in place.
    add_backward(
        {a, b}, y,
        [=] {
          backward.execute(stream(),
                           {{DNNL_ARG_DST, y->value}, {DNNL_ARG_DIFF_DST, y->grad}, {DNNL_ARG_DIFF_SRC, y->grad}});
        },
        /*share=*/true);
    alias_when_inferring(a, y);
    return y;
  }

  // Option A shortcut: every second pixel, zeros in the new channels (blocked by 16, which divides every width here).
  ActPtr subsample(const ActPtr& x, int k) {
    ActPtr y = activation({x->dims[0], k, (x->dims[2] + 1) / 2, (x->dims[3] + 1) / 2});
    auto copy = [x, y](bool backward) {
      char* big = static_cast<char*>((backward ? x->grad : x->value).get_data_handle());
      char* small = static_cast<char*>((backward ? y->grad : y->value).get_data_handle());
      const size_t item = 16 * (x->value.get_desc().data_type() == Type::bf16 ? 2 : 4);
      const memory::dim n = x->dims[0], c = x->dims[1] / 16, h = x->dims[2], w = x->dims[3], k16 = y->dims[1] / 16;
      const memory::dim first = (k16 - c) / 2, p = y->dims[2], q = y->dims[3];
#pragma omp parallel for collapse(2)
      for (memory::dim i = 0; i < n; ++i)
        for (memory::dim b = 0; b < k16; ++b)
          for (memory::dim r = 0; r < p; ++r)
            for (memory::dim s = 0; s < q; ++s) {
              char* there = small + (((i * k16 + b) * p + r) * q + s) * item;
              const bool inside = b >= first && b < first + c;
              char* here = big + (((i * c + b - first) * h + 2 * r) * w + 2 * s) * item;
              if (inside)
                backward ? std::memcpy(here, there, item) : std::memcpy(there, here, item);
              else if (!backward)
                std::memset(there, 0, item);
            }
    };
    forward_.push_back([=] { copy(false); });
    infer_.push_back([=] { copy(false); });
    add_backward({x}, y, [=, this] { accumulate(x, [&](const memory&) { copy(true); }); });
    return y;
  }

  ActPtr pool(const ActPtr& x, bool average) {
    const memory::dim r = average ? x->dims[2] : 3, s = average ? x->dims[3] : 3, pad = average ? 0 : 1;
    const memory::dims kernel{r, s}, strides{2, 2}, padding{pad, pad};
    ActPtr y =
        activation({x->dims[0], x->dims[1], (x->dims[2] + 2 * pad - r) / 2 + 1, (x->dims[3] + 2 * pad - s) / 2 + 1});
    const auto kind = average ? algorithm::pooling_avg_exclude_padding : algorithm::pooling_max;
    const auto xd = x->value.get_desc(), yd = y->value.get_desc();
    dnnl::pooling_forward::primitive_desc pd(
        {prop_kind::forward_training, kind, xd, yd, strides, kernel, padding, padding}, cpu());
    dnnl::pooling_backward::primitive_desc back_pd({kind, xd, yd, strides, kernel, padding, padding}, cpu(), pd);
    note("pool", pd.impl_info_str());
    memory workspace = average ? memory() : new_memory(pd.workspace_desc());
    dnnl::pooling_forward forward(pd);
    dnnl::pooling_backward backward(back_pd);
    auto step = [=] {
      Args args{{DNNL_ARG_SRC, x->value}, {DNNL_ARG_DST, y->value}};
      if (!average) args[DNNL_ARG_WORKSPACE] = workspace;
      forward.execute(stream(), args);
    };
    forward_.push_back(step);
    infer_.push_back(step);
    add_backward({x}, y, [=, this] {
      accumulate(x, [&](const memory& dx) {
        Args args{{DNNL_ARG_DIFF_DST, y->grad}, {DNNL_ARG_DIFF_SRC, dx}};
        if (!average) args[DNNL_ARG_WORKSPACE] = workspace;
        backward.execute(stream(), args);
      });
    });
    return y;
  }

  // The classifier is a 1x1 convolution on 1x1 images; its gradient is random instead of a loss's.
  void finish(const ActPtr& x, int classes) {
    logits_ = conv(x, classes, 1, 1, false);
    std::map<size_t, std::vector<void*>> free;
    std::map<void*, int> users;
    auto acquire = [&](const ActPtr& a) {
      const size_t bytes = a->grad.get_desc().get_size();
      auto& list = free[bytes];
      void* p = list.empty() ? allocate(bytes) : list.back();
      if (!list.empty()) list.pop_back();
      a->grad.set_data_handle(p);
      ++users[p];
    };
    logits_->grad = new_memory(logits_->grad.get_desc(), true);
    ++users[logits_->grad.get_data_handle()];
    for (size_t i = backward_.size(); i-- > 0;) {
      BackwardStep& step = backward_[i];
      for (const ActPtr& in : step.inputs) {
        if (in->grad.get_data_handle()) continue;
        if (step.share) {
          in->grad.set_data_handle(step.output->grad.get_data_handle());
          ++users[in->grad.get_data_handle()];
        } else {
          acquire(in);
        }
      }
      void* done = step.output->grad.get_data_handle();
      if (--users[done] == 0 && step.output != logits_) free[step.output->grad.get_desc().get_size()].push_back(done);
    }
  }

  void train_step() {
    for (auto& f : forward_) f();
    for (auto& a : acts_in_backward_) a->has_grad = false;
    for (size_t i = backward_.size(); i-- > 0;) {
      backward_[i].run();
      if (backward_[i].share)
        for (auto& in : backward_[i].inputs) in->has_grad = true;
    }
    for (size_t p = 0; p < masters_.size(); ++p) {
      float* w = static_cast<float*>(masters_[p].get_data_handle());
      float* g = static_cast<float*>(gradients_[p].get_data_handle());
      float* v = static_cast<float*>(momenta_[p].get_data_handle());
      const long count = static_cast<long>(masters_[p].get_desc().get_size() / 4);
#pragma omp parallel for simd
      for (long i = 0; i < count; ++i) {
        v[i] = 0.9f * v[i] + g[i] + 1e-4f * w[i];
        w[i] -= 1e-9f * v[i];  // small enough that random gradients never drive the weights to infinity
      }
    }
    stream().wait();
  }
  void infer() {
    for (auto& f : infer_) f();
    stream().wait();
  }

  std::vector<Measured> measured;
  std::map<std::string, std::string> other_impls;

 private:
  struct BackwardStep {
    std::vector<ActPtr> inputs;
    ActPtr output;
    std::function<void()> run;
    bool share = false;
  };

  void note(const std::string& op, const char* impl) {
    other_impls[op] = impl;
  }
  void add_backward(std::vector<ActPtr> in, ActPtr out, std::function<void()> f, bool share = false) {
    for (auto& a : in) acts_in_backward_.push_back(a);
    backward_.push_back({std::move(in), std::move(out), std::move(f), share});
  }
  // In inference batch normalisation is folded and the residual add is a post-op: y is its input.
  void alias_when_inferring(const ActPtr& x, const ActPtr& y) {
    infer_.push_back([=] { std::swap(x->value, y->value); });
  }

  void accumulate(const ActPtr& a, const std::function<void(const memory&)>& write) {
    if (!a->has_grad) {
      a->has_grad = true;
      return write(a->grad);
    }
    const auto md = a->grad.get_desc();
    void* temporary = operand_buffer(-1, md.get_size());
    memory original = a->grad, other(md, cpu(), temporary);
    a->grad = other;  // operations that address the gradient through the activation see the temporary too
    write(other);
    a->grad = original;
    static std::vector<std::pair<memory::desc, dnnl::binary>> cache;
    auto found = std::find_if(cache.begin(), cache.end(), [&](auto& e) { return e.first == md; });
    if (found == cache.end()) {
      cache.push_back({md, dnnl::binary({{algorithm::binary_add, md, md, md}, cpu()})});
      found = cache.end() - 1;
    }
    found->second.execute(stream(), {{DNNL_ARG_SRC_0, original}, {DNNL_ARG_SRC_1, other}, {DNNL_ARG_DST, original}});
  }

  memory parameter(const memory::dims& dims, Tag tag, bool learned = true) {
    memory m = new_memory({dims, Type::f32, tag}, true);
    if (!learned) return m;
    masters_.push_back(m);
    gradients_.push_back(new_memory(m.get_desc()));
    momenta_.push_back(new_memory(m.get_desc()));
    return m;
  }

  Plan plan(const ConvShape& s, Direction d, bool relu = false, bool residual = false);

  Options o;
  ActPtr logits_;
  std::vector<memory> masters_, gradients_, momenta_;
  std::vector<std::function<void()>> forward_, infer_;
  std::vector<BackwardStep> backward_;
  std::vector<ActPtr> acts_in_backward_;
  std::map<std::tuple<ConvShape, Direction, bool, bool>, std::pair<Plan, size_t>> plans_;  // and its index in measured
};

Plan Chain::plan(const ConvShape& s, Direction d, bool relu, bool residual) {
  auto [entry, added] = plans_.try_emplace({s, d, relu, residual});
  if (added) {
    dnnl::primitive_attr attr = user_scratchpad();
    dnnl::post_ops after;
    if (residual) after.append_sum(1);
    if (relu) after.append_eltwise(1, algorithm::eltwise_relu, 0, 0);
    attr.set_post_ops(after);
    measured.push_back({s, d, {}, 0});
    const Plan best = fastest(s, d, {.type = o.type, .nhwc = o.nhwc}, attr, measured.back());
    entry->second = {best, measured.size() - 1};
  }
  ++measured[entry->second.second].count;
  return entry->second.first;
}

void build(Chain& chain, const Options& o) {
  auto block = [&](const ActPtr& x, int width, int stride, bool bottleneck, bool option_a) {
    const int out = bottleneck ? 4 * width : width;
    const bool project = x->dims[1] != out || stride != 1;
    ActPtr shortcut = x;
    if (project)
      shortcut = option_a ? chain.subsample(x, out) : chain.batch_norm(chain.conv(x, out, 1, stride, false), false);
    ActPtr y = x;
    if (bottleneck) {
      y = chain.batch_norm(chain.conv(y, width, 1, 1, true), true);
      y = chain.batch_norm(chain.conv(y, width, 3, stride, true), true);
      y = chain.batch_norm(chain.conv(y, out, 1, 1, true, true), false);
    } else {
      y = chain.batch_norm(chain.conv(y, width, 3, stride, true), true);
      y = chain.batch_norm(chain.conv(y, width, 3, 1, true, true), false);
    }
    return chain.add_relu(y, shortcut);
  };
  const bool cifar = o.net == "resnet20", bottleneck = o.net == "resnet50", small = cifar || o.net == "resnet18_cifar";
  if (!small && !bottleneck && o.net != "resnet18")
    throw std::runtime_error("--net is '" + o.net + "': expected resnet20, resnet18_cifar, resnet18 or resnet50");
  const int side = small ? 32 : 224;
  const std::vector<int> blocks = cifar        ? std::vector{3, 3, 3}
                                  : bottleneck ? std::vector{3, 4, 6, 3}
                                               : std::vector{2, 2, 2, 2};
  int width = cifar ? 16 : 64;
  ActPtr x = chain.activation({o.batch, 3, side, side});
  x = chain.batch_norm(chain.conv(x, width, small ? 3 : 7, small ? 1 : 2, true), true);
  if (!small) x = chain.pool(x, false);
  for (size_t stage = 0; stage < blocks.size(); ++stage, width *= 2)
    for (int i = 0; i < blocks[stage]; ++i) x = block(x, width, stage > 0 && i == 0 ? 2 : 1, bottleneck, cifar);
  x = chain.pool(x, true);
  chain.finish(x, small ? 10 : 1000);
}

std::string text(const ConvShape& s) {
  char line[128];
  std::snprintf(line, sizeof line, "%ldx%ldx%ldx%ld k%ld r%ld s%ld", s.x[0], s.x[2], s.x[3], s.x[1], s.w[0], s.w[2],
                s.strides[0]);
  return line;
}

void print_layers(const Chain& chain) {
  for (const auto& m : chain.measured) {
    std::fprintf(stderr, "%d x %-30s %s", m.count, text(m.shape).c_str(), direction_name(m.direction));
    auto tried = m.tried;
    std::sort(tried.begin(), tried.end(), [](auto& a, auto& b) { return a.milliseconds < b.milliseconds; });
    for (const auto& t : tried)
      std::fprintf(stderr, " | %s %.2f ms %zu KiB", t.impl.c_str(), t.milliseconds, t.scratch >> 10);
    std::fprintf(stderr, "\n");
  }
  for (const auto& [op, impl] : chain.other_impls) std::fprintf(stderr, "%s: %s\n", op.c_str(), impl.c_str());
}

Options parse(int argc, char** argv) {
  Options o;
  bool batch_given = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    auto value = [&]() -> std::string {
      if (i + 1 == argc) throw std::runtime_error(flag + " needs a value");
      return argv[++i];
    };
    if (flag == "--net")
      o.net = value();
    else if (flag == "--batch")
      o.batch = std::stoi(value()), batch_given = true;
    else if (flag == "--threads")
      o.threads = std::stoi(value());
    else if (flag == "--repeats")
      o.repeats = std::stoi(value());
    else if (flag == "--mode") {
      const std::string mode = value();
      if (mode != "train" && mode != "inference") throw std::runtime_error("--mode is train or inference");
      o.train = mode == "train";
      o.infer = !o.train;
    } else if (flag == "--warmup-limit")
      o.warmup_limit = std::stod(value());
    else if (flag == "--serve")
      o.serve = true;
    else if (flag == "--dtype" || flag == "--precision")
      o.type = value() == "bf16" ? Type::bf16 : Type::f32;
    else if (flag == "--layout")
      o.nhwc = value() == "nhwc";
    else if (flag == "--layers")
      o.layers = true;
    else if (flag == "--json")
      o.json = true;
    else
      throw std::runtime_error("unknown flag " + flag +
                               "; expected --net NAME --batch N --threads N --repeats N --precision fp32|bf16 --mode "
                               "train|inference --layout "
                               "blocked|nhwc --layers --json --serve --warmup-limit S");
  }
  if (!batch_given && o.net == "resnet20") o.batch = 128;
  return o;
}

}  // namespace

int main(int argc, char** argv) try {
  const Options o = parse(argc, argv);
  omp_set_dynamic(0);
  omp_set_num_threads(o.threads);
  Chain chain(o);
  build(chain, o);
  if (o.layers) print_layers(chain);
  auto rate = [&](auto step) {
    step();
    double best = 1e9;
    for (int i = 0; i < o.repeats; ++i) {
      const double start = now();
      step();
      best = std::min(best, now() - start);
    }
    return o.batch / best;
  };
  const auto* v = dnnl_version();
  if (o.serve) {  // the protocol of step_bench, so that bench/compare can take turns
    const engine::bench::Step step = [&] { o.train ? chain.train_step() : chain.infer(); };
    const engine::bench::WarmUp warm = engine::bench::warm_up(step, o.warmup_limit);
    const std::string version =
        std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
    engine::bench::print_line({{"program", "onednn_chain"},
                               {"onednn", version},
                               {"threads", o.threads},
                               {"warmup_steps", warm.seconds.size()},
                               {"stable", warm.stable}});
    engine::bench::serve([&](double seconds) { return engine::bench::measure(step, o.batch, seconds); });
    return 0;
  }
  const double infer = o.infer ? rate([&] { chain.infer(); }) : 0;
  const double train = o.train ? rate([&] { chain.train_step(); }) : 0;
  const char* dtype = o.type == Type::bf16 ? "bf16" : "f32";
  if (o.json)
    std::printf(
        "{\"net\": \"%s\", \"batch\": %d, \"dtype\": \"%s\", \"threads\": %d, \"onednn\": \"%d.%d.%d\", "
        "\"train_img_per_s\": %.2f, \"infer_img_per_s\": %.2f}\n",
        o.net.c_str(), o.batch, dtype, o.threads, v->major, v->minor, v->patch, train, infer);
  else
    std::printf("%s batch %d %s, %d threads: training %.1f img/s, inference %.1f img/s\n", o.net.c_str(), o.batch,
                dtype, o.threads, train, infer);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "onednn_chain: %s\n", e.what());
  return 1;
}
