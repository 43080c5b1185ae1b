#include "engine/statistics_exchange.h"

#include <atomic>

#include "engine/error.h"

namespace engine {
namespace {

std::atomic<StatisticsExchange*> in_use = nullptr;

}  // namespace

StatisticsExchange* statistics_exchange() {
  return in_use.load(std::memory_order_acquire);
}

SharedStatistics::SharedStatistics(StatisticsExchange& exchange) {
  StatisticsExchange* none = nullptr;
  if (!in_use.compare_exchange_strong(none, &exchange))
    fail(ErrorKind::internal, "batch norms share their statistics with other ranks already");
}

SharedStatistics::~SharedStatistics() {
  in_use = nullptr;
}

}  // namespace engine
