#include "bench/ceilings.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>
#include <vector>

#include "engine/backend.h"
#include "engine/random.h"

namespace engine::bench {
namespace {

// Another process that comes and goes must not lower a ceiling.
constexpr int kFewestRuns = 8;
constexpr double kBudget = 25;  // for all of them, in the seconds that are long enough for one
constexpr int64_t kSmallestSide = 64, kLargestSide = 8192;
constexpr int64_t kSmallestCopy = int64_t{1} << 16, kLargestCopy = int64_t{1} << 26;  // elements of f32: up to 256 MiB

// The better of two runs behind one that loads code, chooses an implementation and touches the memory.
double first_time(Backend& device, Timeline& timeline, const std::function<void()>& run) {
  run();
  device.synchronize();
  timeline.mark();
  run();
  timeline.mark();
  run();
  timeline.mark();
  const std::vector<double> marks = timeline.finish();
  return std::min(marks[1], marks[2] - marks[1]);
}

double best_of_several(Timeline& timeline, const std::function<void()>& run, double first, double budget) {
  double best = first, spent = 0;
  for (int i = 0; i < kFewestRuns || spent < budget; ++i) {
    timeline.mark();
    run();
    timeline.mark();
    const double seconds = timeline.finish().back();
    best = std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

Tensor noise(const Shape& shape, DType dtype, Device device) {
  RandomStream random(3, 0, 0, purpose::kAugmentation);
  std::array<float, 4093> sample;  // repeated: a prime number of values, so that no row equals its neighbour
  for (float& value : sample) value = random.normal();
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = sample[i % sample.size()];
  return Tensor::from(values, shape).to(device).to(dtype);
}

double copy_rate(Device where, double long_enough) {
  Backend& device = backend(where);
  const std::unique_ptr<Timeline> timeline = device.make_timeline();
  // Only the emulator is so slow that a copy within some processor's caches takes long enough.
  for (int64_t count = where.type == DeviceType::emulated ? kSmallestCopy : kLargestCopy;; count *= 4) {
    const Tensor from = Tensor::zeros({count}, {DType::f32, where});
    const Tensor to = make_tensor({count}, DType::f32, where);
    // The CPU's upload is a copy from memory to memory on all threads.
    const auto copy = [&] {
      if (where.type == DeviceType::cpu)
        device.upload(to.raw(), from.raw(), from.bytes());
      else
        device.convert(from, to);
    };
    const double seconds = first_time(device, *timeline, copy);
    if (seconds < long_enough && count < kLargestCopy) continue;
    return 2 * static_cast<double>(from.bytes()) / best_of_several(*timeline, copy, seconds, kBudget * long_enough);
  }
}

double product_rate(Device where, DType dtype, double long_enough) {
  Backend& device = backend(where);
  const std::unique_ptr<Timeline> timeline = device.make_timeline();
  for (int64_t side = kSmallestSide;; side *= 2) {
    const Tensor x = noise({side, side}, dtype, where), w = noise({side, side}, DType::f32, where);
    const Tensor y = make_tensor({side, side}, dtype, where);
    const auto product = [&] { device.linear_forward(x, w, {}, y); };
    const double seconds = first_time(device, *timeline, product);
    if (seconds < long_enough && side < kLargestSide) continue;
    const double flops = 2.0 * static_cast<double>(side) * static_cast<double>(side) * static_cast<double>(side);
    return flops / best_of_several(*timeline, product, seconds, kBudget * long_enough);
  }
}

}  // namespace

double floor_seconds(const OpCost& cost, const Ceilings& ceilings) {
  return std::max(cost.flops / ceilings.flops_per_s, cost.bytes() / ceilings.bytes_per_s);
}

Ceilings measure_ceilings(Device device, DType dtype, double long_enough) {
  return {.bytes_per_s = copy_rate(device, long_enough),
          .flops_per_s = product_rate(device, dtype, long_enough),
          .dtype = dtype};
}

}  // namespace engine::bench
