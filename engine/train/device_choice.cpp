#include "engine/train/device_choice.h"

#include "engine/backend.h"
#include "engine/error.h"

namespace engine {

DeviceChoice choose_device(const std::string& name, int local_rank) {
  std::string reason;
  // A launcher may show each rank one GPU only, which then is the first.
  const Device own = {DeviceType::cuda, local_rank};
  if ((name == "auto" || name == "cuda") && local_rank > 0 && available(own)) return {own, ""};
  if (name == "auto") {
    const Device device = best_device();
    if (device.type != DeviceType::cpu || available({DeviceType::cuda}, &reason)) return {device, ""};
    return {device, reason};
  }
  Device device;
  if (name.starts_with("cuda")) device = {DeviceType::cuda, name.size() > 5 ? std::stoi(name.substr(5)) : 0};
  if (name == "emulated") device = {DeviceType::emulated};
  if (!available(device, &reason)) fail(ErrorKind::device, "--device ", name, ": ", reason);
  return {device, ""};
}

std::string device_description(Device device) {
  return to_string(device) + ": " + backend(device).description();
}

void check_precision(const TrainConfig& config, Device device) {
  if (device.type != DeviceType::cpu) return;
  const std::string description = device_description(device);
  if (config.precision == "tf32") backend(device).set_tf32(true);  // says why not
  if (config.precision == "fp16") {
    fail(ErrorKind::device, "--precision fp16: ", description,
         " computes in fp32 and bf16; use one of these, or --device cuda");
  }
  if (config.precision != "bf16") return;
  if (description.find("with bf16") == std::string::npos) {
    fail(ErrorKind::device, "--precision bf16: ", description,
         " has no bf16 instructions, so it would be slower than fp32; use --precision fp32");
  }
}

void set_up_device(Device device, const TrainConfig& config) {
  set_num_threads(static_cast<int>(*config.threads));
  backend(device).set_deterministic(config.deterministic);
  backend(device).set_tf32(config.precision == "tf32");
  backend(device).force_implementation(config.force_impl);
}

}  // namespace engine
