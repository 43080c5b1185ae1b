#pragma once
// Batch norms whose statistics are those of several ranks' batches together (--sync-bn).
#include <cstddef>

#include "engine/device.h"

namespace engine {

// While it is in use, a backend takes the mean and M2 of a training batch, and in the backward pass its two sums, from
// its own part and from those that the other ranks have for theirs. The parts have the same shape. What is summed for
// dgamma and dbeta stays this rank's: gradients of parameters are summed over the ranks later.
class StatisticsExchange {
 public:
  virtual ~StatisticsExchange() = default;
  virtual int size() const = 0;  // ranks
  // all [size*count] = `mine` of every rank, in their order. In the device's memory, in the order of its other work.
  virtual void all_gather(Device device, const float* mine, float* all, size_t count) = 0;
};

// That which is in use; null: a batch is on its own.
StatisticsExchange* statistics_exchange();

// Puts one to use while it lives. One at a time.
class SharedStatistics {
 public:
  explicit SharedStatistics(StatisticsExchange& exchange);
  ~SharedStatistics();
  SharedStatistics(const SharedStatistics&) = delete;
  SharedStatistics& operator=(const SharedStatistics&) = delete;
};

}  // namespace engine
