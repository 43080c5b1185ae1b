#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace engine {

struct SamplerOptions {
  int64_t size = 0;  // of the data set
  int64_t batch_size = 1;
  bool shuffle = false;    // else 0, 1, 2, ...
  bool drop_last = false;  // leave out a last batch that is not full
  uint64_t seed = 0;
};

// Cuts an epoch into batches. The order of an epoch depends on (seed, epoch) alone, so a run can begin at any
// batch of any epoch; every sample comes once per epoch, but for those that drop_last leaves out.
class Sampler {
 public:
  // Throws Error(ErrorKind::usage) if there would be no batch.
  explicit Sampler(const SamplerOptions& options);

  int64_t batches_per_epoch() const;
  void start(int64_t epoch);

  // The samples of batch 0 ... batches_per_epoch()-1 of the epoch started last; valid until the next start.
  std::span<const int64_t> batch(int64_t number) const;

 private:
  SamplerOptions options_;
  std::vector<int64_t> order_;
};

}  // namespace engine
