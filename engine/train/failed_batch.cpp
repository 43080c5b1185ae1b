#include "engine/train/failed_batch.h"

#include <algorithm>
#include <charconv>

#include "engine/error.h"
#include "engine/nn/weights.h"
#include "engine/text.h"

namespace engine {
namespace {

constexpr const char* kFormat = "engine-failed-batch-1";
constexpr std::string_view kModelPrefix = "model.";

std::string number_text(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

const std::string& text_of(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end())
    fail(ErrorKind::checkpoint, "--replay: ", printable(file.origin()), " holds no ", key,
         ", so it is no batch that a diverged run saved");
  return found->second;
}

double number_of(const SafetensorsFile& file, const std::string& key) {
  const std::string& text = text_of(file, key);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail(ErrorKind::checkpoint, "--replay: ", printable(file.origin()), ": ", key, " is '", printable(text),
         "', expected a number");
  return value;
}

}  // namespace

void write_failed_batch(const std::filesystem::path& path, const FailedBatch& batch, Module& module) {
  std::vector<NamedTensor> tensors = {
      {"batch.images", batch.images.detach().to(Device{}).to(DType::f32)},
      {"batch.target", batch.target.detach().to(Device{})},
      {"batch.indices", Tensor::from(batch.indices, {static_cast<int64_t>(batch.indices.size())})}};
  for (const NamedTensor& tensor : module.state())
    tensors.push_back({std::string(kModelPrefix) + tensor.name, tensor.tensor});
  const HostState state(tensors);
  write_safetensors(path, state.views(),
                    {{"format", kFormat},
                     {"step", std::to_string(batch.step)},
                     {"lr", number_text(batch.lr)},
                     {"loss_scale", number_text(batch.loss_scale)},
                     {"reason", batch.reason},
                     {"config", batch.config}});
}

std::string keep_failed_batch(const std::filesystem::path& run_dir, int64_t rank, const FailedBatch& batch,
                              Module& module) {
  const std::string name = rank == 0 ? kFailedBatchFile : "failed-batch-rank" + std::to_string(rank) + ".safetensors";
  const std::string path = (run_dir / name).string();
  try {
    write_failed_batch(path, batch, module);
  } catch (const Error& error) {
    return std::string("the batch could not be saved: ") + error.what();
  }
  return "the batch is saved: resnet-train --replay " + printable(path) + " shows the largest values of each layer";
}

FailedBatchFile::FailedBatchFile(const std::filesystem::path& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  origin_ = printable(file.origin());
  const std::string& format = text_of(file, "format");
  if (format != kFormat)
    fail(ErrorKind::checkpoint, "--replay: ", origin_, " has the format '", printable(format), "', expected ", kFormat,
         "; a run that diverges writes such a file into its folder");
  batch_.step = static_cast<int64_t>(number_of(file, "step"));
  batch_.lr = number_of(file, "lr");
  batch_.loss_scale = number_of(file, "loss_scale");
  batch_.reason = text_of(file, "reason");
  batch_.config = text_of(file, "config");
  for (NamedTensor& tensor : read_state(file)) {
    if (tensor.name == "batch.images")
      batch_.images = tensor.tensor;
    else if (tensor.name == "batch.target")
      batch_.target = tensor.tensor;
    else if (tensor.name == "batch.indices")
      batch_.indices = tensor.tensor.to_vector<int64_t>();
    else if (tensor.name.starts_with(kModelPrefix))
      state_.push_back({tensor.name.substr(kModelPrefix.size()), tensor.tensor});
  }
  if (!batch_.images.defined() || !batch_.target.defined())
    fail(ErrorKind::checkpoint, "--replay: ", origin_, " holds no batch.images or no batch.target");
}

void FailedBatchFile::load_state(Module& module) const {
  for (NamedTensor& own : module.state()) {
    const auto found =
        std::find_if(state_.begin(), state_.end(), [&](const NamedTensor& saved) { return saved.name == own.name; });
    if (found == state_.end())
      fail(ErrorKind::checkpoint, "--replay: ", origin_, " has no tensor ", kModelPrefix, own.name);
    if (found->tensor.shape() != own.tensor.shape())
      fail(ErrorKind::checkpoint, "--replay: ", origin_, ": ", kModelPrefix, own.name, " has shape ",
           found->tensor.shape(), ", expected ", own.tensor.shape());
    own.tensor.copy_from(found->tensor);
  }
}

}  // namespace engine
