#include "engine/train/recipe.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <thread>

#include "engine/device.h"
#include "engine/error.h"
#include "engine/optim/adamw.h"
#include "engine/optim/layerwise.h"
#include "engine/optim/sgd.h"

namespace engine {
namespace {

// What differs between the two kinds of data. Photographs: torchvision's reference recipe for ResNets (its
// references/classification). Small pictures: one cycle with a high peak, which gives CIFAR nets most of their accuracy
// in few epochs (Smith and Topin 2018).
struct Defaults {
  int64_t batch_size, epochs;
  double lr, weight_decay;
  const char* lr_scheduler;
};
constexpr Defaults kPhotographs = {32, 90, 0.1, 1e-4, "steplr"};
constexpr Defaults kSmallPictures = {128, 30, 0.25, 5e-4, "onecycle"};
// What differs between optimisers: AdamW as PyTorch's, LAMB as "ResNet strikes back" (Wightman et al. 2021) trains its
// A2 and timm clips it, LARS as timm's.
struct OptimizerDefaults {
  double lr, weight_decay, eps, clip_grad_norm;
  bool layerwise;  // no decay of norms and biases
};
OptimizerDefaults optimizer_defaults(const std::string& opt, const Defaults& data) {
  if (opt == "adamw") return {1e-3, 0.01, 1e-8, 0, false};
  if (opt == "lamb") return {5e-3, 0.02, 1e-6, 1, true};
  if (opt == "lars") return {1, data.weight_decay, 1e-8, 0, true};
  return {data.lr, data.weight_decay, 1e-8, 0, false};
}

constexpr int64_t kShapesEpochs = 6;  // resnet20 comes to 98%

constexpr double kResizePerCrop = 256.0 / 224.0;
constexpr int64_t kMaxTries = 100;

// Preparing pictures takes a small part of a processor beside a CPU's training step; more threads than cores only
// displace those that compute.
int64_t default_workers() {
  return std::clamp<int64_t>(static_cast<int64_t>(std::thread::hardware_concurrency()) / 2, 1, 16);
}

template <class T, class U>
void fill(std::optional<T>& setting, const U& value) {
  if (!setting) setting = T(value);
}

void resolve_sizes(TrainConfig& config, const DataFacts& data, const ModelFacts& model) {
  const int64_t whole = std::min(data.width, data.height);
  const bool fits = data.small() && whole >= model.minimum_image_size && whole >= 8;
  fill(config.train_crop_size, fits ? whole : model.image_size);
  fill(config.crop, data.small() && whole >= *config.train_crop_size ? "pad-crop" : "rrc");
  fill(config.val_crop_size, *config.train_crop_size);
  const bool as_is = data.small() && whole >= *config.val_crop_size;
  fill(config.val_resize_size, as_is ? 0 : std::lround(static_cast<double>(*config.val_crop_size) * kResizePerCrop));
  for (const auto& [flag, size] :
       {std::pair("--train-crop-size", *config.train_crop_size), std::pair("--val-crop-size", *config.val_crop_size)}) {
    check(size >= model.minimum_image_size, flag, "=", size, " is too small for ", *config.model, ", which needs ",
          model.minimum_image_size, " or more");
  }
}

int64_t to_steps(double epochs, int64_t steps_per_epoch) {
  return std::llround(epochs * static_cast<double>(steps_per_epoch));
}

ScheduleKind schedule_kind(const std::string& name) {
  if (name == "steplr") return ScheduleKind::step;
  if (name == "multistep") return ScheduleKind::multistep;
  if (name == "cosineannealinglr") return ScheduleKind::cosine;
  if (name == "linear") return ScheduleKind::linear;
  if (name == "poly") return ScheduleKind::poly;
  if (name == "onecycle") return ScheduleKind::one_cycle;
  return ScheduleKind::constant;
}

// The first picture, or the first of the next ones that can be read.
Image first_picture(const Dataset& dataset, bool skip_bad) {
  for (int64_t i = 0;; ++i) {
    try {
      return dataset.load(i);
    } catch (const Error& error) {
      if (!skip_bad || error.kind() != ErrorKind::data || i + 1 >= std::min<int64_t>(dataset.size(), kMaxTries)) throw;
    }
  }
}

Interpolation interpolation(const std::string& name) {
  return name == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear;
}

ColourJitter jitter(const TrainConfig& config) {
  const std::vector<double>& x = config.color_jitter;
  if (x.empty()) return {};
  if (x.size() == 1) return {.brightness = x[0], .contrast = x[0], .saturation = x[0]};
  return {.brightness = x[0], .contrast = x[1], .saturation = x[2], .hue = x.size() > 3 ? x[3] : 0};
}

}  // namespace

DataFacts describe_data(const DatasetPair& data, const TrainConfig& config) {
  const bool generated = config.data_path.empty() || config.data_path == "shapes";
  std::filesystem::path folder = std::filesystem::path(config.data_path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  const Image first = first_picture(*data.train, config.bad_images != "fail");
  return {.name = generated ? "shapes" : folder.filename().string(),
          .generated = generated,
          .train_samples = data.train->size(),
          .val_samples = data.val->size(),
          .num_classes = data.train->num_classes(),
          .width = first.width,
          .height = first.height};
}

std::string default_model(const DataFacts& data) {
  return data.small() ? "resnet20" : "resnet18";
}

TrainConfig resolve(TrainConfig config, const DataFacts& data, const ModelFacts& model) {
  const Defaults& defaults = data.small() ? kSmallPictures : kPhotographs;
  fill(config.num_classes, data.num_classes);
  check(*config.num_classes >= data.num_classes, "--num-classes=", *config.num_classes, " is less than the ",
        data.num_classes, " classes of the data set");
  resolve_sizes(config, data, model);
  fill(config.ranks, 1);
  fill(config.batch_size,
       std::clamp<int64_t>(data.train_samples / config.grad_accum_steps / *config.ranks, 1, defaults.batch_size));
  fill(config.val_batch_size, *config.batch_size);
  fill(config.workers, default_workers());
  fill(config.epochs, data.generated ? kShapesEpochs : defaults.epochs);
  fill(config.lr_scheduler, config.lr_milestones.empty() ? defaults.lr_scheduler : "multistep");
  if (*config.lr_scheduler == "multistep" && config.lr_milestones.empty()) config.lr_milestones = {30, 60, 80};
  if (config.lr_base) {
    config.lr = *config.lr_base * static_cast<double>(global_batch(config)) / config.lr_base_size;
    config.lr_base.reset();
  }
  if (config.opt == "sgd_nesterov") config.nesterov = true;
  if (config.nesterov && config.opt == "sgd") config.opt = "sgd_nesterov";
  const OptimizerDefaults of_optimizer = optimizer_defaults(config.opt, defaults);
  fill(config.lr, of_optimizer.lr);
  fill(config.lr_warmup_epochs, 0.0);
  fill(config.weight_decay, of_optimizer.weight_decay);
  fill(config.norm_weight_decay, of_optimizer.layerwise ? 0 : *config.weight_decay);
  fill(config.bias_weight_decay, of_optimizer.layerwise ? 0 : *config.weight_decay);
  fill(config.opt_eps, of_optimizer.eps);
  fill(config.clip_grad_norm, of_optimizer.clip_grad_norm);
  fill(config.label_smoothing, 0.0);
  if (config.bce_loss) config.loss = "bce";
  config.bce_loss = false;
  fill(config.train_interpolation, config.interpolation);
  fill(config.ra_reps, config.ra_sampler ? 3 : 1);
  fill(config.precision, "fp32");
  fill(config.threads, num_threads());
  fill(config.print_freq, 10);
  check(*config.lr_warmup_epochs <= static_cast<double>(*config.epochs),
        "--lr-warmup-epochs=", *config.lr_warmup_epochs, " is longer than the training of ", *config.epochs, " epochs");
  check(global_batch(config) <= data.train_samples, "--batch-size=", *config.batch_size,
        " times --grad-accum-steps=", config.grad_accum_steps,
        *config.ranks > 1 ? " on " + std::to_string(*config.ranks) + " ranks" : "", " is more than the ",
        data.train_samples, " training pictures; take a smaller batch");
  return config;
}

int64_t global_batch(const TrainConfig& config) {
  return *config.batch_size * config.grad_accum_steps * config.ranks.value_or(1);
}

int64_t batch_at_once(const TrainConfig& config) {
  return *config.batch_size * config.grad_accum_steps / batches_a_step(config);
}

int64_t batches_a_step(const TrainConfig& config) {
  return config.accum_bn == "exact" ? 1 : config.grad_accum_steps;
}

int64_t steps_per_epoch(const TrainConfig& config, int64_t train_samples) {
  return train_samples / (*config.batch_size * config.ranks.value_or(1)) / config.grad_accum_steps;
}

Schedule make_schedule(const TrainConfig& config, int64_t steps_per_epoch) {
  Schedule schedule{.kind = schedule_kind(*config.lr_scheduler),
                    .lr = *config.lr,
                    .min_lr = config.lr_min,
                    .total_steps = *config.epochs * steps_per_epoch,
                    .warmup_steps = to_steps(*config.lr_warmup_epochs, steps_per_epoch),
                    .warmup_decay = config.lr_warmup_decay,
                    .step_size = std::max<int64_t>(1, to_steps(config.lr_step_size, steps_per_epoch)),
                    .gamma = config.lr_gamma,
                    .power = config.lr_power};
  for (const double epoch : config.lr_milestones) schedule.milestones.push_back(to_steps(epoch, steps_per_epoch));
  return schedule;
}

std::unique_ptr<Optimizer> make_optimizer(const TrainConfig& config, std::vector<NamedParameter> parameters) {
  // The members that all options have.
  const auto of_all = [&](auto options) {
    options.lr = static_cast<float>(*config.lr);
    options.weight_decay = static_cast<float>(*config.weight_decay);
    options.norm_weight_decay = static_cast<float>(*config.norm_weight_decay);
    options.bias_weight_decay = static_cast<float>(*config.bias_weight_decay);
    return options;
  };
  const auto momentum = static_cast<float>(config.momentum), eps = static_cast<float>(*config.opt_eps);
  const auto beta1 = static_cast<float>(config.beta1), beta2 = static_cast<float>(config.beta2);
  if (config.opt == "adamw")
    return std::make_unique<AdamW>(std::move(parameters),
                                   of_all(AdamWOptions{.beta1 = beta1, .beta2 = beta2, .eps = eps}));
  if (config.opt == "lamb")
    return std::make_unique<Lamb>(std::move(parameters),
                                  of_all(LambOptions{.beta1 = beta1, .beta2 = beta2, .eps = eps}));
  if (config.opt == "lars")
    return std::make_unique<Lars>(std::move(parameters),
                                  of_all(LarsOptions{.momentum = momentum,
                                                     .nesterov = config.nesterov,
                                                     .trust = static_cast<float>(config.trust_coefficient),
                                                     .eps = eps}));
  return std::make_unique<Sgd>(std::move(parameters),
                               of_all(SgdOptions{.momentum = momentum, .nesterov = config.nesterov}));
}

TrainTransform train_transform(const TrainConfig& config) {
  using Crop = TrainTransform::Crop;
  return {.crop = *config.crop == "rrc"        ? Crop::random_resized
                  : *config.crop == "pad-crop" ? Crop::pad_and_crop
                                               : Crop::none,
          .size = static_cast<int>(*config.train_crop_size),
          .flip = !config.no_flip,
          .interpolation = interpolation(*config.train_interpolation),
          .random_interpolation = *config.train_interpolation == "random",
          .jitter = jitter(config),
          .policy = parse_policy(config.auto_augment, config.ra_magnitude, "--auto-augment")};
}

EvalTransform eval_transform(const TrainConfig& config) {
  return {.resize = static_cast<int>(*config.val_resize_size),
          .size = static_cast<int>(*config.val_crop_size),
          .interpolation = interpolation(config.interpolation)};
}

// Copies of a sample stand side by side, and a picture is not to be mixed with its own copy.
MixOptions mix_options(const TrainConfig& config) {
  return {.mixup_alpha = config.mixup_alpha,
          .cutmix_alpha = config.cutmix_alpha,
          .probability = config.mixup_prob,
          .switch_probability = config.mixup_switch_prob,
          .end_epoch = config.mixup_off_epoch,
          .partner = *config.ra_reps};
}

Normalization normalization(const DataFacts& data) {
  if (!data.small()) return kImageNetNormalization;
  return data.num_classes == 100 ? kCifar100Normalization : kCifar10Normalization;
}

double max_bad_fraction(const TrainConfig& config, int64_t samples) {
  const auto size = static_cast<double>(samples);
  const double count = config.max_bad ? static_cast<double>(*config.max_bad) : std::max(10.0, std::floor(size / 1000));
  return (count + 0.5) / size;  // the half keeps a rounded product on the right side of a whole number
}

}  // namespace engine
