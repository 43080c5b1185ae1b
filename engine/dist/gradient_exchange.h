#pragma once
// What a training step needs of the other ranks: gradients summed, running statistics averaged.
#include <memory>
#include <span>
#include <vector>

#include "engine/dist/communicator.h"
#include "engine/statistics_exchange.h"
#include "engine/tensor.h"

namespace engine {

class DeviceRanks;

class GradientExchange {
 public:
  virtual ~GradientExchange() = default;
  virtual int size() const = 0;  // ranks
  // True if the device moves the data itself: then run() may be part of recorded work.
  virtual bool on_device() const = 0;
  // Before a batch, with its pictures at hand: waits for all ranks where what follows could not name one that does not
  // come.
  virtual void meet() {}
  // Before a backward pass whose gradients run() will get: what is ready may go on its way at once.
  virtual void begin() {}

  // sums[i] = its sum over the ranks, means[i] = its mean, in place; f32, row-major, on one device, the same shapes on
  // every rank. The same bits on every rank and from run to run.
  virtual void run(std::span<const Tensor> sums, std::span<const Tensor> means) = 0;
};

// Through the memory of the host, for any device.
std::unique_ptr<GradientExchange> host_exchange(Communicator& ranks);
std::unique_ptr<StatisticsExchange> host_statistics(Communicator& ranks);
// By the devices; gradients in groups, as the backward pass comes to them, beside the rest of it. A group is sent when
// it has that many bytes: enough that a message costs its bytes, few enough that the last one, which nothing hides, is
// short (PyTorch's DistributedDataParallel takes 25 MiB).
std::unique_ptr<GradientExchange> device_exchange(Communicator& ranks, DeviceRanks& devices,
                                                  size_t group_bytes = size_t{16} << 20);
std::unique_ptr<StatisticsExchange> device_statistics(DeviceRanks& ranks);

}  // namespace engine
