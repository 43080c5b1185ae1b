#include "tools/train_run.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/data/open_dataset.h"
#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/nn/weights.h"
#include "engine/text.h"
#include "engine/train/auto_batch.h"
#include "engine/train/budget.h"
#include "engine/train/checkpointer.h"
#include "engine/train/log.h"
#include "engine/train/progress.h"
#include "engine/train/ranks.h"
#include "engine/train/recipe_book.h"
#include "engine/train/signals.h"
#include "engine/train/weights_info.h"
#include "models/summary.h"

namespace engine::tools {
namespace {

namespace fs = std::filesystem;
using models::find_specification;
using models::ResNet;
using models::Specification;

constexpr uint64_t kMaxConfigBytes = 64 << 20;

bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return fs::equivalent(a, b, ignored);
}

// `limit` samples of `dataset`, evenly spread over it.
DatasetPtr limited(const DatasetPtr& dataset, std::optional<int64_t> limit) {
  if (!dataset || !limit || *limit >= dataset->size()) return dataset;
  std::vector<int64_t> indices(static_cast<size_t>(*limit));
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<int64_t>(i) * dataset->size() / *limit;
  return subset(dataset, std::move(indices));
}

// What a file of initial weights says of itself.
std::optional<std::string> model_of_weights(const TrainConfig& config) {
  if (config.weights.empty()) return std::nullopt;
  const SafetensorsFile file = SafetensorsFile::open(find_weights(config.weights));
  const std::string model = weights_info(file.metadata(), printable(file.origin())).model;
  return model.empty() ? std::nullopt : std::optional(model);
}

// Initial weights from a file. Another number of classes keeps the new head, unless the network is only tested.
void load_initial_weights(const TrainConfig& config, ResNet& net) {
  const SafetensorsFile file = SafetensorsFile::open(find_weights(config.weights));
  const TensorView* head = file.find("fc.weight");
  const bool same_head = !head || head->shape.empty() || head->shape[0] == net.num_classes();
  if (!config.partial && (same_head || config.test_only)) {
    load_weights(file, net);
    return;
  }
  const LoadReport report = load_weights(file, net, {.partial = true});
  if (config.partial) {
    const std::string left_out = describe(report);
    log_info("weights  " + std::to_string(report.loaded) + " tensors of " + printable(file.origin()) + " fit" +
             (left_out.empty() ? "" : "; the others begin anew: " + left_out));
    return;
  }
  for (const auto* names : {&report.missing, &report.unexpected, &report.misshapen}) {
    for (const std::string& name : *names) {
      if (!name.starts_with("fc.")) {
        fail(ErrorKind::checkpoint, "--weights: ", file.origin(), " does not fit ", net.specification().name, ": ",
             name);
      }
    }
  }
  log_info("weights  the head of " + printable(file.origin()) + " has " + std::to_string(head->shape[0]) +
           " classes; a new one with " + std::to_string(net.num_classes()) + " takes its place");
}

struct Prepared {
  TrainConfig config;
  std::optional<RunFolder> folder;
  ResumePoint resume;
};

void apply_files(TrainConfig& config, const TrainCommand& command) {
  for (const std::string& file : command.config_files) {
    apply_config_json(config, read_text_file(file, {.kind = ErrorKind::usage, .max_bytes = kMaxConfigBytes}), file);
  }
}

// A flag that says the same in another way than the recipe does takes its place.
void drop_what_flags_replace(TrainConfig& config, const TrainCommand& command) {
  for (const GivenSetting& given : command.given) {
    const std::string_view key = given.setting->key;
    if (key == "lr") config.lr_base.reset();
    if (key == "lr_base") config.lr.reset();
    if (key == "lr_scheduler") config.lr_milestones.clear();
  }
}

// Everything that can be refused without looking at the data. `config` is that of first_look().
Prepared prepare(const TrainCommand& command, TrainConfig first, Communicator* ranks) {
  Prepared result;
  TrainConfig& config = result.config;
  config = std::move(first);
  const bool writes = ranks == nullptr || ranks->is_first();
  std::optional<Recipe> recipe;
  if (!config.recipe.empty()) recipe = find_recipe(config.recipe);
  if (!config.compare_to.empty()) find_reference(config.compare_to);
  const std::optional<fs::path> run_dir = named_run_dir(config);
  if (run_dir && !config.test_only && config.selftest.empty() && writes) {
    result.folder.emplace(*run_dir);
    if (config.overwrite) result.folder->clear();
    const bool continues =
        !config.resume.empty() && (config.resume == "auto" || is_same(run_dir_of(config.resume), *run_dir));
    check(
        continues || !result.folder->holds_run(), "--output-dir: ", printable(run_dir->string()),
        " already holds a run; continue it with --resume auto, replace it with --overwrite, or choose another folder");
  }
  if (!config.resume.empty()) {
    if (writes) result.resume = find_resume_point(config.resume, run_dir.value_or(""), result.folder.has_value());
    if (ranks != nullptr) result.resume = share_resume_point(*ranks, std::move(result.resume));
    for (const std::string& note : result.resume.notes) log_warning(note);
    TrainConfig resumed;
    if (!result.resume.config.empty()) apply_config_json(resumed, result.resume.config, "run.json");
    resumed.max_steps.reset();  // where the last process was told to stop
    share_batch(resumed, ranks != nullptr ? ranks->size() : 1);
    config = resumed;
  } else {
    config = {};
  }
  if (recipe && config.recipe == recipe->name) recipe.reset();  // what is resumed has its settings already
  if (recipe) {
    apply_recipe(config, *recipe);
    drop_what_flags_replace(config, command);
  }
  apply_files(config, command);
  apply_flags(config, command);
  if (recipe) stretch_times(config, *recipe);
  if (config.auto_batch && result.resume.saved) keep_batch(config, *result.resume.saved);
  check_config(config);
  check(!recipe || recipe->data == "shapes" || !config.data_path.empty() || config.dataset == "shapes", "--recipe ",
        config.recipe, " trains on ", recipe ? recipe->data : "",
        ": add --data-path DIR, or --dataset shapes to try it on the built-in pictures");
  if (config.model) find_specification(*config.model);
  config.ranks = ranks != nullptr ? ranks->size() : 1;
  share_host(config);
  return result;
}

void make_net(Run& run) {
  const TrainConfig& config = run.config;
  TrainSetup& setup = run.setup;
  ResNet& net = run.net.emplace(models::make_resnet(*config.model, {.num_classes = setup.config.num_classes,
                                                                    .zero_init_residual = config.zero_init_residual,
                                                                    .seed = static_cast<uint64_t>(config.seed),
                                                                    .initialize = !setup.resume.checkpoint}));
  const int64_t size = *setup.config.train_crop_size;
  const models::Summary summary = models::summarize(net, 1, size, size);
  if (setup.resume.checkpoint && config.test_only) {
    load_weights(setup.resume.checkpoint->model, net);
  } else if (!config.weights.empty() && !setup.resume.checkpoint) {
    load_initial_weights(config, net);
  }
  const bool loaded = !config.weights.empty() || (setup.resume.checkpoint && config.test_only);
  if (loaded) check_finite(net.state(), config.weights.empty() ? "--resume" : "--weights", config.allow_nonfinite);
  const auto on_device = [&](ResNet& moved) {
    moved.to(setup.device);
    return TrainableModel{.name = *config.model,
                          .module = &moved,
                          .forward = [&moved](const Tensor& images) { return moved(images); },
                          .stages = moved.stages(),
                          .num_classes = moved.num_classes(),
                          .parameters = summary.parameters,
                          .macs = summary.macs};
  };
  setup.model = on_device(net);
  if (!setup.config.model_ema) return;
  setup.average = on_device(run.average.emplace(
      models::make_resnet(*config.model, {.num_classes = setup.config.num_classes, .initialize = false})));
}

}  // namespace

