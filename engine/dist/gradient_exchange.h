#pragma once
// What a training step needs of the other ranks: gradients summed, running statistics averaged.
#include <memory>
#include <span>
#include <vector>

#include "engine/dist/communicator.h"
#include "engine/statistics_exchange.h"
#include "engine/tensor.h"

namespace engine {

class GradientExchange {
 public:
  virtual ~GradientExchange() = default;
  virtual int size() const = 0;  // ranks

  // sums[i] = its sum over the ranks, means[i] = its mean, in place; f32, row-major, on one device, the same shapes on
  // every rank. The same bits on every rank and from run to run.
  virtual void run(std::span<const Tensor> sums, std::span<const Tensor> means) = 0;
};

// Through the memory of the host, for any device.
std::unique_ptr<GradientExchange> host_exchange(Communicator& ranks);
std::unique_ptr<StatisticsExchange> host_statistics(Communicator& ranks);

}  // namespace engine
