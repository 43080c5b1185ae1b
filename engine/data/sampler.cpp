#include "engine/data/sampler.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "engine/error.h"
#include "engine/random.h"

namespace engine {

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
  check(options.batch_size > 0, "sampler: batch size ", options.batch_size, ", but 1 or more is needed");
  check(options.size > 0, "sampler: the data set is empty");
  check(options.repeats > 0, "sampler: each sample drawn ", options.repeats, " times, but 1 or more is needed");
  check(options.ranks > 0 && options.rank >= 0 && options.rank < options.ranks, "sampler: rank ", options.rank, " of ",
        options.ranks, ", expected 0 or more and less than their number");
  check(!options.drop_last || batches_per_epoch() > 0, "sampler: batch size ", options.batch_size,
        options.ranks > 1 ? " on each of " + std::to_string(options.ranks) + " ranks" : "", " is more than the ",
        options.size, " samples, and a batch that is not full is dropped; lower the batch size");
}

int64_t Sampler::batches_per_epoch() const {
  if (options_.drop_last) return options_.size / (options_.batch_size * options_.ranks);
  const int64_t batches = (options_.size + options_.batch_size - 1) / options_.batch_size;
  return (batches - options_.rank + options_.ranks - 1) / options_.ranks;
}

void Sampler::start(int64_t epoch) {
  if (options_.shuffle) {
    order_ = random_permutation(options_.size, options_.seed, static_cast<uint64_t>(epoch), purpose::kOrder);
    if (options_.repeats > 1) {  // from the back, where what is read has not been written yet
      for (int64_t i = options_.size - 1; i >= 0; --i) {
        order_[static_cast<size_t>(i)] = order_[static_cast<size_t>(i / options_.repeats)] | i % options_.repeats << 32;
      }
    }
  } else if (order_.empty()) {
    order_.resize(static_cast<size_t>(options_.size));
    std::iota(order_.begin(), order_.end(), int64_t{0});
  }
}

std::span<const int64_t> Sampler::batch(int64_t number) const {
  const int64_t begin = (number * options_.ranks + options_.rank) * options_.batch_size;
  const int64_t count = std::min(options_.batch_size, options_.size - begin);
  return std::span(order_).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
}

}  // namespace engine
