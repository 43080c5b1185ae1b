#pragma once
// A training of several ranks: each computes on its own part of every batch, all have the same weights and the same
// RunState after every step, and rank 0 alone writes.
#include <memory>
#include <string>
#include <vector>

#include "engine/dist/communicator.h"
#include "engine/dist/gradient_exchange.h"
#include "engine/statistics_exchange.h"
#include "engine/train/config.h"
#include "engine/train/metrics.h"
#include "engine/train/resume.h"

namespace engine {

class DeviceRanks;
struct TrainSetup;

// Who started this process.
Launch current_launch();

// The other ranks, or null if this process was started alone. Throws Error(usage) if --ranks expects another number,
// and what Communicator::connect() throws. Stop signals of one rank become those of all.
std::unique_ptr<Communicator> connect_ranks(const TrainConfig& config);

// Threads and pictures' workers of a rank that shares its host with others, unless the configuration names them.
void share_host(TrainConfig& config);

// `config` of a run that now goes on with another number of ranks: the same pictures a step, if they can be divided.
void share_batch(TrainConfig& config, int ranks);

// What rank 0 has found to resume, for the others, which have to see the same files.
ResumePoint share_resume_point(Communicator& ranks, ResumePoint mine);

// Throws Error(usage) on all ranks unless they have the same settings, data, and weights or checkpoint.
void expect_same_run(Communicator& ranks, const TrainSetup& setup);

// How gradients and statistics get from rank to rank: by the devices themselves where they can, else through the host.
struct RankLinks {
  RankLinks();
  RankLinks(RankLinks&&);
  ~RankLinks();

  std::unique_ptr<DeviceRanks> devices;
  std::unique_ptr<GradientExchange> gradients;     // null: one rank
  std::unique_ptr<StatisticsExchange> statistics;  // of batch norms; null: each rank has its own

  // A batch norm that asks the host cannot be recorded.
  bool may_record() const { return !statistics || devices; }
};
RankLinks link_ranks(Communicator* ranks, Device device, bool sync_bn);

// The end of a step: the sums over all ranks, in their order, and the first stop signal that any of them has. `ranks`
// may be null.
struct StepEnd {
  MetricSums sums;
  int stop_signal = 0;
};
StepEnd share_step_end(Communicator* ranks, const StepEnd& mine);

}  // namespace engine
