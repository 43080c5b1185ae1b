#include "bench/bench_flags.h"

#include <fnmatch.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/text.h"
#include "engine/train/device_choice.h"

namespace engine::bench {
namespace {

using Task = BenchOptions::Task;

// Every flag once: what the parser and the help know.
struct Flag {
  const char* group;
  const char* names;
  const char* value;  // empty: a switch
  const char* help;
};
constexpr Flag kFlags[] = {
    {"What", "--model", "NAME", "a model or pattern such as 'resnet*', several times or as a list (resnet50)"},
    {"What", "-b,--batch-size", "N,...", "images a step (a usual one for model and device)"},
    {"What", "--precision", "P,...", "fp32, tf32, bf16, fp16 (fp32)"},
    {"What", "--bench", "MODE", "train, inference or both (both)"},
    {"What", "--image-size,--img-size", "S", "height and width (the model's usual one)"},
    {"What", "--device", "D", "auto, cpu, cuda, cuda:N, emulated (auto)"},
    {"What", "--threads", "T", "of the CPU (all processors)"},
    {"What", "--force-impl", "I", "own or cudnn instead of the faster one, on a GPU"},
    {"Data", "--data-path,--data-dir", "DIR",
     "also train or infer through the loader, on a data set as resnet-train takes it"},
    {"Data", "--test-io", "DIR", "no model: decoding, resizing, augmenting and uploading these pictures"},
    {"How long", "--min-seconds", "S", "least time of measuring each cell after its warm-up (3)"},
    {"How long", "--max-seconds", "S", "most time of a warm-up, and of measuring a cell (120)"},
    {"How long", "--quick", "", "does it work? a few steps, whose figures mean nothing and are not judged"},
    {"Output", "--results-file", "FILE", "rows as x.json or x.csv, written after each cell: docs/benchmark-results.md"},
    {"Output", "--json", "", "the same JSON on stdout"},
    {"Output", "--detail", "", "forward, backward, optimiser and data apart"},
    {"Output", "--layers", "", "each layer and direction: time, rates, distance to its floor, alternatives"},
    {"Output", "--explain", "LAYER", "one layer in full, say layer3.0.conv2"},
    {"Output", "--html", "FILE", "the layers as a page that needs nothing else"},
    {"Instead", "-h,--help", "", "this text"},
    {"Instead", "--version", "", "version, commit and build"},
    {"Instead", "--list-models", "", "names for --model"},
};

std::vector<std::string> split(const std::string& text, char at = ',') {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

[[noreturn]] void fail_unknown(const std::string& argument) {
  std::vector<std::string> known;
  for (const Flag& flag : kFlags)
    for (const std::string& name : split(flag.names)) known.push_back(name);
  check(argument.starts_with("-"), "unexpected argument '", printable(argument), "'; a model is given as --model NAME");
  const std::string name = argument.substr(0, argument.find('='));
  fail(ErrorKind::usage, "unknown flag ", printable(name), "; did you mean ", nearest(name, known), "?");
}

double number(const std::string& flag, const std::string& text, double least) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  check(!text.empty() && *end == '\0' && value >= least && value <= 1e12, flag, " is '", printable(text),
        "', expected a number from ", least, " up");
  return value;
}

int64_t whole(const std::string& flag, const std::string& text) {
  const double value = number(flag, text, 1);
  check(value == static_cast<double>(static_cast<int64_t>(value)), flag, " is '", printable(text),
        "', expected a whole number");
  return static_cast<int64_t>(value);
}

std::vector<Mode> modes(const std::string& text) {
  if (text == "both") return {Mode::train, Mode::inference};
  if (text == "train") return {Mode::train};
  check(text == "inference" || text == "infer", "--bench is '", printable(text),
        "', expected train, inference or both");
  return {Mode::inference};
}

template <class T, class Convert>
std::vector<T> list(const std::vector<std::string>& given, const Convert& convert) {
  std::vector<T> values;
  for (const std::string& text : given) {
    for (const std::string& part : split(text)) {
      const T value = convert(part);
      if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
    }
  }
  return values;
}

// As it was typed, but for the way to the home directory and to the program, which are nobody's business.
std::string shown_command(int argc, const char* const* argv) {
  const char* home = std::getenv("HOME");
  const std::string prefix = home != nullptr && std::string_view(home).size() > 1 ? std::string(home) : "";
  std::string line = argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "resnet-bench";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const size_t value = word.starts_with("--") && word.find('=') != std::string::npos ? word.find('=') + 1 : 0;
    std::string path = word.substr(value);
    if (!prefix.empty() && (path == prefix || path.starts_with(prefix + "/"))) path.replace(0, prefix.size(), "~");
    if (std::filesystem::path(path).is_absolute()) path = std::filesystem::path(path).filename().string();
    line += " " + printable(word.substr(0, value) + path);
  }
  return line;
}

void check_results_file(const std::string& file) {
  const std::string extension = std::filesystem::path(file).extension();
  check(file.empty() || extension == ".json" || extension == ".csv", "--results-file is ", printable(file),
        ", expected a name that ends in .json or .csv");
}

void check_device_name(const std::string& name) {
  const bool number = name.starts_with("cuda:") && name.size() > 5 && name.size() < 9 &&
                      name.find_first_not_of("0123456789", 5) == std::string::npos;
  check(number || name == "auto" || name == "cpu" || name == "cuda" || name == "emulated", "--device is '",
        printable(name), "', expected auto, cpu, cuda, cuda:N or emulated");
}

// The CPU's products have two types; other devices have all.
void check_precision(Precision precision, Device device) {
  if (precision.tf32) {
    backend(device).set_tf32(true);  // says why not
    backend(device).set_tf32(false);
  }
  if (device.type != DeviceType::cpu || precision.dtype == DType::f32) return;
  const std::string description = device_description(device);
  if (precision.dtype == DType::f16) {
    fail(ErrorKind::device, "--precision fp16: ", description,
         " computes in fp32 and bf16; use one of these, or --device cuda");
  }
  check_precision({.precision = "bf16"}, device);
}

int64_t usual_batch(const models::Specification& model, Device device) {
  if (device.type == DeviceType::emulated) return 2;
  if (model.family == models::Family::cifar) return 128;
  return device.type == DeviceType::cpu ? 32 : 256;
}

}  // namespace

