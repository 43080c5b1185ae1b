#include "bench/step_workload.h"

#include <vector>

#include "bench/statistics.h"
#include "bench/step_timing.h"
#include "engine/backend.h"
#include "engine/io/safetensors.h"
#include "engine/nn/weights.h"

namespace engine::bench {

Workload::Workload(const WorkloadOptions& options)
    : options_(options),
      net_(models::make_resnet(options.model)),
      image_size_(options.image_size > 0 ? options.image_size : net_.specification().default_image_size()) {
  check(options.batch > 0, "--batch is ", options.batch, ", expected at least 1");
  const Shape shape{options.batch, image_size_, image_size_, 3};
  // Twice, on the host and on the device: before the host is asked for what the device cannot hold.
  const bool rotates = options.rotating_batches > 0;
  const size_t copies = rotates ? static_cast<size_t>(options.rotating_batches) + 2 : 2 * size_of(DType::f32);
  const size_t image_bytes = copies * static_cast<size_t>(shape.numel());
  if (const size_t limit = memory_stats(options.device).limit; image_bytes > limit) {
    fail(ErrorKind::memory, to_string(options.device), ": the images of a batch of ", options.batch, " take ",
         image_bytes >> 20, " MiB with their copy on the host, but the device has ", limit >> 20, " MiB");
  }
  RandomStream random(1, 0, 0, purpose::kAugmentation);
  for (int64_t i = 0; i < options.rotating_batches; ++i) rotating_.push_back(random_batch(random));
  batch_ = rotates ? ImageBatch{rotating_[0].images.clone(), rotating_[0].labels.clone()} : random_batch(random);
  net_.to(options.device);

  recording_ = backend(options.device).make_recording();
  net_.train(options.mode == Mode::train);
  if (options.mode == Mode::train)
    sgd_ =
        std::make_unique<Sgd>(net_.parameters(), SgdOptions{.lr = options.lr, .momentum = 0.9f, .weight_decay = 1e-4f});
}

Workload::ImageBatch Workload::random_batch(RandomStream& random) const {
  const Shape shape{options_.batch, image_size_, image_size_, 3};
  const auto count = static_cast<size_t>(shape.numel());
  Tensor images;
  if (options_.rotating_batches > 0) {
    std::vector<uint8_t> pixels(count);
    for (uint8_t& value : pixels) value = static_cast<uint8_t>(random.below(256));
    images = Tensor::from(pixels, shape, options_.device);
  } else {
    std::vector<float> pixels(count);
    for (float& value : pixels) value = random.normal();
    images = Tensor::from(pixels, shape, options_.device);
  }
  std::vector<int64_t> labels(static_cast<size_t>(options_.batch));
  for (int64_t& label : labels) label = random.below(static_cast<uint32_t>(net_.num_classes()));
  return {images, Tensor::from(labels, {options_.batch}, options_.device)};
}

Tensor Workload::input() const {
  const Tensor& images = batch_.images;
  if (images.dtype() == DType::u8)
    return normalize_images(images, kImageNetNormalization.mean, kImageNetNormalization.std, options_.precision.dtype);
  return options_.precision.dtype == DType::f32 ? images : images.to(options_.precision.dtype);
}

Workload::~Workload() = default;

void Workload::run_once() {
  if (options_.mode == Mode::inference) {
    const NoGrad no_grad;
    net_(input());
    return;
  }
  for (NamedParameter& parameter : net_.parameters()) parameter.tensor.clear_grad();
  const Tensor loss = cross_entropy(net_(input()), batch_.labels);
  loss.backward();
  loss_ = loss.detach();
  sgd_->step();
}

Tensor Workload::step() {
  if (!rotating_.empty()) {
    batch_.images.copy_from(rotating_[next_].images);
    batch_.labels.copy_from(rotating_[next_].labels);
    next_ = (next_ + 1) % rotating_.size();
  }
  if (!recording_)
    run_once();
  else if (!recording_->run([this] { run_once(); }) && sgd_)
    sgd_->replayed();
  return loss_;
}

void Workload::finish() {
  backend(options_.device).synchronize();
}

StepParts Workload::timed_parts(int steps) {
  std::vector<double> forward, backward, optimiser;
  const auto part = [&](std::vector<double>& times, const Step& work) {
    times.push_back(timed([&] {
      work();
      finish();
    }));
  };
  for (int i = 0; i < steps; ++i) {
    if (options_.mode == Mode::inference) {
      part(forward, [this] { run_once(); });
      continue;
    }
    Tensor loss;
    for (NamedParameter& parameter : net_.parameters()) parameter.tensor.clear_grad();
    part(forward, [&] { loss = cross_entropy(net_(input()), batch_.labels); });
    part(backward, [&] { loss.backward(); });
    part(optimiser, [&] { sgd_->step(); });
  }
  const auto median = [](const std::vector<double>& times) { return times.empty() ? 0 : quantile(times, 0.5); };
  return {median(forward), median(backward), median(optimiser)};
}

double Workload::loss() {
  const NoGrad no_grad;
  return cross_entropy(net_(input()), batch_.labels).item();
}

std::optional<int64_t> Workload::kernels() const {
  const int64_t launched = recording_ ? recording_->num_kernels() : 0;
  return launched > 0 ? std::optional(launched) : std::nullopt;
}

void Workload::write_exchange(const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  save_safetensors(directory / "weights.safetensors", net_);
  if (rotating_.empty()) {
    const HostState batch({{"images", batch_.images.to(Device{})}, {"labels", batch_.labels.to(Device{})}});
    write_safetensors(directory / "batch.safetensors", batch.views());
    return;
  }
  std::vector<Tensor> on_host;
  std::vector<TensorView> views;
  const auto add = [&](const std::string& name, const Tensor& tensor) {
    const Tensor& copy = on_host.emplace_back(tensor.to(Device{}));
    TensorView& view = views.emplace_back();
    view.name = name;
    view.dtype = copy.dtype() == DType::u8 ? SafetensorsDType::u8 : SafetensorsDType::i64;
    view.shape.assign(copy.shape().extents().begin(), copy.shape().extents().end());
    view.data = {static_cast<const std::byte*>(copy.raw()), static_cast<size_t>(copy.numel()) * size_of(copy.dtype())};
  };
  for (size_t i = 0; i < rotating_.size(); ++i) {
    add("images." + std::to_string(i), rotating_[i].images);
    add("labels." + std::to_string(i), rotating_[i].labels);
  }
  write_safetensors(directory / "batch.safetensors", views);
}

}  // namespace engine::bench
