#pragma once
// What a command line comes to: flags, recipe, files, data, network and folder, brought together, cheap checks first.
#include <memory>
#include <optional>

#include "engine/dist/communicator.h"
#include "engine/train/device_choice.h"
#include "engine/train/trainer.h"
#include "models/resnet.h"
#include "tools/run_folder.h"
#include "tools/train_flags.h"

namespace engine::tools {

// What flags and files say before a run to resume is looked at; starts the log.
TrainConfig first_look(const TrainCommand& command);

DatasetPair open_data(const TrainConfig& config, bool needs_val = true);

// A run that is ready to begin. It stays where it is: the setup points to the net.
struct Run {
  TrainConfig config;               // as given: what is automatic is still open
  std::optional<RunFolder> folder;  // if the flags name one
  DeviceChoice choice;
  std::optional<models::ResNet> net;
  std::optional<models::ResNet> average;  // of its weights, with --model-ema
  TrainSetup setup;
};

// `first` is that of first_look(). Null if a signal came before there was anything to save. Throws Error, the checks
// that need no data before those that do.
std::unique_ptr<Run> make_run(const TrainCommand& command, const TrainConfig& first, Communicator* ranks);

// The same run with as many epochs as fit into --budget, by measuring some steps of it.
std::unique_ptr<Run> fit_to_budget(std::unique_ptr<Run> run, const TrainCommand& command, const TrainConfig& first);

}  // namespace engine::tools
