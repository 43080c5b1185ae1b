#include "tools/train_flags.h"

#include <CLI/CLI.hpp>
#include <map>
#include <sstream>

#include "engine/error.h"
#include "engine/text.h"

namespace engine::tools {
namespace {

using Mode = TrainCommand::Mode;

struct ModeFlag {
  Mode mode;
  const char* flags;
  const char* help;
};
constexpr ModeFlag kModes[] = {
    {Mode::help, "-h,--help", "this text"},
    {Mode::version, "--version", "version and build"},
    {Mode::list_models, "--list-models", "models, parameters and GMACs"},
    {Mode::list_recipes, "--list-recipes", "recipes, their flags and the accuracy to expect"},
    {Mode::list_flags, "--list-flags", "the flags as Markdown tables, as in docs/training.md"},
    {Mode::summary, "--summary", "each layer of --model: output, parameters, MACs"},
    {Mode::doctor, "--doctor", "what this machine offers, and what to mend"},
    {Mode::test_io, "--test-io", "how fast the pictures come, without a network; writes DIR/test_io.json"},
};
constexpr const char* kConfigFlag = "--config";
constexpr const char* kAmpFlag = "--amp";

std::vector<std::string> names_of(const std::string& flags) {
  std::vector<std::string> names;
  std::istringstream parts(flags);
  for (std::string name; std::getline(parts, name, ',');) names.push_back(name);
  return names;
}

// The help with the accepted words.
std::string meaning(const Setting& setting) {
  std::string choices;
  for (const std::string& choice : names_of(setting.choices)) {
    choices += (choices.empty() ? "" : ", ") + choice.substr(0, choice.find('|'));
  }
  return choices.empty() ? setting.help : std::string(setting.help) + ": " + choices;
}

// The first long one.
std::string main_name(const Setting& setting) {
  for (const std::string& name : names_of(setting.flags)) {
    if (name.starts_with("--")) return name;
  }
  return setting.flags;
}

bool is_list(const Setting& setting) {
  return std::holds_alternative<std::vector<double> TrainConfig::*>(setting.member);
}

std::vector<std::string> all_flags() {
  std::vector<std::string> all = {kConfigFlag, kAmpFlag};
  const auto add = [&](const std::string& flags) {
    for (const std::string& name : names_of(flags)) {
      if (name.starts_with("--")) all.push_back(name);
    }
  };
  for (const Setting& setting : settings()) add(setting.flags);
  for (const ModeFlag& flag : kModes) add(flag.flags);
  return all;
}

[[noreturn]] void fail_unknown(const std::string& argument) {
  const std::string flag = argument.substr(0, argument.find('='));
  check(flag.starts_with("-"), "unexpected argument '", printable(argument),
        "'; the only one without a flag is the data folder");
  fail(ErrorKind::usage, "unknown flag ", printable(flag), "; did you mean ", nearest(flag, all_flags()), "?");
}

std::string joined(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : ",") + value;
  return text;
}

}  // namespace

TrainCommand parse_train_command(int argc, const char* const* argv) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  TrainCommand command;
  command.words.assign(argv, argv + argc);
  std::map<std::string, std::vector<std::string>> values;
  std::map<std::string, CLI::Option*> options;
  std::vector<std::string> positional;
  for (const Setting& setting : settings()) {
    if (is_switch(setting)) {
      options[setting.key] = app.add_flag(setting.flags);
      continue;
    }
    CLI::Option* option = app.add_option(setting.flags, values[setting.key]);
    options[setting.key] = option;
    const bool value_optional = std::string_view(setting.key) == "resume";
    if (is_list(setting)) {
      option->expected(1, 1000);
    } else {
      option->expected(value_optional ? 0 : 1, 1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    }
  }
  std::map<Mode, CLI::Option*> modes;
  for (const ModeFlag& flag : kModes) modes[flag.mode] = app.add_flag(flag.flags);
  app.add_option(kConfigFlag, command.config_files)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  const CLI::Option* amp = app.add_flag(kAmpFlag);
  app.add_option("data", positional)->expected(0, 1000);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string text = error.what();  // "--lr: 1 required TEXT missing"
    fail(ErrorKind::usage, text.substr(0, text.find(':')), " needs a value");
  } catch (const CLI::ParseError& error) {
    fail(ErrorKind::usage, error.what());
  }
  if (const std::vector<std::string> unknown = app.remaining(); !unknown.empty()) fail_unknown(unknown.front());
  for (const ModeFlag& flag : kModes) {
    if (modes[flag.mode]->count() == 0) continue;
    command.mode = flag.mode;
    break;
  }

  for (const Setting& setting : settings()) {
    const CLI::Option* option = options[setting.key];
    if (option->count() == 0) continue;
    std::string value = is_switch(setting) ? "true" : joined(values[setting.key]);
    if (value.empty() && std::string_view(setting.key) == "resume") value = "auto";
    command.given.push_back({&setting, value, main_name(setting)});
  }
  if (positional.size() > 1) fail_unknown(positional[1]);
  if (!positional.empty()) {
    const Setting* path = find_setting("data_path");
    check(options["data_path"]->count() == 0, "the data folder is given twice: ", printable(positional.front()),
          " and --data-path");
    command.given.push_back({path, positional.front(), "--data-path"});
  }
  if (amp->count() > 0) {
    check(options["precision"]->count() == 0, "--amp stands for --precision bf16; give one of them");
    command.given.push_back({find_setting("precision"), "bf16", kAmpFlag});
  }
  return command;
}

