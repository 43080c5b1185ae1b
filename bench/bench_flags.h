#pragma once
// The command line of resnet-bench, and the grid that it spans.
#include <cstdint>
#include <string>
#include <vector>

#include "bench/bench_case.h"

namespace engine::bench {

struct BenchOptions {
  enum class Task { measure, test_io, help, version, list_models } task = Task::measure;

  std::vector<std::string> models;  // names or patterns: resnet*, resnet[15]0*
  std::vector<int64_t> batches;     // empty: a usual one for model and device
  std::vector<Precision> precisions;
  std::vector<Mode> modes;
  std::string device = "auto";
  int64_t image_size = 0;  // 0: the model's usual one
  int threads = 0;         // 0: all processors
  std::string force_impl;

  std::string data_path;  // measured with the loader on this data set, too
  bool detail = false;
  std::string test_io;  // only the pipeline on this data set

  double min_seconds = 3, max_seconds = 120;
  bool quick = false;

  std::string results_file;  // .json or .csv
  bool json = false;         // rows on stdout
  bool layers = false;
  std::string explain, html;

  std::string command_line;  // paths below the home directory begin with ~
};

// Throws Error(usage) for an unknown flag, naming the nearest, and for values that cannot be.
BenchOptions parse_bench_flags(int argc, const char* const* argv);
std::string bench_help();

// The names of models::specifications() that match any of the patterns, in their order there and each once. `*` is any
// text, `?` any character, `[ab]` one of these. Throws Error(usage) for a pattern that matches none, with the nearest
// name.
std::vector<std::string> matching_models(const std::vector<std::string>& patterns);

// All combinations: by model, precision, mode, then batch, with sizes filled in. Throws Error(usage) for an image that
// is too small for a model, Error(device) for a precision that the device does not have: before anything is measured.
std::vector<BenchCase> grid(const BenchOptions& options, Device device);

}  // namespace engine::bench
