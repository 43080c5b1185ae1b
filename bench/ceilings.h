#pragma once
// The two ceilings of a device, measured: what no operation that moves or multiplies can pass.
#include "engine/device.h"
#include "engine/dtype.h"

namespace engine::bench {

struct Ceilings {
  double bytes_per_s = 0;  // read and written by a copy far larger than the caches
  double flops_per_s = 0;  // 2 a multiply-add, by a large matrix product of `dtype` with sums in f32
  DType dtype = DType::f32;
};

// What an operation must at least compute and move. Multiply-adds of convolutions and matrix products count, in the
// direct algorithm (Winograd computes less); elementwise arithmetic does not: it is hidden behind the memory. Each pass
// over a tensor counts in full, as if there were no caches: small operations can be faster than that.
struct OpCost {
  double flops = 0, read = 0, written = 0;
  double bytes() const { return read + written; }
};

// max(flops / rate, bytes / bandwidth)
double floor_seconds(const OpCost& cost, const Ceilings& ceilings);

// On the device as the caller left it (threads, clocks): a product and a copy so large that one takes `long_enough`
// seconds, or as large as is sensible; the best of several. With the default it takes about a second.
Ceilings measure_ceilings(Device device, DType dtype, double long_enough = 0.02);

}  // namespace engine::bench
