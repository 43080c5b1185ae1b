#include "bench/roofline.h"

#include <array>

namespace engine::bench {
namespace {

using Shortcut = models::BlockSpec::Shortcut;

constexpr double kF32 = 4, kMaskBytes = 1.0 / 8, kArgmaxBytes = 1, kIndexBytes = 8;

// The kernels of one training step. Names of locals: y is a convolution's result, dz the gradient in front of a ReLU
// (behind the batch norm), dx that of the batch norm's input.
class TrainingStep {
 public:
  TrainingStep(const RooflineNet& net, Regime regime, DType dtype)
      : net_(net),
        size_(static_cast<double>(size_of(dtype))),
        eager_(regime == Regime::unfused),
        epilogues_(regime >= Regime::epilogues),
        prologues_(regime >= Regime::prologues),
        gradient_prologues_(regime >= Regime::gradient_prologues) {}

  std::vector<RooflineKernel> run() {
    forward();
    backward_ = true;
    backward();
    return std::move(kernels_);
  }

 private:
  void add(std::string name, double flops, double read, double written) {
    kernels_.push_back({std::move(name), backward_, {flops, read, written}});
  }
  double bytes(double elements) const { return elements * size_; }
  double y(const RooflineConv& c) const { return bytes(c.y); }
  double mask(const RooflineConv& c) const { return c.y * kMaskBytes; }

  // --- forward ---

  void conv(const RooflineConv& c) {
    add(c.name + " fprop", c.flops(), bytes(c.used_x + c.w), y(c));
    if (c.bias && !epilogues_) add(c.name + " bias", 0, y(c), y(c));
  }

  void norm(const RooflineConv& c, bool relu) {
    if (epilogues_) {  // the statistics are there; without a ReLU a later pass normalises
      if (relu && !prologues_) add(c.name + " normalize+relu", 0, y(c), y(c));
      return;
    }
    add(c.name + " statistics", 0, y(c), 0);
    add(c.name + " normalize", 0, y(c), y(c) + (relu && !eager_ ? mask(c) : 0));
    if (relu && eager_) add(c.name + " relu", 0, y(c), y(c));
  }

  void stem() {
    const RooflineConv& c = net_.stem;
    add("images", 0, net_.pixels * 3, bytes(c.x));
    if (!epilogues_ && size_ < kF32) add("round weights", 0, net_.parameters * kF32, bytes(net_.parameters));
    conv(c);
    if (net_.pooled == 0) {  // the first shortcut needs the activation, so that no prologue can spare it
      if (epilogues_)
        add(c.name + " normalize+relu", 0, y(c), y(c));
      else
        norm(c, true);
    } else if (epilogues_) {
      add("normalize+relu+max_pool", 0, y(c), bytes(net_.pooled) + net_.pooled * kArgmaxBytes);
    } else {
      norm(c, true);
      add("max_pool", 0, y(c), bytes(net_.pooled) + net_.pooled * kIndexBytes);
    }
  }

  // What a pass that adds the shortcut reads of it in the forward direction.
  double shortcut_read(const RooflineBlock& b) const {
    const RooflineConv& last = b.convs.back();
    switch (b.shortcut) {
      case Shortcut::none:
        return 0;
      case Shortcut::subsample:
        return epilogues_ ? bytes(subsampled(b)) : y(last);
      case Shortcut::identity:
      case Shortcut::projection:
        return y(last);
    }
    return 0;
  }
  static double subsampled(const RooflineBlock& b) {
    const kernels::Conv2dShape &first = b.convs.front().shape, &last = b.convs.back().shape;
    return static_cast<double>(last.n * last.p() * last.q() * first.c);
  }

  void join(const RooflineBlock& b) {
    const RooflineConv& last = b.convs.back();
    if (epilogues_) return add(b.name + " join", 0, y(last) + shortcut_read(b), y(last) + mask(last));
    if (b.shortcut == Shortcut::subsample) add(b.name + " subsample", 0, bytes(subsampled(b)), y(last));
    if (eager_) {
      norm(last, false);
      if (b.projection) norm(*b.projection, false);
      if (b.shortcut != Shortcut::none) add(b.name + " add", 0, 2 * y(last), y(last));
      add(b.name + " relu", 0, y(last), y(last));
    } else {
      if (b.projection) norm(*b.projection, false);
      add(last.name + " statistics", 0, y(last), 0);
      add(last.name + " normalize+add+relu", 0, y(last) + shortcut_read(b), y(last) + mask(last));
    }
  }

