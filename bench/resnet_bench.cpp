// resnet-bench: how fast a ResNet trains and infers, and how far that is from what the device could do.
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <new>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/bench_flags.h"
#include "bench/commit.h"
#include "bench/layer_report.h"
#include "bench/result_table.h"
#include "bench/results.h"
#include "engine/backend.h"
#include "engine/io/file.h"
#include "engine/train/device_choice.h"
#include "engine/train/version.h"

namespace engine::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDoubtful = 9;  // measured, but a figure is not to be believed

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

Device set_up(const BenchOptions& options) {
  const DeviceChoice choice = choose_device(options.device);
  if (options.threads > 0) set_num_threads(options.threads);
  if (!options.force_impl.empty()) backend(choice.device).force_implementation(options.force_impl);
  std::fprintf(stderr, "resnet-bench %s, commit %s: %s\n", version(), commit(),
               device_description(choice.device).c_str());
  if (!choice.gpu_absence.empty())
    std::fprintf(stderr, "no GPU is used: %s\n", choice.gpu_absence.substr(0, choice.gpu_absence.find(';')).c_str());
  if (choice.device.type == DeviceType::emulated)
    std::fputs("the device is emulated: its times say nothing about a GPU\n", stderr);
  return choice.device;
}

// The first failure's code; else whether something is doubtful.
int exit_code(const std::vector<CellResult>& results, bool layers_agree) {
  int code = layers_agree ? 0 : kDoubtful;
  for (const CellResult& result : results) {
    if (!result.error.empty()) return result.exit_code;
    if (!result.doubts.empty()) code = kDoubtful;
  }
  return code;
}

// The milliseconds of each step of a cell; none of one that failed.
Json step_times(const CellResult& result) {
  Json times = Json::array();
  for (const double step : result.steps) times.push_back(1e3 * step);
  return times;
}

// Of the net's rows in the table of layers, those with parameters. "loss" and "after LAYER" stand there too.
std::set<std::string> layers_with_parameters(const std::string& model) {
  std::set<std::string> names;
  models::ResNet net = models::make_resnet(model, {.initialize = false});
  for (const NamedParameter& parameter : net.parameters())
    names.insert(parameter.name.substr(0, parameter.name.rfind('.')));
  return names;
}

bool has_layer(const std::string& model, const std::string& layer) {
  constexpr std::string_view kAfter = "after ";
  const std::string name = layer.starts_with(kAfter) ? layer.substr(kAfter.size()) : layer;
  return name == "loss" || layers_with_parameters(model).contains(name);
}

// Before anything is measured: what cannot be explained or written.
void check_layer_flags(const BenchOptions& options, const std::vector<BenchCase>& cells) {
  if (!options.html.empty()) make_writable_directory(std::filesystem::absolute(options.html).parent_path());
  if (options.explain.empty()) return;
  for (const BenchCase& cell : cells)
    if (has_layer(cell.work.model, options.explain)) return;
  std::string known;
  for (const std::string& name : layers_with_parameters(cells.front().work.model)) known += " " + name;
  fail(ErrorKind::usage, "--explain '", options.explain, "': no model of this run has such a layer; ",
       cells.front().work.model, " has", known);
}

// On stdout: it was asked for.
void report_layers(const BenchOptions& options, const BenchCase& cell, CellRunner& runner, Results& results,
                   std::vector<LayerReport>& reports) {
  const LayerReport report = profile_layers({.work = cell.work,
                                             .force_impl = cell.force_impl,
                                             .warmup_limit = options.max_seconds,
                                             .seconds = options.min_seconds,
                                             .seconds_per_candidate = options.quick ? 0.0 : 0.05,
                                             .only = options.explain},
                                            runner.ceilings(cell.work.precision));
  if (options.layers) print_layers(stdout, report);
  if (!options.explain.empty() && has_layer(cell.work.model, options.explain))
    explain_layer(stdout, report, options.explain);
  std::fflush(stdout);
  results.attach("layers", layers_json(report));
  reports.push_back(report);
  // After each cell: an interrupted run keeps what it has.
  if (!options.html.empty()) write_file_atomically(options.html, layers_html(reports), ErrorKind::usage);
}