void apply_flags(TrainConfig& config, const TrainCommand& command) {
  for (const GivenSetting& given : command.given) assign_setting(config, *given.setting, given.value, given.origin);
}

std::string train_help() {
  std::ostringstream out;
  const auto line = [&](const std::string& flags, const std::string& help) {
    constexpr size_t kColumn = 34;
    out << "  " << flags << std::string(flags.size() < kColumn ? kColumn - flags.size() : 2, ' ') << help << '\n';
  };
  const auto spaced = [](const std::string& flags) {
    std::string text;
    for (const std::string& name : names_of(flags)) text += (text.empty() ? "" : ", ") + name;
    return text;
  };
  out << "resnet-train [DIR] [flags]: trains a ResNet. Without flags: resnet20 on pictures that it draws itself.\n";
  const char* group = "";
  for (const Setting& setting : settings()) {
    if (std::string_view(setting.group) != group) out << '\n' << (group = setting.group) << '\n';
    const std::string value = default_text(setting);
    const std::string help = meaning(setting) + (value.empty() ? "" : " (" + value + ")");
    line(spaced(setting.flags) + (setting.value[0] ? " " : "") + setting.value, help);
    if (std::string_view(setting.key) == "precision") line(kAmpFlag, "the same as --precision bf16");
    if (std::string_view(setting.key) == "checkpoint_hist") {
      line(std::string(kConfigFlag) + " FILE", "settings from a run.json or JSON object; flags go before it");
    }
  }
  out << "\nInstead of training\n";
  for (const ModeFlag& flag : kModes) line(spaced(flag.flags), flag.help);
  out << R"(
Examples
  resnet-train                                          the built-in pictures, a few minutes
  resnet-train --data-path DIR --model resnet18 --epochs 30 -b 64 --precision bf16
  resnet-train --output-dir runs/flowers --resume auto  go on where it was stopped
  resnet-train --test-only --resume runs/flowers        accuracy of its newest checkpoint

Exit codes: 0 done, 1 internal error, 2 usage, 3 data, 4 checkpoint, 5 device, 6 memory, 7 diverged, 75 stopped by a signal
)";
  return out.str();
}

std::string flag_tables() {
  std::ostringstream out;
  const auto row = [&](const std::string& flags, const char* value, const std::string& normal, std::string help) {
    std::string names;
    for (const std::string& name : names_of(flags)) names += (names.empty() ? "`" : ", `") + name + "`";
    for (size_t i = help.find('|'); i != std::string::npos; i = help.find('|', i + 2)) help.insert(i, "\\");
    out << "| " << names << " | " << value << " | " << normal << " | " << help << " |\n";
  };
  const char* group = "";
  for (const Setting& setting : settings()) {
    if (std::string_view(setting.group) != group) {
      group = setting.group;
      out << (out.tellp() > 0 ? "\n" : "") << "### " << group
          << "\n\n| flag | value | default | |\n|---|---|---|---|\n";
    }
    row(setting.flags, setting.value, default_text(setting), meaning(setting));
    if (std::string_view(setting.key) == "precision") row(kAmpFlag, "", "", "the same as --precision bf16");
  }
  row(kConfigFlag, "FILE", "", "settings from a run.json or JSON object; flags go before it");
  out << "\n### Instead of training\n\n| flag | value | default | |\n|---|---|---|---|\n";
  for (const ModeFlag& flag : kModes) row(flag.flags, "", "", flag.help);
  return out.str();
}

}  // namespace engine::tools
