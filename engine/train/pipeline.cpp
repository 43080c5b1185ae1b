#include "engine/train/pipeline.h"

#include <algorithm>

#include "engine/train/log.h"

namespace engine {
namespace {

LoaderOptions loader_options(const TrainConfig& config, LoaderMode mode, int64_t samples, int64_t rank) {
  const bool training = mode == LoaderMode::train;
  const int64_t size = training ? *config.train_crop_size : *config.val_crop_size;
  return {.mode = mode,
          .batch_size = training ? batch_at_once(config) : std::min(*config.val_batch_size, samples),
          .height = size,
          .width = size,
          .drop_last = training,  // a last batch of a few pictures would have noisy statistics
          .repeats = *config.ra_reps,
          .erasing = {.probability = config.random_erase},
          .mix = mix_options(config),
          .workers = static_cast<int>(*config.workers),
          .seed = static_cast<uint64_t>(config.seed),
          .bad_images = config.bad_images == "skip"          ? BadImages::skip
                        : config.bad_images == "use-partial" ? BadImages::use_partial
                                                             : BadImages::fail,
          .max_bad_fraction = max_bad_fraction(config, samples),
          .rank = rank,
          .ranks = config.ranks.value_or(1),
          .data_timeout = config.data_timeout,
          .on_stall = [](const std::string& message) { log_warning(message); }};
}

}  // namespace

InputFormat input_format(const TrainConfig& config, const DataFacts& data, Device device) {
  return {.device = device,
          .dtype = *config.precision == "bf16"   ? DType::bf16
                   : *config.precision == "fp16" ? DType::f16
                                                 : DType::f32,
          .normalization = normalization(data)};
}

WeightsInfo weights_info(const TrainConfig& config, const DataFacts& facts, const Dataset& data) {
  return {.model = *config.model,
          .class_names = data.class_names(),
          .transform = eval_transform(config),
          .normalization = normalization(facts)};
}

LossOptions loss_options(const TrainConfig& config) {
  LossOptions options = {.binary = config.loss == "bce",
                         .label_smoothing = static_cast<float>(*config.label_smoothing),
                         .sum_classes = config.bce_sum};
  if (config.bce_target_thresh) options.target_threshold = static_cast<float>(*config.bce_target_thresh);
  return options;
}

SampleTransform train_sample(const TrainConfig& config) {
  return sample_transform(train_transform(config));
}

SampleTransform val_sample(const TrainConfig& config) {
  return sample_transform(eval_transform(config));
}

LoaderOptions train_loader_options(const TrainConfig& config, int64_t samples, int64_t rank) {
  return loader_options(config, LoaderMode::train, samples, rank);
}

LoaderOptions val_loader_options(const TrainConfig& config, int64_t samples, int64_t rank) {
  return loader_options(config, LoaderMode::evaluate, samples, rank);
}

}  // namespace engine
