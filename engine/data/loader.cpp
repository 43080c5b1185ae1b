#include "engine/data/loader.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <new>
#include <utility>

#include "engine/error.h"

namespace engine {
namespace {

using Clock = std::chrono::steady_clock;

// A sample is never put back for a bad one more often than this: with less than half of the set bad, 64
// misses in a row happen once in 10^19 samples.
constexpr int kMaxSubstitutions = 64;

constexpr int64_t kLeftOut = -1;  // as a label, until the batch is handed over

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

SamplerOptions sampler_options(const Dataset& dataset, const LoaderOptions& options) {
  return {.size = dataset.size(),
          .batch_size = options.batch_size,
          .shuffle = options.mode == LoaderMode::train,
          .drop_last = options.drop_last,
          .repeats = options.mode == LoaderMode::train ? options.repeats : 1,
          .seed = options.seed,
          .rank = options.rank,
          .ranks = options.ranks};
}

}  // namespace

Loader::Loader(DatasetPtr dataset, SampleTransform transform, const LoaderOptions& options)
    : dataset_(std::move(dataset)),
      transform_(std::move(transform)),
      options_(options),
      // Small enough that the workers share one batch instead of making a slow one each, large enough that
      // the lock does not show at 500,000 CIFAR pictures per second.
      chunk_(std::clamp<int64_t>(options.batch_size / (4 * std::max(1, options.workers)), 1, 16)),
      sampler_(sampler_options(*dataset_, options)) {
  check(options.height > 0 && options.width > 0, "loader: picture size ", options.height, "x", options.width,
        ", but 1x1 or more is needed");
  check(options.workers >= 0 && options.workers <= 1024, "loader: ", options.workers,
        " workers, but 0 to 1024 are possible");
  check(options.prefetch_batches > 0, "loader: prefetch of ", options.prefetch_batches,
        " batches, but 1 or more is needed");
  check(!(options.drop_last && options.mode == LoaderMode::evaluate),
        "loader: drop_last would leave samples out of an evaluation; turn it off");
  if (options.workers == 0) return;
  slots_.resize(static_cast<size_t>(std::min(options.prefetch_batches, batches_per_epoch())));
  for (Slot& slot : slots_) reserve(slot.batch);
  for (int i = 0; i < options.workers; ++i) workers_.emplace_back([this] { work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    cancelled_ = true;
  }
  work_ready_.notify_all();
}

void Loader::start(int64_t epoch, int64_t first_batch) {
  check(epoch >= 0 && first_batch >= 0 && first_batch <= batches_per_epoch(), "loader: cannot start at batch ",
        first_batch, " of epoch ", epoch, "; an epoch has ", batches_per_epoch(), " batches");
  pause();
  epoch_ = epoch;
  sampler_.start(epoch);
  {
    const std::lock_guard lock(mutex_);
    for (Slot& slot : slots_) slot.batch.number = -1;
    error_ = nullptr;
    cancelled_ = false;
    claimed_batch_ = next_batch_ = first_batch;
    claimed_sample_ = 0;
    end_batch_ = batches_per_epoch();
  }
  work_ready_.notify_all();
}

// Afterwards no worker touches a slot or the order of the samples.
void Loader::pause() {
  std::unique_lock lock(mutex_);
  cancelled_ = true;
  end_batch_ = 0;
  batch_ready_.wait(lock, [this] { return at_work_ == 0; });
}

bool Loader::next(Batch& batch) {
  check(epoch_ >= 0, "loader: next() before start()");
  for (;;) {
    std::unique_lock lock(mutex_);
    if (error_) std::rethrow_exception(error_);
    if (next_batch_ == end_batch_) return false;
    reserve(batch);
    if (workers_.empty()) {
      lock.unlock();
      const auto start = Clock::now();
      begin_batch(batch, next_batch_);
      try {
        fill({.batch = &batch, .draws = sampler_.batch(next_batch_), .begin = 0, .end = batch.count});
      } catch (...) {
        error_ = std::current_exception();
        throw;
      }
      wait_seconds_ += seconds_since(start);
      ++next_batch_;
    } else {
      Slot& slot = slots_[static_cast<size_t>(next_batch_) % slots_.size()];
      wait_for(slot, lock);
      std::swap(batch, slot.batch);
      slot.batch.number = -1;
      ++next_batch_;
      lock.unlock();
      work_ready_.notify_all();
    }
    close_gaps(batch);
    if (batch.count > 0) return true;
  }
}

void Loader::wait_for(Slot& slot, std::unique_lock<std::mutex>& lock) {
  const auto ready = [&] { return error_ || (slot.batch.number == next_batch_ && slot.unfinished == 0); };
  if (!ready()) {
    const auto start = Clock::now();
    batch_ready_.wait(lock, ready);
    wait_seconds_ += seconds_since(start);
  }
  if (error_) std::rethrow_exception(error_);
}

std::vector<BadImage> Loader::bad_images() const {
  const std::lock_guard lock(mutex_);
  std::vector<BadImage> images;
  for (const auto& [index, message] : bad_) images.push_back({index, message});
  return images;
}

void Loader::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_ready_.wait(lock, [this] { return stopping_ || has_work(); });
    if (stopping_) return;
    const Work work = claim();
    ++at_work_;
    lock.unlock();
    std::exception_ptr error;
    try {
      fill(work);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    --at_work_;
    work.slot->unfinished -= work.end - work.begin;
    if (error && !error_) {
      error_ = error;
      cancelled_ = true;
    }
    if (error_ || at_work_ == 0 || work.slot->unfinished == 0) batch_ready_.notify_all();
  }
}

bool Loader::has_work() const {
  return !error_ && claimed_batch_ < end_batch_ && claimed_batch_ < next_batch_ + static_cast<int64_t>(slots_.size());
}

Loader::Work Loader::claim() {
  Slot& slot = slots_[static_cast<size_t>(claimed_batch_) % slots_.size()];
  if (claimed_sample_ == 0) {
    begin_batch(slot.batch, claimed_batch_);
    slot.unfinished = slot.batch.count;
  }
  const int64_t end = std::min(claimed_sample_ + chunk_, slot.batch.count);
  const Work work{.batch = &slot.batch,
                  .draws = sampler_.batch(claimed_batch_),
                  .begin = claimed_sample_,
                  .end = end,
                  .slot = &slot};
  claimed_sample_ = end;
  if (end == slot.batch.count) {
    ++claimed_batch_;
    claimed_sample_ = 0;
  }
  return work;
}

// Gives a batch the memory of a full one. Only the consumer's thread does this, so that a worker never
// allocates while it holds the lock.
void Loader::reserve(Batch& batch) const {
  const auto size = static_cast<size_t>(options_.batch_size);
  batch.images.resize(size * static_cast<size_t>(options_.height * options_.width * 3));
  batch.labels.resize(size);
  batch.indices.resize(size);
  if (erases()) batch.erased.resize(4 * size);
}

void Loader::begin_batch(Batch& batch, int64_t number) const {
  batch.number = number;
  batch.count = static_cast<int64_t>(sampler_.batch(number).size());
  batch.height = options_.height;
  batch.width = options_.width;
  if (options_.mode != LoaderMode::train || !options_.mix.any()) return;
  const int64_t of_all = number * options_.ranks + options_.rank;
  RandomStream random(options_.seed, static_cast<uint64_t>(epoch_), static_cast<uint64_t>(of_all), purpose::kMix);
  batch.mix = choose_mix(options_.mix, epoch_, batch.height, batch.width, random);
}

void Loader::fill(const Work& work) {
  for (int64_t position = work.begin; position < work.end && !cancelled_; ++position) {
    fill_sample(*work.batch, position, work.draws[static_cast<size_t>(position)]);
  }
}

void Loader::fill_sample(Batch& batch, int64_t position, int64_t draw) {
  if (try_sample(batch, position, sample_of(draw), draw)) return;
  if (options_.mode == LoaderMode::evaluate) {
    batch.labels[static_cast<size_t>(position)] = kLeftOut;
    return;
  }
  RandomStream random(options_.seed, static_cast<uint64_t>(epoch_), static_cast<uint64_t>(draw),
                      purpose::kSubstitution);
  for (int attempt = 0; attempt < kMaxSubstitutions; ++attempt) {
    const int64_t index = random.below(static_cast<uint32_t>(dataset_->size()));
    if (try_sample(batch, position, index, draw)) return;
  }
  fail(ErrorKind::data, dataset_->describe(sample_of(draw)), ": no readable picture was found to take its place in ",
       kMaxSubstitutions, " tries");
}

// Puts `index` at `position` with the augmentation of `draw`, which it may stand for. Returns false if the
// picture is bad and options_.bad_images says to skip it.
bool Loader::try_sample(Batch& batch, int64_t position, int64_t index, int64_t draw) {
  const auto bytes = static_cast<size_t>(options_.height * options_.width * 3);
  try {
    const Picture picture = dataset_->read(index);
    RandomStream random(options_.seed, static_cast<uint64_t>(epoch_), static_cast<uint64_t>(draw),
                        purpose::kAugmentation);
    transform_(picture, random, std::span(batch.images).subspan(static_cast<size_t>(position) * bytes, bytes));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data || options_.bad_images == BadImages::fail) throw;
    note_bad(index, error.what());
    return false;
  } catch (const std::bad_alloc&) {
    fail(ErrorKind::memory, dataset_->describe(index), ": out of memory while loading the picture");
  } catch (const std::exception& error) {
    fail(ErrorKind::internal, dataset_->describe(index), ": ", error.what());
  }
  batch.labels[static_cast<size_t>(position)] = dataset_->label(index);
  batch.indices[static_cast<size_t>(position)] = index;
  if (erases()) {
    RandomStream random(options_.seed, static_cast<uint64_t>(epoch_), static_cast<uint64_t>(draw), purpose::kErasing);
    const ErasedBox box = choose_erased(options_.erasing, options_.height, options_.width, random);
    std::ranges::copy(std::array{box.top, box.left, box.bottom, box.right}, batch.erased.begin() + 4 * position);
  }
  return true;
}