TrainConfig first_look(const TrainCommand& command) {
  TrainConfig config;
  apply_flags(config, command);  // bad values first; then once more on top of what files say
  check_config(config);
  if (config.model) find_specification(*config.model);
  start_log({.format = config.log_format == "jsonl" ? LogFormat::jsonl : LogFormat::text,
             .color = config.color == "always"  ? ColorMode::always
                      : config.color == "never" ? ColorMode::never
                                                : ColorMode::automatic});
  apply_files(config, command);
  apply_flags(config, command);
  return config;
}

DatasetPair open_data(const TrainConfig& config, bool needs_val) {
  const bool shapes = config.data_path.empty();
  DatasetPair data = open_dataset({.path = shapes ? "shapes" : config.data_path,
                                   .val_path = config.val_path,
                                   .val_split = config.val_split,
                                   .seed = static_cast<uint64_t>(config.seed),
                                   .shapes = {.train_size = config.shapes_train, .val_size = config.shapes_val},
                                   .cache_bytes = config.cache_bytes,
                                   .needs_val = needs_val});
  const auto expect = [&](std::string_view kind, std::string_view beginning) {
    if (config.dataset == kind && !data.summary.starts_with(beginning)) {
      fail(ErrorKind::data, "--dataset ", kind, ": ", printable(config.data_path),
           " holds something else: ", data.summary);
    }
  };
  expect("imagefolder", "image folder");
  expect("cifar10", "CIFAR-10 ");
  expect("cifar100", "CIFAR-100 ");
  expect("packed", "packed file ");
  expect("tar", "tar ");
  if (config.limit_train || config.limit_val) {
    data.train = limited(data.train, config.limit_train);
    data.val = limited(data.val, config.limit_val);
    data.summary += "; of these " + with_thousands(data.train->size()) +
                    (data.val ? " and " + with_thousands(data.val->size()) : "");
  }
  return data;
}

