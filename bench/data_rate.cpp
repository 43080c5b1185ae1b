#include "bench/data_rate.h"

#include <chrono>
#include <functional>

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/data/batch_tensors.h"
#include "engine/data/open_dataset.h"
#include "engine/train/pipeline.h"
#include "engine/train/train_step.h"

namespace engine::bench {
namespace {

constexpr int64_t kWarmUpSteps = 5;  // more than the loader prepares ahead
constexpr int64_t kFewestSteps = 3;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Input {
  DatasetPair data;
  DataFacts facts;
  TrainConfig config;
};

Input open_input(const std::string& path, const models::Specification& model, int64_t image_size, int64_t batch) {
  Input input;
  input.config.model = model.name;
  input.config.data_path = path;
  input.config.batch_size = batch;
  input.config.train_crop_size = input.config.val_crop_size = image_size;
  // One picture held out: a folder without a validation part is accepted, too.
  input.data = open_dataset({.path = path, .val_split = 1, .cache_bytes = 0});
  input.facts = describe_data(input.data, input.config);
  input.config = resolve(input.config, input.facts,
                         {.image_size = model.default_image_size(), .minimum_image_size = model.minimum_image_size()});
  check(input.data.train->size() >= batch, "a batch of ", batch, " is more than the ", input.data.train->size(),
        " training pictures of ", path, "; use a smaller --batch-size");
  return input;
}

// Calls `step` until its time is over; it returns how many pictures it took.
DataRate run_steps(Loader& loader, double seconds, const std::function<int64_t()>& step) {
  for (int64_t i = 0; i < kWarmUpSteps; ++i) step();
  DataRate rate;
  const double start = now(), waited = loader.wait_seconds();
  int64_t pictures = 0;
  for (; rate.steps < kFewestSteps || now() < start + seconds; ++rate.steps) pictures += step();
  const double elapsed = now() - start;
  rate.img_per_s = static_cast<double>(pictures) / elapsed;
  rate.wait_share = (loader.wait_seconds() - waited) / elapsed;
  return rate;
}

}  // namespace

DataRate measure_with_data(const BenchCase& cell, const std::string& path, double seconds) {
  const WorkloadOptions& work = cell.work;
  const Input input = open_input(path, models::find_specification(work.model), work.image_size, work.batch);
  const TrainConfig& config = input.config;
  models::ResNet net = models::make_resnet(work.model, {.num_classes = input.facts.num_classes});
  net.to(work.device);
  const InputFormat format = {
      .device = work.device, .dtype = work.precision.dtype, .normalization = normalization(input.facts)};
  LoaderOptions options = train_loader_options(config, input.data.train->size());
  Batch batch;
  DataRate rate;
  if (work.mode == Mode::inference) {
    Loader loader(input.data.train, val_sample(config), options);
    int64_t epoch = 0;
    loader.start(epoch);
    net.eval();
    const NoGrad no_grad;
    rate = run_steps(loader, seconds, [&] {
      while (!loader.next(batch)) loader.start(++epoch);
      net(image_tensor(batch, format.normalization, format.tensor()));
      backend(work.device).synchronize();
      return batch.count;
    });
  } else {
    Loader loader(input.data.train, train_sample(config), options);
    const TrainableModel model = {.name = work.model,
                                  .module = &net,
                                  .forward = [&net](const Tensor& images) { return net(images); },
                                  .num_classes = net.num_classes()};
    Sgd sgd(net.parameters(), {.lr = work.lr, .momentum = 0.9f, .weight_decay = 1e-4f});
    TrainStep step(model, sgd, {.input = format});
    int64_t epoch = 0, done = 0, number = 0;
    loader.start(epoch);
    rate = run_steps(loader, seconds, [&] {
      if (done == loader.batches_per_epoch()) {
        loader.start(++epoch);
        done = 0;
      }
      ++done;
      return step.run(loader, *input.data.train, batch, number++, work.lr).sums.count;
    });
  }
  rate.workers = options.workers;
  return rate;
}

std::vector<InputStage> measure_input(const std::string& path, int64_t image_size, int64_t batch, Device device,
                                      int threads, double seconds_per_stage) {
  const Input input = open_input(path, models::find_specification("resnet50"), image_size, 1);
  TrainConfig config = input.config;
  config.batch_size = batch = std::min(batch, input.data.train->size());
  std::vector<InputStage> stages = engine::measure_input(input.data.train, config, threads, seconds_per_stage);

  const InputFormat format = {.device = device, .normalization = normalization(input.facts)};
  Loader loader(input.data.train, train_sample(config), train_loader_options(config, input.data.train->size()));
  Batch ready;
  loader.start(0);
  loader.next(ready);
  const auto upload = [&] {
    image_tensor(ready, format.normalization, format.tensor());
    backend(device).synchronize();
  };
  upload();
  int64_t uploads = 0;
  const double start = now();
  do {
    upload();
    ++uploads;
  } while (now() < start + seconds_per_stage);
  stages.push_back({"upload and normalise", 1, static_cast<double>(uploads * ready.count) / (now() - start)});
  return stages;
}

}  // namespace engine::bench
