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
  int64_t rank = 0, ranks = 1;  // of that many which share the epoch, batch by batch
};

// Cuts an epoch into batches. Of several ranks, rank r takes batches r, r + ranks, r + 2*ranks, ...: N ranks together
// take in one step what one rank with the N-fold batch does, in the same order, and no sample twice. The order of an
// epoch depends on (seed, epoch) alone, so a run can begin at any batch of any epoch; every sample comes once per
// epoch, but for those that drop_last leaves out.
class Sampler {
 public:
  // Throws Error(ErrorKind::usage) if there would be no batch. With drop_last all ranks have the same number of
  // batches; otherwise the last ranks may have one less, or none.
  explicit Sampler(const SamplerOptions& options);

  int64_t batches_per_epoch() const;
  void start(int64_t epoch);

  // The samples of this rank's batch 0 ... batches_per_epoch()-1 of the epoch started last; valid until the next start.
  std::span<const int64_t> batch(int64_t number) const;

 private:
  SamplerOptions options_;
  std::vector<int64_t> order_;
};

}  // namespace engine
