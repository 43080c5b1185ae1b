#pragma once
// The data pipeline under load: with a network behind it, and by itself.
#include <cstdint>
#include <string>
#include <vector>

#include "bench/bench_case.h"
#include "engine/train/input_rate.h"

namespace engine::bench {

struct DataRate {
  double img_per_s = 0;
  double wait_share = 0;  // of the time, spent waiting for pictures
  int64_t steps = 0;
  int workers = 0;
};

// Trains or infers for about `seconds` on the pictures of `path`, as resnet-train does but that every picture is
// decoded each time, as those of a data set that is larger than the memory. Throws Error(data) for a path that holds
// none, Error(usage) for a batch that is larger than the data set.
DataRate measure_with_data(const BenchCase& cell, const std::string& path, double seconds);

// engine/train/input_rate.h, and the upload of a batch: each stage by itself, on one thread and on all.
std::vector<InputStage> measure_input(const std::string& path, int64_t image_size, int64_t batch, Device device,
                                      int threads, double seconds_per_stage);

}  // namespace engine::bench