  void forward() {
    stem();
    for (const RooflineBlock& b : net_.blocks) {
      for (size_t i = 0; i < b.convs.size(); ++i) {
        conv(b.convs[i]);
        if (i + 1 < b.convs.size()) norm(b.convs[i], true);
      }
      if (b.projection) conv(*b.projection);
      join(b);
    }
    const double features = net_.batch * net_.features, logits = net_.batch * net_.classes;
    add("avg_pool", 0, y(net_.blocks.back().convs.back()), features * kF32);
    add("fc fprop", product(), bytes(features + matrix()), logits * kF32);
    add("softmax_cross_entropy", 0, logits * kF32, logits * kF32);
  }
  double matrix() const { return net_.features * net_.classes; }
  double product() const { return 2 * net_.batch * matrix(); }

  // --- backward ---

  void wgrad(const RooflineConv& c, double gradient_read) {
    add(c.name + " wgrad", c.flops(), gradient_read + bytes(c.used_x), c.w * (epilogues_ ? kF32 : size_));
  }
  void dgrad(const RooflineConv& c, double gradient_read, double epilogue_read, double written) {
    add(c.name + " dgrad", c.flops(), gradient_read + bytes(c.w) + epilogue_read, written);
  }

  // Where nothing is fused into dgrad: from the gradient behind `c`'s batch norm (and ReLU) to that of c's result.
  void norm_backward(const RooflineConv& c, bool relu, bool fork) {
    if (eager_ && relu) add(c.name + " relu backward", 0, 2 * y(c), y(c));
    const bool masked = relu && !eager_;
    const double read = 2 * y(c) + (masked ? mask(c) : 0);
    add(c.name + " sums", 0, read, 0);
    add(c.name + " norm backward", 0, read, y(c) + (fork && masked ? y(c) : 0));
    if (c.bias) add(c.name + " dbias", 0, y(c), 0);
  }

  void block_backward_in_passes(const RooflineBlock& b) {
    norm_backward(b.convs.back(), true, b.shortcut != Shortcut::none);
    for (size_t i = b.convs.size(); i-- > 0;) {
      const RooflineConv& c = b.convs[i];
      wgrad(c, y(c));
      dgrad(c, y(c), 0, bytes(c.x));
      if (i > 0) norm_backward(b.convs[i - 1], true, false);
    }
    const double sum = bytes(b.convs.front().x);
    if (b.projection) {
      norm_backward(*b.projection, false, false);
      wgrad(*b.projection, y(*b.projection));
      dgrad(*b.projection, y(*b.projection), 0, sum);
    }
    if (b.shortcut == Shortcut::subsample) add(b.name + " subsample backward", 0, bytes(subsampled(b)), sum);
    if (b.shortcut != Shortcut::none) add(b.name + " add backward", 0, 2 * sum, sum);
  }

  // With a gradient in front of c's ReLU: what dgrad reads, and writes beside its result; wgrad reads dx.
  struct Gradient {
    double read, side;
  };
  Gradient gradient_of(const RooflineConv& c) {
    if (gradient_prologues_) return {2 * y(c), y(c)};
    add(c.name + " norm backward", 0, 2 * y(c), y(c));
    return {y(c), 0};
  }

  void block_backward_in_epilogues(size_t index) {
    const RooflineBlock& b = net_.blocks[index];
    const RooflineConv& last = b.convs.back();
    double other = 0;  // the gradient of the block's input along the shortcut
    if (b.shortcut == Shortcut::identity) other = y(last);
    if (b.shortcut == Shortcut::subsample) other = bytes(subsampled(b));
    if (b.projection) {
      const RooflineConv& c = *b.projection;
      const Gradient dx = gradient_of(c);
      other = bytes(c.used_x);  // compact: added where the stride took its pixels
      dgrad(c, dx.read, 0, other + dx.side);
      wgrad(c, y(c));
    }
    for (size_t i = b.convs.size(); i-- > 0;) {
      const RooflineConv& c = b.convs[i];
      const Gradient dx = gradient_of(c);
      // The mask and the normalised value of what stands before come from its convolution's result.
      double epilogue = 0, written = 0;
      if (i > 0) {
        epilogue = written = y(b.convs[i - 1]);
      } else if (index > 0) {
        const RooflineBlock& before = net_.blocks[index - 1];
        const RooflineConv& end = before.convs.back();
        epilogue = other + mask(end) + y(end) + (before.projection ? y(*before.projection) : 0);
        written = y(end);
      } else {
        written = net_.pooled > 0 ? bytes(net_.pooled) : y(net_.stem);
        epilogue = other + written;
      }
      dgrad(c, dx.read, epilogue, written + dx.side);
      wgrad(c, y(c));
    }
  }

  void stem_backward() {
    const RooflineConv& c = net_.stem;
    if (!epilogues_) {
      if (net_.pooled > 0) add("max_pool backward", 0, bytes(net_.pooled) + net_.pooled * kIndexBytes, y(c));
      norm_backward(c, true, false);
      return wgrad(c, y(c));
    }
    const double read = net_.pooled > 0 ? bytes(net_.pooled) + net_.pooled * kArgmaxBytes + y(c) : 2 * y(c);
    if (gradient_prologues_) return wgrad(c, read);
    add("stem norm backward", 0, read, y(c));
    wgrad(c, y(c));
  }

