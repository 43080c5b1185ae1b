#pragma once
// What a run does where its configuration leaves the choice: settings that fit the data and the model, and the schedule
// and transforms that follow from the settings.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/data/mix.h"
#include "engine/data/transforms.h"
#include "engine/optim/optimizer.h"
#include "engine/optim/schedule.h"
#include "engine/train/config.h"

namespace engine {

struct DataFacts {
  std::string name;  // "shapes", or the folder's name: for people
  bool generated = false;
  int64_t train_samples = 0, val_samples = 0;
  int64_t num_classes = 0;
  int64_t width = 0, height = 0;  // of the first training picture

  // Like CIFAR's: trained whole, shifted by a few pixels, by networks for small pictures.
  bool small() const { return width <= 64 && height <= 64; }
};

struct ModelFacts {
  int64_t image_size = 224;  // that it was designed for
  int64_t minimum_image_size = 1;
};

DataFacts describe_data(const DatasetPair& data, const TrainConfig& config);

// The model of a configuration that names none.
std::string default_model(const DataFacts& data);

// `config` with a value in every setting that steers the computation (max_steps, num_classes of the head and the file
// settings apart). Throws Error(usage) for sizes that model and data do not allow.
TrainConfig resolve(TrainConfig config, const DataFacts& data, const ModelFacts& model);

// Of a resolved configuration.
int64_t global_batch(const TrainConfig& config);
// Pictures that go through the network together, and how many such batches make a step: batch_size and
// grad_accum_steps, or with --accum-bn exact all of a step at once.
int64_t batch_at_once(const TrainConfig& config);
int64_t batches_a_step(const TrainConfig& config);
int64_t steps_per_epoch(const TrainConfig& config, int64_t train_samples);
Schedule make_schedule(const TrainConfig& config, int64_t steps_per_epoch);
std::unique_ptr<Optimizer> make_optimizer(const TrainConfig& config, std::vector<NamedParameter> parameters);
TrainTransform train_transform(const TrainConfig& config);
EvalTransform eval_transform(const TrainConfig& config);
MixOptions mix_options(const TrainConfig& config);
Normalization normalization(const DataFacts& data);
// LoaderOptions::max_bad_fraction for a set of `samples`.
double max_bad_fraction(const TrainConfig& config, int64_t samples);

}  // namespace engine
