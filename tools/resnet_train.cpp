// resnet-train: from a command line to a trained network. The work is done by engine/train; here stands what brings
// flags, data, model and run folder together, cheap checks first.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <utility>

#include "engine/data/open_dataset.h"
#include "engine/dist/communicator.h"
#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/io/run_lock.h"
#include "engine/nn/weights.h"
#include "engine/text.h"
#include "engine/train/auto_batch.h"
#include "engine/train/budget.h"
#include "engine/train/checkpointer.h"
#include "engine/train/device_choice.h"
#include "engine/train/doctor.h"
#include "engine/train/failed_batch.h"
#include "engine/train/log.h"
#include "engine/train/progress.h"
#include "engine/train/ranks.h"
#include "engine/train/recipe_book.h"
#include "engine/train/result_text.h"
#include "engine/train/signals.h"
#include "engine/train/trainer.h"
#include "engine/train/version.h"
#include "models/resnet.h"
#include "models/summary.h"
#include "tools/experiment.h"
#include "tools/replay.h"
#include "tools/selftest.h"
#include "tools/test_io.h"
#include "tools/train_flags.h"

namespace engine::tools {
namespace {

namespace fs = std::filesystem;
using models::find_specification;
using models::ResNet;
using models::Specification;

constexpr uint64_t kMaxConfigBytes = 64 << 20;

void list_models() {
  for (const Specification& specification : models::specifications()) {
    ResNet net = models::make_resnet(specification.name, {.initialize = false});
    const int64_t size = specification.default_image_size();
    const models::Summary summary = models::summarize(net, 1, size, size);
    char gmacs[32];
    std::snprintf(gmacs, sizeof gmacs, "%9.3f", static_cast<double>(summary.macs) / 1e9);
    std::string parameters = with_thousands(summary.parameters);
    parameters.insert(0, 14 - std::min<size_t>(14, parameters.size()), ' ');
    std::cout << specification.name << std::string(20 - std::min<size_t>(19, specification.name.size()), ' ')
              << parameters << " parameters" << gmacs << " GMACs at " << size << "x" << size << ", "
              << specification.default_classes() << " classes\n";
  }
}

void print_summary(const TrainConfig& config) {
  const Specification& specification = find_specification(config.model.value_or("resnet18"));
  ResNet net = models::make_resnet(specification.name, {.num_classes = config.num_classes, .initialize = false});
  const int64_t size = config.train_crop_size.value_or(specification.default_image_size());
  std::cout << models::to_string(models::summarize(net, 1, size, size));
}

// The folder that the flags name, or nothing: then it is named after model and data, which are not known yet.
std::optional<fs::path> named_run_dir(const TrainConfig& config) {
  if (!config.output_dir.empty()) return config.output_dir;
  if (!config.name.empty()) return fs::path("runs") / config.name;
  if (config.resume.empty()) return std::nullopt;
  check(config.resume != "auto", "--resume auto looks in the folder of the run: add --output-dir DIR or --name NAME");
  const fs::path run = run_dir_of(config.resume);
  return run.empty() ? std::nullopt : std::optional(run);
}

bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return fs::equivalent(a, b, ignored);
}

fs::path automatic_run_dir(const std::string& model, const std::string& data) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &local);
  std::string name = model + "-" + data + "-" + text;
  const auto is_plain = [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '_' || c == '-'; };
  std::replace_if(name.begin(), name.end(), std::not_fn(is_plain), '_');
  return fs::path("runs") / name;
}

// Run folders are created and locked before anything is computed for them.
class RunFolder {
 public:
  explicit RunFolder(const fs::path& path) : path_(path) {
    make_writable_directory(path);
    lock_ = std::make_unique<RunLock>(path);
  }
  const fs::path& path() const { return path_; }
  bool holds_run() const {
    std::error_code ignored;
    return fs::exists(path_ / "checkpoints", ignored) && !fs::is_empty(path_ / "checkpoints", ignored);
  }
  // Leaves nothing of an earlier run that a new one would mix with.
  void clear() const {
    for (const char* name :
         {"checkpoints", "tb", "metrics.jsonl", "summary.json", "report.html", "run.json", kFailedBatchFile}) {
      std::error_code error;
      fs::remove_all(path_ / name, error);
      check(!error, "cannot remove ", printable((path_ / name).string()), ": ", error.message());
    }
  }