int measure_grid(const BenchOptions& options) {
  const Device device = set_up(options);
  const std::vector<BenchCase> cells = grid(options, device);
  check_layer_flags(options, cells);
  Results results(options.results_file);
  CellRunner runner(device, {.min_seconds = options.min_seconds,
                             .max_seconds = options.max_seconds,
                             .quick = options.quick,
                             .detail = options.detail,
                             .data_path = options.data_path});
  const RunFacts facts = {.command_line = options.command_line,
                          .started = utc_now(),
                          .quick = options.quick,
                          .driver = runner.monitor().driver_version()};
  const bool layers = options.layers || !options.explain.empty() || !options.html.empty();
  std::vector<CellResult> measured;
  std::vector<LayerReport> reports;
  int layers_failure = 0;
  print_table_header(stderr);
  for (const BenchCase& cell : cells) {
    measured.push_back(runner.run(cell));
    const CellResult& result = measured.back();
    print_table_row(stderr, result);
    results.add(result_row(result, facts));
    results.attach("step_ms", step_times(result));
    if (!layers || !result.error.empty()) continue;
    try {
      report_layers(options, cell, runner, results, reports);
    } catch (const Error& error) {  // its row is measured, and the other cells still can be
      std::fprintf(stderr, "  FAILED the layers: %s\n", error.what());
      if (layers_failure == 0) layers_failure = static_cast<int>(error.kind());
    }
  }
  print_table_footer(stderr, measured);
  if (options.quick) std::fputs("--quick: these figures mean nothing\n", stderr);
  results.finish();
  if (options.json) std::cout << results.json() << std::flush;
  bool layers_agree = true;
  for (const LayerReport& report : reports) {
    if (options.quick || report.emulated || report.consistent) continue;
    std::fprintf(stderr, "DOUBTFUL: %s\n", disagreement(report).c_str());
    layers_agree = false;
  }
  const int code = exit_code(measured, layers_agree);
  return layers_failure != 0 && (code == 0 || code == kDoubtful) ? layers_failure : code;
}

int test_input(const BenchOptions& options) {
  const Device device = set_up(options);
  Results results(options.results_file, "input");
  const int64_t size = options.image_size > 0 ? options.image_size : 224;
  const int64_t batch = options.batches.empty() ? 64 : options.batches.front();
  const std::vector<InputStage> stages =
      measure_input(options.test_io, size, batch, device, num_threads(), options.min_seconds);
  print_input_table(stderr, stages);
  for (const InputStage& stage : stages) results.add(input_row(stage));
  results.finish();
  if (options.json) std::cout << results.json() << std::flush;
  return 0;
}

int run(int argc, char** argv) {
  const BenchOptions options = parse_bench_flags(argc, argv);
  switch (options.task) {
    case BenchOptions::Task::help:
      std::cout << bench_help();
      return 0;
    case BenchOptions::Task::version:
      std::cout << "resnet-bench " << version() << ", commit " << commit() << " (" << build_description() << ")\n";
      return 0;
    case BenchOptions::Task::list_models:
      for (const models::Specification& model : models::specifications()) std::cout << model.name << "\n";
      return 0;
    case BenchOptions::Task::test_io:
      return test_input(options);
    case BenchOptions::Task::measure:
      break;
  }
  return measure_grid(options);
}

int report_error(ErrorKind kind, const std::string& message) {
  std::cerr << "resnet-bench: " << message << std::endl;
  if (kind == ErrorKind::usage) std::cerr << "resnet-bench --help lists all flags" << std::endl;
  return static_cast<int>(kind);
}

}  // namespace
}  // namespace engine::bench

int main(int argc, char** argv) {
  using engine::ErrorKind;
  using engine::bench::report_error;
  try {
    return engine::bench::run(argc, argv);
  } catch (const engine::Error& error) {
    return report_error(error.kind(), error.what());
  } catch (const std::bad_alloc&) {
    return report_error(ErrorKind::memory, "out of memory");
  } catch (const std::exception& error) {
    return report_error(ErrorKind::internal, error.what());
  }
}
