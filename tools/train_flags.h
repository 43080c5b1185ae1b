#pragma once
// The command line of resnet-train.
#include <string>
#include <vector>

#include "engine/train/config.h"

namespace engine::tools {

struct GivenSetting {
  const Setting* setting = nullptr;
  std::string value;
  std::string origin;  // the flag, for messages
};

struct TrainCommand {
  enum class Mode {
    train,
    help,
    version,
    list_models,
    list_flags,
    list_recipes,
    summary,
    doctor,
    test_io
  } mode = Mode::train;
  std::vector<std::string> config_files;  // --config, in order
  std::vector<GivenSetting> given;
  std::vector<std::string> words;  // argv
};

// Throws Error(usage) for a flag that does not exist, with the nearest that does, and for one without its value.
TrainCommand parse_train_command(int argc, const char* const* argv);

// Assigns the given settings, checking their values.
void apply_flags(TrainConfig& config, const TrainCommand& command);

// All flags by group, and examples.
std::string train_help();

// The same as Markdown tables: what docs/training.md holds.
std::string flag_tables();

}  // namespace engine::tools
