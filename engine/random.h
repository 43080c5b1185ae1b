#pragma once
// Random numbers that are a pure function of (seed, epoch, sample, purpose): no state is shared between
// threads or carried from one sample to the next, so the number of workers and the place where a run was
// stopped and resumed cannot change a single bit.
//
// Generator: Philox4x32 with 10 rounds, J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers:
// as easy as 1, 2, 3", SC 2011. It passes TestU01's BigCrush.
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace engine {

// One block of Philox4x32-10: 128 random bits for a 128-bit counter and a 64-bit key.
std::array<uint32_t, 4> philox4x32(const std::array<uint32_t, 4>& counter, const std::array<uint32_t, 2>& key);

// What a stream is used for. Streams of different purposes are independent, so a new use of randomness
// never shifts the numbers of an older one.
namespace purpose {
inline constexpr uint32_t kOrder = 1;         // order of the samples in an epoch
inline constexpr uint32_t kAugmentation = 2;  // crop and flip of one sample
inline constexpr uint32_t kSubstitution = 3;  // which sample takes the place of a broken one
inline constexpr uint32_t kValSplit = 4;      // which samples --val-split holds out
inline constexpr uint32_t kShapesTrain = 5;   // pictures of the built-in data set
inline constexpr uint32_t kShapesVal = 6;
inline constexpr uint32_t kInitialisation = 7;  // initial weights
inline constexpr uint32_t kMix = 8;             // mixup and cutmix of a batch
inline constexpr uint32_t kErasing = 9;         // random erasing of one sample
}  // namespace purpose

class RandomStream {
 public:
  RandomStream(uint64_t seed, uint64_t epoch, uint64_t sample, uint32_t purpose);

  // Uniform over all 2^32 values.
  uint32_t next_u32() {
    if (used_ == block_.size()) refill();
    return block_[used_++];
  }

  // Uniform over the multiples of 2^-24 (float) or 2^-53 (double) in [0, 1).
  float uniform() { return static_cast<float>(next_u32() >> 8) * 0x1p-24f; }
  double uniform_double() {
    const uint64_t high = next_u32();
    return static_cast<double>((high << 32 | next_u32()) >> 11) * 0x1p-53;
  }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }

  // Uniform over 0 ... n-1 without bias; n > 0. D. Lemire, "Fast random integer generation in an interval",
  // ACM TOMACS 29 (2019).
  uint32_t below(uint32_t n) {
    uint64_t product = static_cast<uint64_t>(next_u32()) * n;
    if (static_cast<uint32_t>(product) < n) {
      const uint32_t threshold = (0u - n) % n;
      while (static_cast<uint32_t>(product) < threshold) product = static_cast<uint64_t>(next_u32()) * n;
    }
    return static_cast<uint32_t>(product >> 32);
  }

  // Mean 0, variance 1 (Box and Muller); uses up two 32-bit numbers.
  float normal();

 private:
  void refill();

  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;  // {block number low, high, sample low, high}
  std::array<uint32_t, 4> block_{};
  size_t used_ = 4;
};

// The numbers 0 ... n-1 in the random order of (seed, epoch, purpose), every order equally likely.
// n < 2^32; 12 ms for the 1.28 million images of ImageNet.
std::vector<int64_t> random_permutation(int64_t n, uint64_t seed, uint64_t epoch, uint32_t purpose);

}  // namespace engine
