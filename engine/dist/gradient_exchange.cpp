#include "engine/dist/gradient_exchange.h"

#include <optional>
#include <set>

#include "engine/autograd.h"
#include "engine/backend.h"

namespace engine {
namespace {

class HostExchange final : public GradientExchange {
 public:
  explicit HostExchange(Communicator& ranks) : ranks_(ranks) {}

  int size() const override { return ranks_.size(); }
  bool on_device() const override { return false; }

  void run(std::span<const Tensor> sums, std::span<const Tensor> means) override {
    size_t count = 0;
    for (const auto tensors : {sums, means})
      for (const Tensor& tensor : tensors) count += static_cast<size_t>(tensor.numel());
    values_.resize(count);
    size_t at = 0;
    const auto next = [&](const Tensor& tensor) {
      float* const place = values_.data() + at;
      at += static_cast<size_t>(tensor.numel());
      return place;
    };
    for (const auto tensors : {sums, means})
      for (const Tensor& tensor : tensors)
        backend(tensor.device()).download(next(tensor), tensor.raw(), tensor.bytes());
    ranks_.sum(values_);
    at = 0;
    for (const Tensor& tensor : sums) backend(tensor.device()).upload(tensor.raw(), next(tensor), tensor.bytes());
    for (const Tensor& tensor : means) {
      float* const values = next(tensor);
      for (int64_t i = 0; i < tensor.numel(); ++i) values[i] /= static_cast<float>(size());
      backend(tensor.device()).upload(tensor.raw(), values, tensor.bytes());
    }
  }

 private:
  Communicator& ranks_;
  std::vector<float> values_;  // kept from step to step
};

class DeviceExchange final : public GradientExchange {
 public:
  DeviceExchange(Communicator& ranks, DeviceRanks& devices, size_t group_bytes)
      : ranks_(ranks), devices_(devices), enough_(group_bytes) {}

  int size() const override { return ranks_.size(); }
  bool on_device() const override { return true; }
  void meet() override { ranks_.barrier(); }

  void begin() override {
    sent_.clear();
    group_.clear();
    group_bytes_ = 0;
    hook_.reset();
    hook_.emplace([this](const Tensor& gradient) {
      sent_.insert(gradient.raw());
      group_.push_back(gradient.detach());
      group_bytes_ += gradient.bytes();
      if (group_bytes_ >= enough_) send_group();
    });
  }

  void run(std::span<const Tensor> sums, std::span<const Tensor> means) override {
    hook_.reset();
    for (const Tensor& tensor : sums)
      if (!sent_.contains(tensor.raw())) group_.push_back(tensor);
    group_.insert(group_.end(), means.begin(), means.end());
    send_group();
    sent_.clear();
    devices_.wait();
    for (const Tensor& tensor : means)
      backend(tensor.device()).affine(tensor, 1.0f / static_cast<float>(size()), 0, tensor);
  }

 private:
  void send_group() {
    devices_.sum(group_);
    group_.clear();
    group_bytes_ = 0;
  }

  Communicator& ranks_;
  DeviceRanks& devices_;
  const size_t enough_;
  std::optional<GradientHook> hook_;
  std::vector<Tensor> group_;
  size_t group_bytes_ = 0;
  std::set<const void*> sent_;  // since begin()
};

class DeviceStatistics final : public StatisticsExchange {
 public:
  explicit DeviceStatistics(DeviceRanks& ranks) : ranks_(ranks) {}
  int size() const override { return ranks_.size(); }
  void all_gather(Device, const float* mine, float* all, size_t count) override { ranks_.all_gather(mine, all, count); }

 private:
  DeviceRanks& ranks_;
};

class HostStatistics final : public StatisticsExchange {
 public:
  explicit HostStatistics(Communicator& ranks) : ranks_(ranks) {}

  int size() const override { return ranks_.size(); }

  void all_gather(Device device, const float* mine, float* all, size_t count) override {
    mine_.resize(count);
    all_.resize(count * static_cast<size_t>(size()));
    backend(device).download(mine_.data(), mine, count * sizeof(float));
    ranks_.all_gather(mine_, all_);
    backend(device).upload(all, all_.data(), all_.size() * sizeof(float));
  }

 private:
  Communicator& ranks_;
  std::vector<float> mine_, all_;
};

}  // namespace

std::unique_ptr<GradientExchange> host_exchange(Communicator& ranks) {
  return std::make_unique<HostExchange>(ranks);
}

std::unique_ptr<StatisticsExchange> host_statistics(Communicator& ranks) {
  return std::make_unique<HostStatistics>(ranks);
}

std::unique_ptr<GradientExchange> device_exchange(Communicator& ranks, DeviceRanks& devices, size_t group_bytes) {
  return std::make_unique<DeviceExchange>(ranks, devices, group_bytes);
}

std::unique_ptr<StatisticsExchange> device_statistics(DeviceRanks& ranks) {
  return std::make_unique<DeviceStatistics>(ranks);
}

}  // namespace engine
