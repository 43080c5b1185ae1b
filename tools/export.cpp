#include "tools/export.h"

#include <filesystem>
#include <map>
#include <optional>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/nn/weights.h"
#include "engine/text.h"
#include "engine/train/checkpointer.h"
#include "engine/train/log.h"
#include "engine/train/resume.h"
#include "engine/train/weights_info.h"
#include "models/onnx.h"
#include "models/resnet.h"
#include "tools/run_folder.h"
#include "tools/train_run.h"

namespace engine::tools {
namespace {

namespace fs = std::filesystem;

// Weights and what is known of them.
struct Source {
  SafetensorsFile file;
  WeightsInfo info;  // without a model if the file says nothing of itself
  std::optional<std::string> model;
};

Source describe(SafetensorsFile file, std::optional<std::string> model) {
  WeightsInfo info = weights_info(file.metadata(), file.origin());
  if (!info.model.empty()) model = info.model;
  return {std::move(file), std::move(info), std::move(model)};
}

Source find_source(const TrainConfig& config) {
  if (config.resume.empty()) return describe(SafetensorsFile::open(find_weights(config.weights)), {});
  ResumePoint point = find_resume_point(config.resume, named_run_dir(config).value_or(""), /*locked=*/false);
  for (const std::string& note : point.notes) log_warning(note);
  if (!point.checkpoint) {
    fail(ErrorKind::checkpoint, "--export: ", printable(config.resume), " has no checkpoint yet");
  }
  TrainConfig saved;
  apply_config_json(saved, point.config, "state.json");
  return describe(std::move(point.checkpoint->model), saved.model);
}

// What the file says of itself goes into the other.
std::map<std::string, std::string> metadata_of(const SafetensorsFile& file) {
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : file.metadata()) {
    if (key.starts_with("engine.")) metadata[key] = value;
  }
  return metadata;
}

DType export_dtype(const std::string& name) {
  return name == "bf16" ? DType::bf16 : name == "fp16" ? DType::f16 : DType::f32;
}

}  // namespace

bool asks_for_export(const TrainCommand& command) {
  TrainConfig config;
  apply_flags(config, command);
  return !config.export_file.empty();
}

int export_net(const TrainCommand& command) {
  const TrainConfig config = first_look(command);
  const fs::path path = config.export_file;
  const bool onnx = path.extension() == ".onnx";
  const auto& [file, info, saved_model] = find_source(config);
  check(config.model || saved_model, "--export: ", printable(file.origin()),
        " does not say which model it is of; add --model NAME");
  const std::string model = config.model ? *config.model : *saved_model;
  const TensorView* head = file.find("fc.weight");
  std::optional<int64_t> classes = config.num_classes;
  if (!classes && head != nullptr && head->shape.size() == 2) classes = head->shape[0];
  models::ResNet net = models::make_resnet(model, {.num_classes = classes, .initialize = false});
  load_weights(file, net);
  check_finite(net.state(), "--export", config.allow_nonfinite);

  std::map<std::string, std::string> metadata = metadata_of(file);
  std::string how;
  FileDigest written;
  if (onnx) {
    std::optional<int64_t> size = config.val_crop_size;
    if (!size && !info.model.empty()) size = info.transform.size;
    const bool fold = config.export_bn == "fold";
    written = models::save_onnx(path, net, {.fold_batch_norm = fold, .image_size = size, .metadata = metadata});
    how = fold ? "batch norms folded into the convolutions" : "batch norms kept";
  } else {
    metadata.merge(default_safetensors_metadata());
    const DType dtype = export_dtype(config.export_dtype);
    written = save_safetensors(path, net, {.dtype = dtype, .metadata = metadata});
    how = name_of(dtype);
  }
  log_info("export   " + model + " with " + std::to_string(net.num_classes()) + " classes, " + how + ": " +
           printable(path.string()) + ", " + human_bytes(written.bytes));
  return 0;
}

}  // namespace engine::tools
