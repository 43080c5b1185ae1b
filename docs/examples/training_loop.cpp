// A training loop by hand, with a schedule, evaluation, and the best weights kept: training_loop [EPOCHS [PICTURES]]
// The data set is drawn by the library; any other of open_dataset() or open_image_folder() does as well.
#include <engine/engine.h>
#include <models/resnet.h>

#include <cstdio>
#include <cstdlib>
using namespace engine;

int main(int argc, char** argv) {
  const int epochs = argc > 1 ? std::atoi(argv[1]) : 10;
  const int64_t pictures = argc > 2 ? std::atoi(argv[2]) : 20000;

  const Device device = best_device();
  auto net = models::make_resnet("resnet20");  // 10 classes
  net.to(device);

  const DatasetPair shapes = open_shapes({.train_size = pictures, .val_size = pictures / 10});
  ImageBatches train(
      shapes.train,
      {.batch_size = 128,
       .size = 32,
       .device = device,
       .transform = sample_transform(TrainTransform{.crop = TrainTransform::Crop::pad_and_crop, .size = 32})});
  ImageBatches val(shapes.val, {.batch_size = 250,
                                .mode = LoaderMode::evaluate,
                                .size = 32,
                                .device = device,
                                .transform = sample_transform(EvalTransform{.resize = 0, .size = 32})});

  Sgd sgd(net.parameters(), {.momentum = 0.9f, .weight_decay = 1e-4f});
  const Schedule schedule = {
      .kind = ScheduleKind::cosine, .lr = 0.1, .total_steps = epochs * train.batches_per_epoch()};

  int64_t step = 0;
  double best = 0;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    double loss_sum = 0;
    net.train();
    for (auto& [images, labels] : train) {
      sgd.set_lr(static_cast<float>(schedule.at(step++)));
      Tensor loss = cross_entropy(net(images), labels, {.label_smoothing = 0.1f});
      loss.backward();
      sgd.step();
      loss_sum += loss.item() * static_cast<double>(labels.numel());  // waits for the device
    }

    int64_t correct = 0;
    net.eval();
    const NoGrad no_grad;
    for (auto& [images, labels] : val) correct += count_correct(net(images), labels.to_vector<int64_t>());
    const double accuracy = 100.0 * static_cast<double>(correct) / static_cast<double>(val.size());
    std::printf("epoch %d: loss %.3f, accuracy %.1f%%\n", epoch + 1, loss_sum / static_cast<double>(train.size()),
                accuracy);

    if (accuracy > best) save_safetensors("best.safetensors", net);
    best = std::max(best, accuracy);
  }
}
