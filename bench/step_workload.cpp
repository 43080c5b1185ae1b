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
  RandomStream random(1, 0, 0, purpose::kAugmentation);
  const Shape shape{options.batch, image_size_, image_size_, 3};
  // Twice, on the host and on the device: before the host is asked for what the device cannot hold.
  const size_t image_bytes = 2 * size_of(DType::f32) * static_cast<size_t>(shape.numel());
  if (const size_t limit = memory_stats(options.device).limit; image_bytes > limit) {
    fail(ErrorKind::memory, to_string(options.device), ": the images of a batch of ", options.batch, " take ",
         image_bytes >> 20, " MiB with their copy on the host, but the device has ", limit >> 20, " MiB");
  }
  std::vector<float> pixels(static_cast<size_t>(shape.numel()));
  for (float& value : pixels) value = random.normal();
  images_ = Tensor::from(pixels, shape).to(options.device);
  std::vector<int64_t> labels(static_cast<size_t>(options.batch));
  for (int64_t& label : labels) label = random.below(static_cast<uint32_t>(net_.num_classes()));
  labels_ = Tensor::from(labels, {options.batch}).to(options.device);
  net_.to(options.device);

  recording_ = backend(options.device).make_recording();
  net_.train(options.mode == Mode::train);
  if (options.mode == Mode::train)
    sgd_ =
        std::make_unique<Sgd>(net_.parameters(), SgdOptions{.lr = options.lr, .momentum = 0.9f, .weight_decay = 1e-4f});
}

Tensor Workload::input() const {
  return options_.precision == DType::f32 ? images_ : images_.to(options_.precision);
}

Workload::~Workload() = default;

void Workload::run_once() {
  if (options_.mode == Mode::inference) {
    const NoGrad no_grad;
    net_(input());
    return;
  }
  for (NamedParameter& parameter : net_.parameters()) parameter.tensor.clear_grad();
  const Tensor loss = cross_entropy(net_(input()), labels_);
  loss.backward();
  loss_ = loss.detach();
  sgd_->step();
}

Tensor Workload::step() {
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
    part(forward, [&] { loss = cross_entropy(net_(input()), labels_); });
    part(backward, [&] { loss.backward(); });
    part(optimiser, [&] { sgd_->step(); });
  }
  const auto median = [](const std::vector<double>& times) { return times.empty() ? 0 : quantile(times, 0.5); };
  return {median(forward), median(backward), median(optimiser)};
}

double Workload::loss() {
  const NoGrad no_grad;
  return cross_entropy(net_(input()), labels_).item();
}

std::optional<int64_t> Workload::kernels() const {
  const int64_t launched = recording_ ? recording_->num_kernels() : 0;
  return launched > 0 ? std::optional(launched) : std::nullopt;
}

void Workload::write_exchange(const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  save_safetensors(directory / "weights.safetensors", net_);
  const HostState batch({{"images", images_.to(Device{})}, {"labels", labels_.to(Device{})}});
  write_safetensors(directory / "batch.safetensors", batch.views());
}

}  // namespace engine::bench