std::unique_ptr<Run> make_run(const TrainCommand& command, const TrainConfig& first, Communicator* ranks) {
  auto run = std::make_unique<Run>();
  Prepared prepared = prepare(command, first, ranks);
  run->config = std::move(prepared.config);
  run->folder = std::move(prepared.folder);
  TrainConfig& config = run->config;
  run->choice = choose_device(config.device, current_launch().local_rank);
  check_precision(config, run->choice.device);
  TrainSetup& setup = run->setup;
  setup.device = run->choice.device;
  setup.ranks = ranks;
  setup.resume = std::move(prepared.resume);
  setup.command_line = command.words;
  setup.data = open_data(config);
  setup.facts = describe_data(setup.data, config);
  if (const int signal = share_step_end(ranks, {.stop_signal = stop_signal()}).stop_signal; signal != 0) {
    log_info(std::string("stopped by ") + signal_name(signal) + " before the training began");
    return nullptr;
  }
  if (!config.model) config.model = model_of_weights(config);
  if (!config.model) config.model = default_model(setup.facts);
  const Specification& specification = find_specification(*config.model);
  setup.config = resolve(
      config, setup.facts,
      {.image_size = specification.default_image_size(), .minimum_image_size = specification.minimum_image_size()});
  make_net(*run);
  return run;
}

std::unique_ptr<Run> fit_to_budget(std::unique_ptr<Run> run, const TrainCommand& command, const TrainConfig& first) {
  const TrainConfig whole = run->setup.config;
  const double minutes = *whole.budget, epoch = measure_epoch_seconds(run->setup);
  run.reset();  // its net has been trained, and its folder is locked
  const int64_t epochs = epochs_within(minutes, epoch, *whole.epochs);
  TrainCommand shortened = command;
  shortened.given.push_back({find_setting("epochs"), std::to_string(epochs), "--budget"});
  run = make_run(shortened, first, nullptr);
  if (!run) return run;
  stretch_times(run->setup.config, whole);
  log_info("budget   an epoch takes " + duration_text(epoch) + "; " + std::to_string(epochs) + " of " +
           std::to_string(*whole.epochs) + " epochs");
  if (epoch > 60 * minutes) {
    log_warning("a single epoch exceeds --budget " + duration_text(60 * minutes) + " on this device");
  }
  return run;
}

}  // namespace engine::tools
