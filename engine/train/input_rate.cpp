#include "engine/train/input_rate.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <thread>

#include "engine/data/loader.h"
#include "engine/train/pipeline.h"

namespace engine {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// `work` on `threads` threads at once for about `seconds`; how often it was done in a second. Throws what it throws.
double rate_of(int threads, double seconds, const std::function<void(int64_t)>& work) {
  work(0);
  std::atomic<int64_t> count = 0;
  std::atomic<bool> failed = false;
  std::exception_ptr error;
  const double start = now();
  const auto loop = [&] {
    try {
      do work(count++);
      while (!failed && now() < start + seconds);
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> team;
    for (int i = 1; i < threads; ++i) team.emplace_back(loop);
    loop();
  }
  if (error) std::rethrow_exception(error);
  return static_cast<double>(count) / (now() - start);
}

// Long enough that no epoch ends while it is measured: a small set repeated.
DatasetPtr endless(const DatasetPtr& data) {
  constexpr int64_t kEnough = 1'000'000;
  const int64_t rounds = (kEnough + data->size() - 1) / data->size();
  std::vector<int64_t> indices;
  indices.reserve(static_cast<size_t>(rounds * data->size()));
  for (int64_t round = 0; round < rounds; ++round) {
    for (int64_t i = 0; i < data->size(); ++i) indices.push_back(i);
  }
  return subset(data, std::move(indices));
}

double loader_rate(const DatasetPtr& data, const TrainConfig& config, int workers, double seconds) {
  LoaderOptions options = train_loader_options(config, data->size());
  options.workers = workers;
  options.max_bad_fraction = 1;
  Loader loader(data, train_sample(config), options);
  loader.start(0);
  Batch batch;
  for (int64_t i = 0; i <= options.prefetch_batches; ++i) loader.next(batch);
  const double start = now();
  int64_t pictures = 0;
  do {
    loader.next(batch);
    pictures += batch.count;
  } while (now() < start + seconds);
  return static_cast<double>(pictures) / (now() - start);
}

}  // namespace

std::vector<InputStage> measure_input(const DatasetPtr& data, const TrainConfig& config, int threads, double seconds) {
  const int64_t pictures = data->size();
  std::vector<InputStage> stages;
  std::vector<int> counts = {1};
  if (threads > 1) counts.push_back(threads);
  const auto measure = [&](const char* name, const std::function<void(int64_t)>& work) {
    for (const int count : counts) stages.push_back({name, count, rate_of(count, seconds, work)});
  };
  const auto apply = [](const SampleTransform& sample, int64_t size, const Picture& picture, int64_t i) {
    thread_local std::vector<uint8_t> out;
    out.resize(static_cast<size_t>(size * size * 3));
    RandomStream random(0, 0, static_cast<uint64_t>(i), purpose::kAugmentation);
    sample(picture, random, out);
  };
  const SampleTransform train = train_sample(config), val = val_sample(config);
  measure("read", [&](int64_t i) { data->read(i % pictures); });
  measure("read and decode", [&](int64_t i) { data->load(i % pictures); });

  constexpr int64_t kKept = 64;
  std::vector<Picture> decoded;
  for (int64_t i = 0; i < std::min(kKept, pictures); ++i)
    decoded.push_back({.image = data->load(i), .file = {}, .name = {}});
  const auto kept = [&](int64_t i) -> const Picture& { return decoded[static_cast<size_t>(i) % decoded.size()]; };
  measure("resize (evaluation)", [&](int64_t i) { apply(val, *config.val_crop_size, kept(i), i); });
  measure("augment (training)", [&](int64_t i) { apply(train, *config.train_crop_size, kept(i), i); });
  measure("prepare", [&](int64_t i) { apply(train, *config.train_crop_size, data->read(i % pictures), i); });

  const DatasetPtr repeated = endless(data);
  for (const int count : counts) stages.push_back({"loader", count, loader_rate(repeated, config, count, seconds)});
  return stages;
}

double loader_efficiency(const std::vector<InputStage>& stages) {
  double one_thread = 0, loader = 0;
  int workers = 1;
  for (const InputStage& stage : stages) {
    if (stage.name == "prepare" && stage.threads == 1) one_thread = stage.img_per_s;
    if (stage.name == "loader" && stage.threads >= workers) {
      workers = stage.threads;
      loader = stage.img_per_s;
    }
  }
  return one_thread > 0 ? loader / (workers * one_thread) : 0;
}

}  // namespace engine
