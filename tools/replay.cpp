#include "tools/replay.h"

#include <cmath>
#include <iostream>

#include "engine/error.h"
#include "engine/text.h"
#include "engine/train/device_choice.h"
#include "engine/train/failed_batch.h"
#include "engine/train/layer_report.h"
#include "engine/train/pipeline.h"
#include "models/resnet.h"

namespace engine::tools {

bool asks_for_replay(const TrainCommand& command) {
  TrainConfig config;
  apply_flags(config, command);
  return !config.replay.empty();
}

int replay(const TrainCommand& command) {
  TrainConfig asked;
  apply_flags(asked, command);
  const FailedBatchFile file(asked.replay);
  const FailedBatch& batch = file.batch();
  TrainConfig config;
  apply_config_json(config, batch.config, printable(asked.replay));
  apply_flags(config, command);
  check(config.model && config.num_classes && config.precision && config.threads && config.label_smoothing,
        "--replay: ", printable(asked.replay), " lacks settings of its run; it was written by another version");
  const Device device = choose_device(config.device).device;
  check_precision(config, device);
  set_up_device(device, config);

  models::ResNet net = models::make_resnet(*config.model, {.num_classes = config.num_classes, .initialize = false});
  file.load_state(net);
  net.to(device);
  const TrainableModel model = {.name = *config.model,
                                .module = &net,
                                .forward = [&net](const Tensor& images) { return net(images); },
                                .num_classes = net.num_classes()};
  const InputFormat input = input_format(config, {}, device);
  const bool scaled = *config.precision == "fp16";
  const LayerReport report = inspect_layers(model, loss_options(config), batch.images.to(input.dtype).to(device),
                                            batch.target.to(device), scaled ? batch.loss_scale : 1);
  std::cout << "step " << batch.step << " at a learning rate of " << batch.lr << ": " << printable(batch.reason) << "\n"
            << batch.images.size(0) << " samples:";
  for (const int64_t index : batch.indices) std::cout << ' ' << index;
  std::cout << "\nnow on " << device_description(device) << ", " << *config.precision;
  if (scaled) std::cout << ", loss scaled by " << batch.loss_scale;
  std::cout << ": loss ";
  if (std::isnan(report.loss))
    std::cout << "NaN";
  else
    std::cout << report.loss;
  std::cout << "\n\n" << report.text() << std::flush;
  return report.first_not_finite.empty() ? 0 : static_cast<int>(ErrorKind::diverged);
}

}  // namespace engine::tools