BenchOptions parse_bench_flags(int argc, const char* const* argv) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::map<std::string, std::vector<std::string>> values;  // by the first long name
  std::map<std::string, CLI::Option*> options;
  for (const Flag& flag : kFlags) {
    const std::vector<std::string> names = split(flag.names);
    const std::string key =
        *std::find_if(names.begin(), names.end(), [](const auto& n) { return n.starts_with("--"); });
    options[key] =
        flag.value[0]
            ? app.add_option(flag.names, values[key])->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
            : app.add_flag(flag.names);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string text = error.what();
    fail(ErrorKind::usage, text.substr(0, text.find(':')), " needs a value");
  } catch (const CLI::ParseError& error) {
    fail(ErrorKind::usage, error.what());
  }
  if (!app.remaining().empty()) fail_unknown(app.remaining().front());

  BenchOptions result;
  const auto given = [&](const char* flag) { return options.at(flag)->count() > 0; };
  const auto text = [&](const char* flag, const std::string& otherwise = "") {
    return given(flag) ? values.at(flag).back() : otherwise;
  };
  result.task = given("--help")          ? Task::help
                : given("--version")     ? Task::version
                : given("--list-models") ? Task::list_models
                : given("--test-io")     ? Task::test_io
                                         : Task::measure;
  result.models = given("--model") ? list<std::string>(values["--model"], [](const std::string& s) { return s; })
                                   : std::vector<std::string>{"resnet50"};
  result.batches = list<int64_t>(values["--batch-size"], [](const std::string& s) { return whole("--batch-size", s); });
  result.precisions = given("--precision") ? list<Precision>(values["--precision"], named_precision)
                                           : std::vector<Precision>{DType::f32};
  result.modes = modes(text("--bench", "both"));
  result.device = text("--device", "auto");
  check_device_name(result.device);
  if (given("--image-size")) result.image_size = whole("--image-size", text("--image-size"));
  if (given("--threads")) result.threads = static_cast<int>(whole("--threads", text("--threads")));
  result.force_impl = text("--force-impl");
  result.data_path = text("--data-path");
  result.detail = given("--detail");
  result.test_io = text("--test-io");
  result.quick = given("--quick");
  result.min_seconds = number("--min-seconds", text("--min-seconds", result.quick ? "0.2" : "3"), 0);
  result.max_seconds = number("--max-seconds", text("--max-seconds", result.quick ? "1" : "120"), 0);
  check(!given("--min-seconds") || !given("--max-seconds") || result.min_seconds <= result.max_seconds,
        "--min-seconds is ", result.min_seconds, ", expected at most --max-seconds, ", result.max_seconds);
  result.min_seconds = std::min(result.min_seconds, result.max_seconds);
  result.results_file = text("--results-file");
  check_results_file(result.results_file);
  result.json = given("--json");
  result.layers = given("--layers");
  result.explain = text("--explain");
  result.html = text("--html");
  result.command_line = shown_command(argc, argv);
  return result;
}