void Loader::note_bad(int64_t index, const std::string& message) {
  const std::lock_guard lock(mutex_);
  bad_.emplace(index, message);
  const auto count = static_cast<int64_t>(bad_.size());
  if (static_cast<double>(count) > options_.max_bad_fraction * static_cast<double>(dataset_->size())) {
    fail(ErrorKind::data, "data: ", count, " of ", dataset_->size(), " pictures cannot be read, the last being ",
         message);
  }
}

// Moves the samples after a left-out one forward and gives the vectors their final size.
void Loader::close_gaps(Batch& batch) {
  const auto bytes = static_cast<size_t>(batch.height * batch.width * 3);
  size_t kept = 0;
  for (size_t i = 0; i < static_cast<size_t>(batch.count); ++i) {
    if (batch.labels[i] == kLeftOut) continue;
    if (kept != i) {
      batch.labels[kept] = batch.labels[i];
      batch.indices[kept] = batch.indices[i];
      std::copy_n(batch.images.data() + i * bytes, bytes, batch.images.data() + kept * bytes);
    }
    ++kept;
  }
  batch.count = static_cast<int64_t>(kept);
  batch.images.resize(kept * bytes);
  batch.labels.resize(kept);
  batch.indices.resize(kept);
  if (!batch.erased.empty()) batch.erased.resize(4 * kept);  // in training, where there are no gaps
}

}  // namespace engine