  void backward() {
    const double features = net_.batch * net_.features, logits = net_.batch * net_.classes;
    add("fc dgrad", product(), bytes(logits + matrix()), features * kF32);
    add("fc wgrad", product(), bytes(logits + features), matrix() * kF32);
    const RooflineBlock& last = net_.blocks.back();
    const RooflineConv& end = last.convs.back();
    if (epilogues_) {
      const double results = y(end) + (last.projection ? y(*last.projection) : 0);
      add("avg_pool backward+relu+sums", 0, features * kF32 + mask(end) + results, y(end));
    } else {
      add("avg_pool backward", 0, features * kF32, y(end));
    }
    for (size_t i = net_.blocks.size(); i-- > 0;) {
      if (epilogues_)
        block_backward_in_epilogues(i);
      else
        block_backward_in_passes(net_.blocks[i]);
    }
    stem_backward();
    optimiser();
  }

  void optimiser() {
    // Parameter and momentum, each read and written, and the gradient. A half precision gradient is widened first, and
    // a rounded weight is written either there (epilogues) or at the start of the step. In single passes, three more.
    const bool half = size_ < kF32;
    double read = 3 * kF32, written = 2 * kF32;
    if (half && epilogues_) written += size_;
    if (half && !epilogues_) read += size_;
    if (half && !epilogues_) written += kF32;
    if (eager_) read += 2 * kF32, written += 2 * kF32;
    add("optimiser", 0, net_.parameters * read, net_.parameters * written);
  }

  const RooflineNet& net_;
  const double size_;
  const bool eager_, epilogues_, prologues_, gradient_prologues_;
  bool backward_ = false;
  std::vector<RooflineKernel> kernels_;
};

}  // namespace

const char* name_of(Regime regime) {
  constexpr std::array kNames = {"unfused", "fused_norm", "epilogues", "prologues", "gradient_prologues"};
  return kNames[static_cast<size_t>(regime)];
}

std::vector<RooflineKernel> training_kernels(const RooflineNet& net, Regime regime, DType dtype) {
  return TrainingStep(net, regime, dtype).run();
}

std::vector<RooflineKernel> inference_kernels(const RooflineNet& net, DType dtype) {
  const double size = static_cast<double>(size_of(dtype));
  std::vector<RooflineKernel> kernels;
  const auto conv = [&](const RooflineConv& c, double residual) {
    kernels.push_back({c.name, false, {c.flops(), (c.used_x + c.w + residual) * size, c.y * size}});
  };
  conv(net.stem, 0);
  if (net.pooled > 0) kernels.push_back({"max_pool", false, {0, net.stem.y * size, net.pooled * size}});
  for (const RooflineBlock& b : net.blocks) {
    double residual = 0;
    const kernels::Conv2dShape &first = b.convs.front().shape, &last = b.convs.back().shape;
    if (b.shortcut == Shortcut::subsample)
      residual = static_cast<double>(last.n * last.p() * last.q() * first.c);
    else if (b.shortcut != Shortcut::none)
      residual = b.convs.back().y;
    if (b.projection) conv(*b.projection, 0);
    for (size_t i = 0; i < b.convs.size(); ++i) conv(b.convs[i], i + 1 == b.convs.size() ? residual : 0);
  }
  const double features = net.batch * net.features, matrix = net.features * net.classes;
  kernels.push_back({"avg_pool", false, {0, net.blocks.back().convs.back().y * size, features * size}});
  kernels.push_back(
      {"fc", false, {2 * net.batch * matrix, (features + matrix) * size, net.batch * net.classes * kF32}});
  return kernels;
}

double floor_seconds(const std::vector<RooflineKernel>& kernels, const Ceilings& ceilings) {
  double seconds = 0;
  for (const RooflineKernel& kernel : kernels) seconds += floor_seconds(kernel.cost, ceilings);
  return seconds;
}

StepFloor step_floor(const models::ResNet& net, int64_t batch, int64_t image_size, DType dtype, Mode mode,
                     const Ceilings& ceilings) {
  const RooflineNet shapes = roofline_net(net, batch, image_size);
  const bool training = mode == Mode::train;
  const std::vector<RooflineKernel> kernels =
      training ? training_kernels(shapes, Regime::epilogues, dtype) : inference_kernels(shapes, dtype);
  StepFloor floor{.seconds = floor_seconds(kernels, ceilings),
                  .regime = training ? name_of(Regime::epilogues) : "inference"};
  for (const RooflineKernel& kernel : kernels) {
    floor.flops += kernel.cost.flops;
    floor.bytes += kernel.cost.bytes();
  }
  return floor;
}

}  // namespace engine::bench
