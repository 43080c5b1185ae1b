// resnet-train: what each of its modes does, in what order, and with which exit code. A command line becomes a run in
// tools/train_run.h; the work is done by engine/train.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <utility>

#include "engine/dist/communicator.h"
#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/nn/weights.h"
#include "engine/text.h"
#include "engine/train/auto_batch.h"
#include "engine/train/budget.h"
#include "engine/train/doctor.h"
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
#include "tools/export.h"
#include "tools/replay.h"
#include "tools/selftest.h"
#include "tools/test_io.h"
#include "tools/train_flags.h"
#include "tools/train_run.h"

namespace engine::tools {
namespace {

namespace fs = std::filesystem;
using models::find_specification;
using models::ResNet;
using models::Specification;

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
  if (!setup.facts.generated) {
    const fs::path predict = fs::path(program).replace_filename("resnet-predict");
    log_info("         " + predict.string() + " --weights " + dir + " PICTURES --html predictions.html");
  } else {
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

int train_or_test(const TrainCommand& command, const TrainConfig& first, Communicator* ranks,
                  bool part_of_experiment = false) {
  std::unique_ptr<Run> run = make_run(command, first, ranks);
  if (!run) return kExitStopped;
  if (run->setup.config.test_only) {
    const TrainConfig& config = run->config;
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
    std::optional<RunFolder>& folder = run->folder;
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
  if (asks_for_export(command)) return export_net(command);
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
