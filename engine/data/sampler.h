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
  // Repeated augmentation (Hoffer et al. 2020, "Augment your batch"): of shuffled samples each is drawn this often, one
  // directly after the other, and an epoch ends after as many draws as there are samples, so it meets only
  // size / repeats of them (torchvision's RASampler, without its rounding down to 256).
  int64_t repeats = 1;
  uint64_t seed = 0;
  int64_t rank = 0, ranks = 1;  // of that many which share the epoch, batch by batch
};

// One place in the order of an epoch: a sample, and in the upper half which of its copies this is, from 0. Without
// repeats it is the sample's number. As a key of randomness it gives each copy an augmentation of its own.
constexpr int64_t sample_of(int64_t draw) {
  return draw & 0xFFFFFFFF;
}
constexpr int64_t copy_of(int64_t draw) {
  return draw >> 32;
}

// Cuts an epoch into batches. Of several ranks, rank r takes batches r, r + ranks, r + 2*ranks, ...: N ranks together
// take in one step what one rank with the N-fold batch does, in the same order, and no draw twice. The order of an
// epoch depends on (seed, epoch) alone, so a run can begin at any batch of any epoch; without repeats every
// sample comes once per epoch, but for those that drop_last leaves out.
class Sampler {
 public:
  // Throws Error(ErrorKind::usage) if there would be no batch. With drop_last all ranks have the same number of
  // batches; otherwise the last ranks may have one less, or none.
  explicit Sampler(const SamplerOptions& options);

  int64_t batches_per_epoch() const;
  void start(int64_t epoch);

  // The draws of this rank's batch 0 ... batches_per_epoch()-1 of the epoch started last; valid until the next start.
  std::span<const int64_t> batch(int64_t number) const;

 private:
  SamplerOptions options_;
  std::vector<int64_t> order_;
};

}  // namespace engine
