#include "tools/test_io.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>

#include "engine/io/file.h"
#include "engine/text.h"
#include "engine/train/input_rate.h"
#include "engine/train/log.h"
#include "engine/train/version.h"

namespace engine::tools {
namespace {

constexpr double kSecondsPerStage = 2;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

std::string to_json(const std::vector<InputStage>& stages, const DatasetPair& data, const TrainConfig& config) {
  std::ostringstream json;
  json << "{\"version\": \"" << version() << "\", \"training_pictures\": " << data.train->size()
       << ", \"train_crop_size\": " << *config.train_crop_size << ", \"cores\": " << std::thread::hardware_concurrency()
       << ", \"seconds_per_stage\": " << number(kSecondsPerStage) << ",\n \"stages\": [";
  for (size_t i = 0; i < stages.size(); ++i) {
    json << (i == 0 ? "\n" : ",\n") << "  {\"stage\": \"" << stages[i].name << "\", \"threads\": " << stages[i].threads
         << ", \"img_per_s\": " << number(stages[i].img_per_s) << "}";
  }
  char efficiency[32];
  std::snprintf(efficiency, sizeof efficiency, "%.3f", loader_efficiency(stages));
  json << "],\n \"loader_efficiency\": " << efficiency << "}\n";
  return json.str();
}

}  // namespace

void test_io(const DatasetPair& data, const TrainConfig& config, std::optional<int64_t> given_workers) {
  const auto cores = static_cast<int64_t>(std::max(1u, std::thread::hardware_concurrency()));
  const int threads = static_cast<int>(std::max<int64_t>(1, given_workers.value_or(cores)));
  std::cout << data.summary << '\n';
  const std::vector<InputStage> stages = measure_input(data.train, config, threads, kSecondsPerStage);
  for (const InputStage& stage : stages) {
    char line[128];
    std::snprintf(line, sizeof line, "%-20s %3d thread%s %12.1f pictures/s %10.1f each\n", stage.name.c_str(),
                  stage.threads, stage.threads == 1 ? " " : "s", stage.img_per_s, stage.img_per_s / stage.threads);
    std::cout << line;
  }
  std::cout << "the loader reaches " << number(100 * loader_efficiency(stages)) << "% of " << threads
            << " x one thread's rate\n";
  if (config.output_dir.empty()) return;
  make_writable_directory(config.output_dir);
  const std::filesystem::path path = std::filesystem::path(config.output_dir) / "test_io.json";
  write_file_atomically(path, to_json(stages, data, config), ErrorKind::usage);
  std::cout << "written to " << printable(path.string()) << '\n';
}

}  // namespace engine::tools