 private:
  fs::path path_;
  std::unique_ptr<RunLock> lock_;
};

// `limit` samples of `dataset`, evenly spread over it.
DatasetPtr limited(const DatasetPtr& dataset, std::optional<int64_t> limit) {
  if (!dataset || !limit || *limit >= dataset->size()) return dataset;
  std::vector<int64_t> indices(static_cast<size_t>(*limit));
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<int64_t>(i) * dataset->size() / *limit;
  return subset(dataset, std::move(indices));
}

DatasetPair open_data(const TrainConfig& config, bool needs_val = true) {
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

// Before any work is done: throws if --min-free cannot be kept, warns if the checkpoints will not find room.
void check_disk(const fs::path& run_dir, ResNet& net, const TrainConfig& config) {
  std::error_code error;
  const fs::space_info space = fs::space(run_dir, error);
  if (error) return;
  const uint64_t one = estimate_checkpoint_bytes(net, config);
  const auto kept = static_cast<uint64_t>(config.min_free);
  check(kept == 0 || space.available >= one + kept, "--min-free: ", human_bytes(space.available), " are free for ",
        printable(run_dir.string()), ", a checkpoint takes ", human_bytes(one), " and ", human_bytes(kept),
        " have to stay free; free some space or choose another --output-dir");
  const uint64_t needed = 3 * one;  // last, best, and the one being written
  if (space.available < needed + kept) {
    log_warning("only " + human_bytes(space.available) + " are free for " + printable(run_dir.string()) +
                ", checkpoints need up to " + human_bytes(needed));
  }
}

void say_what_is_next(const std::string& program, const TrainSetup& setup, const TrainOutcome& outcome) {
  const std::string dir = printable(setup.run_dir.string());
  const char* label = "result   ";
  for (const std::string& line : result_lines(setup.config, outcome)) {
    log_info(styled(Style::bold, std::exchange(label, "         ")) + line);
  }
  std::error_code ignored;
  if (fs::exists(setup.run_dir / "report.html", ignored)) {
    log_info(styled(Style::bold, "report   ") + printable(fs::absolute(setup.run_dir / "report.html").string()));
  }
  log_info(styled(Style::bold, "next     ") + program + " --test-only --resume " + dir);
  const std::string more = outcome.reason == "max_steps" ? "" : " --epochs " + std::to_string(2 * *setup.config.epochs);
  log_info("         " + program + " --output-dir " + dir + " --resume auto" + more);
  if (setup.facts.generated) {
    log_info("         " + program +
             " --data-path DIR --model resnet18      pictures of your own: DIR/train/CLASS/*.jpg, DIR/val/CLASS/*.jpg");
  }
}

// Tests the weights, and their average if the checkpoint has one.
int test_network(const TrainSetup& setup) {
  const auto test_one = [&](const char* what) {
    const TestOutcome outcome = test(setup);
    if (!outcome.complete) return false;
    if (setup.ranks != nullptr && !setup.ranks->is_first()) return true;
    std::cout << test_line(setup.config, setup.facts, outcome, what) << std::endl;
    return true;
  };
  if (!test_one("test")) return 128 + stop_signal();
  if (setup.resume.checkpoint && setup.resume.checkpoint->average) {
    load_weights(*setup.resume.checkpoint->average, *setup.model.module);
    if (!test_one("test ema")) return 128 + stop_signal();
  }
  return 0;
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

// What flags and files say before a run to resume is looked at; starts the log.
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

// A run that is ready to begin. It stays where it is: the setup points to the net.
struct Run {
  Prepared prepared;
  DeviceChoice choice;
  std::optional<ResNet> net;
  std::optional<ResNet> average;  // of its weights, with --model-ema
  TrainSetup setup;
};

void make_net(Run& run) {
  const TrainConfig& config = run.prepared.config;
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

// Null if a signal came before there was anything to save.
std::unique_ptr<Run> make_run(const TrainCommand& command, const TrainConfig& first, Communicator* ranks) {
  auto run = std::make_unique<Run>();
  run->prepared = prepare(command, first, ranks);
  TrainConfig& config = run->prepared.config;
  run->choice = choose_device(config.device, current_launch().local_rank);
  check_precision(config, run->choice.device);
  TrainSetup& setup = run->setup;
  setup.device = run->choice.device;
  setup.ranks = ranks;
  setup.resume = std::move(run->prepared.resume);
  setup.command_line = command.words;
  setup.data = open_data(config);
  setup.facts = describe_data(setup.data, config);
  if (const int signal = share_step_end(ranks, {.stop_signal = stop_signal()}).stop_signal; signal != 0) {
    log_info(std::string("stopped by ") + signal_name(signal) + " before the training began");
    return nullptr;
  }
  if (!config.model) config.model = default_model(setup.facts);
  const Specification& specification = find_specification(*config.model);
  setup.config = resolve(
      config, setup.facts,
      {.image_size = specification.default_image_size(), .minimum_image_size = specification.minimum_image_size()});
  make_net(*run);
  return run;
}

// The same run with as many epochs as fit into --budget, by measuring some steps of it.
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

int train_or_test(const TrainCommand& command, const TrainConfig& first, Communicator* ranks,
                  bool part_of_experiment = false) {
  std::unique_ptr<Run> run = make_run(command, first, ranks);
  if (!run) return kExitStopped;
  if (run->setup.config.test_only) {
    const TrainConfig& config = run->prepared.config;
    check(run->setup.resume.checkpoint || !config.weights.empty(), "--test-only: ", printable(config.resume),
          " has no checkpoint to test");
    return test_network(run->setup);
  }
  if (!run->setup.config.selftest.empty()) {
    check(ranks == nullptr, "--selftest starts processes of its own; start it alone, without mpirun");
    const fs::path beside = named_run_dir(run->setup.config).value_or(fs::path("runs") / "run");
    const int64_t pictures = global_batch(run->setup.config);
    const TrainConfig config = run->setup.config;
    run.reset();  // the memory is for the processes
    return selftest_resume(config, pictures, temporary_sibling(beside, "selftest"));
  }
  if (run->setup.config.budget && !run->setup.resume.checkpoint) {
    check(ranks == nullptr, "--budget measures one process, and there are several ranks; give --epochs");
    run = fit_to_budget(std::move(run), command, first);
    if (!run) return kExitStopped;
  }
  TrainSetup& setup = run->setup;
  const bool writes = ranks == nullptr || ranks->is_first();
  if (ranks != nullptr) expect_same_run(*ranks, setup);
  if (writes) {
    std::optional<RunFolder>& folder = run->prepared.folder;
    if (!folder) folder.emplace(automatic_run_dir(setup.model.name, setup.facts.name));
    setup.run_dir = folder->path();
    if (!setup.resume.checkpoint) folder->clear();
    check_disk(setup.run_dir, *run->net, setup.config);
  }
  log_info(std::string("resnet-train ") + version());
  if (!run->choice.gpu_absence.empty())
    log_info("no GPU is used: " + run->choice.gpu_absence.substr(0, run->choice.gpu_absence.find(';')));
  if (setup.config.auto_batch) fit_batch(setup);
  const TrainOutcome outcome = train(setup);
  if (outcome.exit_code == 0 && writes && !part_of_experiment) {
    say_what_is_next(printable(command.words[0]), setup, outcome);
  }
  return outcome.exit_code;
}

// One net, or the nets of an experiment.
int train_or_test(const TrainCommand& command, const TrainConfig& first, Communicator* ranks,
                  const std::optional<Recipe>& experiment) {
  if (!experiment) return train_or_test(command, first, ranks);
  check(ranks == nullptr, "--recipe ", experiment->name,
        " trains several nets in one process; give --model NAME to "
        "train one of them by several ranks");
  return run_experiment(
      *experiment, command,
      {.train = [](const TrainCommand& one) { return train_or_test(one, first_look(one), nullptr, true); },
       .epoch_seconds =
           [](const TrainCommand& one) {
             const std::unique_ptr<Run> run = make_run(one, first_look(one), nullptr);
             return run ? measure_epoch_seconds(run->setup) : 0;
           }});
}

// Alone, or as one of several ranks: these have to end together, or hear why one does not.
int train_or_test(const TrainCommand& command) {
  catch_stop_signals();
  const TrainConfig config = first_look(command);
  const std::optional<Recipe> experiment = find_experiment(command);
  const std::unique_ptr<Communicator> ranks = connect_ranks(config);
  if (!ranks) return train_or_test(command, config, nullptr, experiment);
  try {
    const int code = train_or_test(command, config, ranks.get(), experiment);
    ranks->finish();
    return code;
  } catch (const std::bad_alloc&) {
    ranks->abandon("out of memory");
    throw;
  } catch (const std::exception& error) {
    ranks->abandon(error.what());
    throw;
  }
}

int test_input(const TrainCommand& command) {
  TrainConfig config = first_look(command);
  const std::optional<int64_t> workers = config.workers;
  config.cache_bytes = 0;  // each picture is decoded each time, as of a set that is larger than the memory
  DatasetPair data = open_data(config, /*needs_val=*/false);
  if (!data.val) data.val = data.train;  // to have its facts; only training pictures are read
  const DataFacts facts = describe_data(data, config);
  if (!config.model) config.model = default_model(facts);
  const Specification& specification = find_specification(*config.model);
  config = resolve(
      config, facts,
      {.image_size = specification.default_image_size(), .minimum_image_size = specification.minimum_image_size()});
  test_io(data, config, workers);
  return 0;
}

int run(int argc, char** argv) {
  const TrainCommand command = parse_train_command(argc, argv);
  switch (command.mode) {
    case TrainCommand::Mode::help:
      std::cout << train_help();
      return 0;
    case TrainCommand::Mode::version:
      std::cout << "resnet-train " << version() << " (" << build_description() << ")\n";
      return 0;
    case TrainCommand::Mode::list_models:
      list_models();
      return 0;
    case TrainCommand::Mode::list_recipes:
      std::cout << recipe_list();
      return 0;
    case TrainCommand::Mode::list_flags:
      std::cout << flag_tables();
      return 0;
    case TrainCommand::Mode::doctor:
      std::cout << diagnose().text;
      return 0;
    case TrainCommand::Mode::test_io:
      return test_input(command);
    case TrainCommand::Mode::summary: {
      TrainConfig config;
      apply_flags(config, command);
      print_summary(config);
      return 0;
    }
    case TrainCommand::Mode::train:
      break;
  }
  return asks_for_replay(command) ? replay(command) : train_or_test(command);
}

int report_error(int code, const char* message) {
  set_status_line("");
  std::fprintf(stderr, "resnet-train: %s\n", message);
  if (code == static_cast<int>(ErrorKind::usage)) std::fputs("resnet-train --help lists all flags\n", stderr);
  return code;
}

}  // namespace
}  // namespace engine::tools

int main(int argc, char** argv) {
  using engine::ErrorKind;
  try {
    return engine::tools::run(argc, argv);
  } catch (const engine::Error& error) {
    return engine::tools::report_error(static_cast<int>(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    std::fputs("resnet-train: out of memory; use a smaller --batch-size, or --grad-accum-steps with it\n", stderr);
    return static_cast<int>(ErrorKind::memory);
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again)
      return engine::tools::report_error(static_cast<int>(ErrorKind::internal), error.what());
    return engine::tools::report_error(
        static_cast<int>(ErrorKind::memory),
        "a thread cannot be started; use fewer --workers, or raise the limit on processes (ulimit -u)");
  } catch (const std::exception& error) {
    return engine::tools::report_error(static_cast<int>(ErrorKind::internal), error.what());
  }
}
