#include "engine/random.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "engine/error.h"

namespace engine {
namespace {

uint32_t low(uint64_t value) {
  return static_cast<uint32_t>(value);
}
uint32_t high(uint64_t value) {
  return static_cast<uint32_t>(value >> 32);
}

}  // namespace

std::array<uint32_t, 4> philox4x32(const std::array<uint32_t, 4>& counter, const std::array<uint32_t, 2>& key) {
  auto [c0, c1, c2, c3] = counter;
  auto [k0, k1] = key;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * c0;
    const uint64_t product1 = uint64_t{0xCD9E8D57} * c2;
    c0 = high(product1) ^ c1 ^ k0;
    c1 = low(product1);
    c2 = high(product0) ^ c3 ^ k1;
    c3 = low(product0);
    k0 += 0x9E3779B9;  // the golden ratio and sqrt(3) - 1, each times 2^32
    k1 += 0xBB67AE85;
  }
  return {c0, c1, c2, c3};
}

// (seed, epoch, sample, purpose) and a block number are 288 bits, more than a counter and a key hold. The
// key is therefore 64 of the bits that Philox gives for (epoch, purpose) under the seed.
RandomStream::RandomStream(uint64_t seed, uint64_t epoch, uint64_t sample, uint32_t purpose)
    : counter_{0, 0, low(sample), high(sample)} {
  const auto derived = philox4x32({low(epoch), high(epoch), purpose, 0}, {low(seed), high(seed)});
  key_ = {derived[0], derived[1]};
}

void RandomStream::refill() {
  block_ = philox4x32(counter_, key_);
  if (++counter_[0] == 0) ++counter_[1];
  used_ = 0;
}

float RandomStream::normal() {
  const float radius = std::sqrt(-2.0f * std::log(1.0f - uniform()));  // 1 - u is in (0, 1]
  return radius * std::cos(2.0f * std::numbers::pi_v<float> * uniform());
}

std::vector<int64_t> random_permutation(int64_t n, uint64_t seed, uint64_t epoch, uint32_t purpose) {
  check(n >= 0 && n <= 0xFFFFFFFF, "random_permutation: n is ", n, ", but 0 to 4294967295 are supported");
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  RandomStream random(seed, epoch, 0, purpose);
  for (size_t left = order.size(); left > 1; --left) {  // Fisher and Yates
    std::swap(order[left - 1], order[random.below(static_cast<uint32_t>(left))]);
  }
  return order;
}

}  // namespace engine