std::string bench_help() {
  std::ostringstream out;
  out << "resnet-bench [flags]: how fast a ResNet trains and infers, and how far that is from what the device could "
         "do.\n"
         "The table goes to stderr.\n";
  const char* group = "";
  for (const Flag& flag : kFlags) {
    if (std::string_view(flag.group) != group) out << '\n' << (group = flag.group) << '\n';
    std::string names = flag.names;
    for (size_t at = 0; (at = names.find(',', at)) != std::string::npos; ++at) names.insert(at + 1, " ");
    if (flag.value[0]) names += std::string(" ") + flag.value;
    constexpr size_t kColumn = 32;
    out << "  " << names << std::string(names.size() < kColumn ? kColumn - names.size() : 1, ' ') << flag.help << '\n';
  }
  out << R"(
Examples
  resnet-bench --model resnet20 --device cpu -b 128
  resnet-bench --model 'resnet*' --precision fp32,bf16 -b 64,128,256 --results-file all.csv
  resnet-bench --model resnet50 --bench train --layers --html layers.html

Exit codes: 0 measured, 9 measured but a figure is not to be believed (stderr and the column `doubts` say why), 1 internal
error, 2 usage, 3 data, 5 device, 6 memory; that of the first cell that failed, if one did: the others are measured
)";
  return out.str();
}

std::vector<std::string> matching_models(const std::vector<std::string>& patterns) {
  std::vector<std::string> names, matching;
  for (const models::Specification& model : models::specifications()) names.push_back(model.name);
  const auto matches = [](const std::string& pattern, const std::string& name) {
    return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  };
  for (const std::string& pattern : patterns) {
    if (std::none_of(names.begin(), names.end(), [&](const std::string& name) { return matches(pattern, name); })) {
      fail(ErrorKind::usage, "--model ", printable(pattern), ": no model has a name like this; did you mean ",
           nearest(pattern, names), "? resnet-bench --list-models lists all");
    }
  }
  for (const std::string& name : names)
    if (std::any_of(patterns.begin(), patterns.end(), [&](const auto& p) { return matches(p, name); }))
      matching.push_back(name);
  return matching;
}

std::vector<BenchCase> grid(const BenchOptions& options, Device device) {
  std::vector<BenchCase> cells;
  for (const Precision precision : options.precisions) check_precision(precision, device);
  for (const std::string& name : matching_models(options.models)) {
    const models::Specification& model = models::find_specification(name);
    const int64_t size = options.image_size > 0 ? options.image_size : model.default_image_size();
    check(size >= model.minimum_image_size(), "--image-size is ", size, ", but ", name, " expects at least ",
          model.minimum_image_size());
    const std::vector<int64_t> batches =
        options.batches.empty() ? std::vector<int64_t>{usual_batch(model, device)} : options.batches;
    for (const Precision precision : options.precisions)
      for (const Mode mode : options.modes)
        for (const int64_t batch : batches) {
          BenchCase cell;
          cell.work.model = name;
          cell.work.batch = batch;
          cell.work.image_size = size;
          cell.work.precision = precision;
          cell.work.mode = mode;
          cell.work.device = device;
          cell.threads = num_threads();
          cell.force_impl = options.force_impl;
          cells.push_back(std::move(cell));
        }
  }
  return cells;
}

}  // namespace engine::bench
