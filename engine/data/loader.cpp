#include "engine/data/loader.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
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

// How long the end of a Loader waits for samples in work.
constexpr auto kGrace = std::chrono::seconds(5);

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

const LoaderOptions& checked(const LoaderOptions& options) {
  check(options.height > 0 && options.width > 0, "loader: picture size ", options.height, "x", options.width,
        ", but 1x1 or more is needed");
  check(options.workers >= 0 && options.workers <= 1024, "loader: ", options.workers,
        " workers, but 0 to 1024 are possible");
  check(options.prefetch_batches > 0, "loader: prefetch of ", options.prefetch_batches,
        " batches, but 1 or more is needed");
  check(!(options.drop_last && options.mode == LoaderMode::evaluate),
        "loader: drop_last would leave samples out of an evaluation; turn it off");
  return options;
}

}  // namespace

struct Loader::Core {
  struct Slot {
    Batch batch;
    int64_t unfinished = 0;  // samples
  };
  struct Work {
    Batch* batch = nullptr;
    std::span<const int64_t> draws;  // of the whole batch
    int64_t begin = 0, end = 0;      // positions in it
    Slot* slot = nullptr;
  };
  // What a worker does now, for the consumer to see without a lock.
  struct Worker {
    std::atomic<int64_t> index = -1;  // of the sample; -1: none
    std::atomic<Clock::rep> since = 0;
    int64_t reported = -1;  // the consumer's
  };

  Core(DatasetPtr data, SampleTransform sample_transform, const LoaderOptions& loader_options)
      : dataset(std::move(data)),
        transform(std::move(sample_transform)),
        options(checked(loader_options)),
        // Small enough that the workers share one batch instead of making a slow one each, large enough that
        // the lock does not show at 500,000 CIFAR pictures per second.
        chunk(std::clamp<int64_t>(options.batch_size / (4 * std::max(1, options.workers)), 1, 16)),
        sampler(sampler_options(*dataset, options)),
        crew(static_cast<size_t>(options.workers)) {}

  void work(Worker& worker);
  bool has_work() const;
  bool erases() const { return options.mode == LoaderMode::train && options.erasing.probability > 0; }
  Work claim();
  void pause();
  bool stop();
  void reserve(Batch& batch) const;
  void begin_batch(Batch& batch, int64_t number) const;
  void fill(const Work& work, Worker* worker);
  void fill_sample(Batch& batch, int64_t position, int64_t draw, Worker* worker);
  bool try_sample(Batch& batch, int64_t position, int64_t index, int64_t draw, Worker* worker);
  void load(Batch& batch, int64_t position, int64_t index, int64_t draw, bool partial);
  bool load_partial(Batch& batch, int64_t position, int64_t index, int64_t draw);
  void note_bad(int64_t index, const std::string& message);
  template <class Ready>
  void wait_until(std::unique_lock<std::mutex>& lock, const Ready& ready);
  void check_stalls();
  static void close_gaps(Batch& batch);

  const DatasetPtr dataset;
  const SampleTransform transform;
  const LoaderOptions options;
  const int64_t chunk;  // samples that a worker takes at a time
  Sampler sampler;      // changed only while no worker is at work
  int64_t epoch = -1;
  std::deque<Worker> crew;

  mutable std::mutex mutex;  // guards what follows
  std::condition_variable work_ready, batch_ready;
  std::vector<Slot> slots;  // batch b is made in slot b % slots
  int64_t claimed_batch = 0, claimed_sample = 0;
  int64_t next_batch = 0;  // the consumer's
  int64_t end_batch = 0;
  int at_work = 0;
  std::exception_ptr error;
  std::map<int64_t, std::string> bad;
  std::atomic<bool> cancelled = false;  // samples in work are abandoned
  bool stopping = false;
  bool stalled = false;
};

Loader::Loader(DatasetPtr dataset, SampleTransform transform, const LoaderOptions& options)
    : core_(std::make_shared<Core>(std::move(dataset), std::move(transform), options)) {
  if (options.workers == 0) return;
  core_->slots.resize(static_cast<size_t>(std::min(options.prefetch_batches, batches_per_epoch())));
  for (Core::Slot& slot : core_->slots) core_->reserve(slot.batch);
  try {
    for (Core::Worker& worker : core_->crew) {
      workers_.emplace_back([core = core_, &worker] { core->work(worker); });
    }
  } catch (...) {  // a thread that cannot be started; the others wait for work
    core_->stop();
    for (std::thread& worker : workers_) worker.join();
    throw;
  }
}

Loader::~Loader() {
  const bool idle = core_->stop();
  for (std::thread& worker : workers_) idle ? worker.join() : worker.detach();
}

int64_t Loader::batches_per_epoch() const {
  return core_->sampler.batches_per_epoch();
}

void Loader::start(int64_t epoch, int64_t first_batch) {
  check(epoch >= 0 && first_batch >= 0 && first_batch <= batches_per_epoch(), "loader: cannot start at batch ",
        first_batch, " of epoch ", epoch, "; an epoch has ", batches_per_epoch(), " batches");
  core_->pause();
  core_->epoch = epoch;
  core_->sampler.start(epoch);
  {
    const std::lock_guard lock(core_->mutex);
    for (Core::Slot& slot : core_->slots) slot.batch.number = -1;
    core_->error = nullptr;
    core_->cancelled = false;
    core_->claimed_batch = core_->next_batch = first_batch;
    core_->claimed_sample = 0;
    core_->end_batch = batches_per_epoch();
  }
  core_->work_ready.notify_all();
}

bool Loader::next(Batch& batch) {
  Core& core = *core_;
  check(core.epoch >= 0, "loader: next() before start()");
  for (;;) {
    std::unique_lock lock(core.mutex);
    if (core.error) std::rethrow_exception(core.error);
    if (core.next_batch == core.end_batch) return false;
    core.reserve(batch);
    const auto start = Clock::now();
    if (workers_.empty()) {
      lock.unlock();
      core.begin_batch(batch, core.next_batch);
      try {
        core.fill({.batch = &batch, .draws = core.sampler.batch(core.next_batch), .begin = 0, .end = batch.count},
                  nullptr);
      } catch (...) {
        core.error = std::current_exception();
        throw;
      }
      wait_seconds_ += seconds_since(start);
      ++core.next_batch;
    } else {
      Core::Slot& slot = core.slots[static_cast<size_t>(core.next_batch) % core.slots.size()];
      const auto ready = [&] { return core.error || (slot.batch.number == core.next_batch && slot.unfinished == 0); };
      if (!ready()) {
        core.wait_until(lock, ready);
        wait_seconds_ += seconds_since(start);
      }
      if (core.error) std::rethrow_exception(core.error);
      std::swap(batch, slot.batch);
      slot.batch.number = -1;
      ++core.next_batch;
      lock.unlock();
      core.work_ready.notify_all();
    }
    Core::close_gaps(batch);
    if (batch.count > 0) return true;
  }
}

std::vector<BadImage> Loader::bad_images() const {
  const std::lock_guard lock(core_->mutex);
  std::vector<BadImage> images;
  for (const auto& [index, message] : core_->bad) images.push_back({index, message});
  return images;
}

// Waits on batch_ready, and meanwhile looks for workers that do not come back.
template <class Ready>
void Loader::Core::wait_until(std::unique_lock<std::mutex>& lock, const Ready& ready) {
  double shortest = 1;
  for (const double limit : {options.stall_warning, options.data_timeout}) {
    if (limit > 0) shortest = std::min(shortest, limit / 4);
  }
  while (!batch_ready.wait_for(lock, std::chrono::duration<double>(shortest), ready)) check_stalls();
}

void Loader::Core::check_stalls() {
  for (Worker& worker : crew) {
    const int64_t index = worker.index;
    if (index < 0) continue;
    const double seconds = seconds_since(Clock::time_point(Clock::duration(worker.since)));
    if (options.data_timeout > 0 && seconds >= options.data_timeout) {
      stalled = true;
      std::ostringstream message;
      message << dataset->describe(index) << ": has not been read for " << options.data_timeout
              << " s; does its file system hang? --data-timeout sets how long to wait, 0 for ever";
      error = std::make_exception_ptr(Error(ErrorKind::data, message.str()));
      cancelled = true;
      std::rethrow_exception(error);
    }
    if (options.stall_warning > 0 && seconds >= options.stall_warning && worker.reported != index) {
      worker.reported = index;
      std::ostringstream message;
      message << dataset->describe(index) << ": has not been read for " << options.stall_warning
              << " s; does its file system hang?";
      if (options.data_timeout > 0) message << " The run ends after " << options.data_timeout << " s";
      if (options.on_stall) options.on_stall(message.str());
    }
  }
}

// Afterwards no worker touches a slot or the order of the samples.
void Loader::Core::pause() {
  std::unique_lock lock(mutex);
  cancelled = true;
  end_batch = 0;
  wait_until(lock, [this] { return at_work == 0; });
}

// Returns whether all workers are about to end.
bool Loader::Core::stop() {
  std::unique_lock lock(mutex);
  stopping = true;
  cancelled = true;
  work_ready.notify_all();
  return batch_ready.wait_for(lock, stalled ? std::chrono::seconds(0) : kGrace, [this] { return at_work == 0; });
}

void Loader::Core::work(Worker& worker) {
  std::unique_lock lock(mutex);
  for (;;) {
    work_ready.wait(lock, [this] { return stopping || has_work(); });
    if (stopping) return;
    const Work work = claim();
    ++at_work;
    lock.unlock();
    std::exception_ptr thrown;
    try {
      fill(work, &worker);
    } catch (...) {
      thrown = std::current_exception();
    }
    lock.lock();
    --at_work;
    work.slot->unfinished -= work.end - work.begin;
    if (thrown && !error) {
      error = thrown;
      cancelled = true;
    }
    if (error || at_work == 0 || work.slot->unfinished == 0) batch_ready.notify_all();
  }
}

bool Loader::Core::has_work() const {
  return !error && claimed_batch < end_batch && claimed_batch < next_batch + static_cast<int64_t>(slots.size());
}

Loader::Core::Work Loader::Core::claim() {
  Slot& slot = slots[static_cast<size_t>(claimed_batch) % slots.size()];
  if (claimed_sample == 0) {
    begin_batch(slot.batch, claimed_batch);
    slot.unfinished = slot.batch.count;
  }
  const int64_t end = std::min(claimed_sample + chunk, slot.batch.count);
  const Work work{
      .batch = &slot.batch, .draws = sampler.batch(claimed_batch), .begin = claimed_sample, .end = end, .slot = &slot};
  claimed_sample = end;
  if (end == slot.batch.count) {
    ++claimed_batch;
    claimed_sample = 0;
  }
  return work;
}

// Gives a batch the memory of a full one. Only the consumer's thread does this, so that a worker never
// allocates while it holds the lock.
void Loader::Core::reserve(Batch& batch) const {
  const auto size = static_cast<size_t>(options.batch_size);
  // Whatever another loader left in it goes.
  const size_t placed = options.place ? size : 0, read = size - placed;
  batch.offsets.resize(2 * placed);
  batch.flips.resize(placed);
  batch.images.resize(read * static_cast<size_t>(options.height * options.width * 3));
  batch.labels.resize(size);
  batch.indices.resize(size);
  batch.erased.resize(erases() ? 4 * size : 0);
}

void Loader::Core::begin_batch(Batch& batch, int64_t number) const {
  batch.number = number;
  batch.count = static_cast<int64_t>(sampler.batch(number).size());
  batch.height = options.height;
  batch.width = options.width;
  batch.mix = {};
  if (options.mode != LoaderMode::train || !options.mix.any()) return;
  const int64_t of_all = number * options.ranks + options.rank;
  RandomStream random(options.seed, static_cast<uint64_t>(epoch), static_cast<uint64_t>(of_all), purpose::kMix);
  batch.mix = choose_mix(options.mix, epoch, batch.height, batch.width, random);
}

void Loader::Core::fill(const Work& work, Worker* worker) {
  for (int64_t position = work.begin; position < work.end && !cancelled; ++position) {
    fill_sample(*work.batch, position, work.draws[static_cast<size_t>(position)], worker);
  }
}

void Loader::Core::fill_sample(Batch& batch, int64_t position, int64_t draw, Worker* worker) {
  if (try_sample(batch, position, sample_of(draw), draw, worker)) return;
  if (options.mode == LoaderMode::evaluate) {
    batch.labels[static_cast<size_t>(position)] = kLeftOut;
    return;
  }
  RandomStream random(options.seed, static_cast<uint64_t>(epoch), static_cast<uint64_t>(draw), purpose::kSubstitution);
  for (int attempt = 0; attempt < kMaxSubstitutions; ++attempt) {
    const int64_t index = random.below(static_cast<uint32_t>(dataset->size()));
    if (try_sample(batch, position, index, draw, worker)) return;
  }
  fail(ErrorKind::data, dataset->describe(sample_of(draw)), ": no readable picture was found to take its place in ",
       kMaxSubstitutions, " tries");
}

// Puts `index` at `position` with the augmentation of `draw`, which it may stand for. Returns false if the
// picture is bad and options.bad_images says to skip it.
bool Loader::Core::try_sample(Batch& batch, int64_t position, int64_t index, int64_t draw, Worker* worker) {
  if (worker != nullptr) {
    worker->since = Clock::now().time_since_epoch().count();
    worker->index = index;
  }
  const auto finish = [&] {
    if (worker != nullptr) worker->index = -1;
  };
  try {
    load(batch, position, index, draw, /*partial=*/false);
  } catch (const Error& found) {
    const bool used = found.kind() == ErrorKind::data && options.bad_images == BadImages::use_partial &&
                      load_partial(batch, position, index, draw);
    finish();
    if (found.kind() != ErrorKind::data || options.bad_images == BadImages::fail) throw;
    note_bad(index, found.what() + std::string(used ? "; used as far as it goes" : ""));
    return used;
  } catch (...) {
    finish();
    throw;
  }
  finish();
  return true;
}

// Returns false if there is no part to use.
bool Loader::Core::load_partial(Batch& batch, int64_t position, int64_t index, int64_t draw) {
  try {
    load(batch, position, index, draw, /*partial=*/true);
    return true;
  } catch (const Error& found) {
    if (found.kind() != ErrorKind::data) throw;
    return false;
  }
}

void Loader::Core::load(Batch& batch, int64_t position, int64_t index, int64_t draw, bool partial) {
  const auto bytes = static_cast<size_t>(options.height * options.width * 3);
  try {
    RandomStream random(options.seed, static_cast<uint64_t>(epoch), static_cast<uint64_t>(draw),
                        purpose::kAugmentation);
    if (options.place) {
      const auto i = static_cast<size_t>(position);
      const Placement place = options.place(random);
      batch.offsets[2 * i] = place.row;
      batch.offsets[2 * i + 1] = place.column;
      batch.flips[i] = place.flip ? 1 : 0;
    } else {
      Picture picture = dataset->read(index);
      if (partial)
        picture = {.image = decode_image(picture.file, picture.name, {.partial = true}), .file = {}, .name = {}};
      transform(picture, random, std::span(batch.images).subspan(static_cast<size_t>(position) * bytes, bytes));
    }
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    fail(ErrorKind::memory, dataset->describe(index), ": out of memory while loading the picture");
  } catch (const std::exception& found) {
    fail(ErrorKind::internal, dataset->describe(index), ": ", found.what());
  }
  batch.labels[static_cast<size_t>(position)] = dataset->label(index);
  batch.indices[static_cast<size_t>(position)] = index;
  if (erases()) {
    RandomStream random(options.seed, static_cast<uint64_t>(epoch), static_cast<uint64_t>(draw), purpose::kErasing);
    const ErasedBox box = choose_erased(options.erasing, options.height, options.width, random);
    std::ranges::copy(std::array{box.top, box.left, box.bottom, box.right}, batch.erased.begin() + 4 * position);
  }
}

void Loader::Core::note_bad(int64_t index, const std::string& message) {
  const std::lock_guard lock(mutex);
  bad.emplace(index, message);
  const auto count = static_cast<int64_t>(bad.size());
  if (static_cast<double>(count) > options.max_bad_fraction * static_cast<double>(dataset->size())) {
    fail(ErrorKind::data, "data: ", count, " of ", dataset->size(), " pictures cannot be read, the last being ",
         message);
  }
}

// Moves the samples after a left-out one forward and gives the vectors their final size.
void Loader::Core::close_gaps(Batch& batch) {
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
  if (!batch.placed()) batch.images.resize(kept * bytes);
  batch.labels.resize(kept);
  batch.indices.resize(kept);
  // In training, where there are no gaps.
  if (!batch.erased.empty()) batch.erased.resize(4 * kept);
  if (batch.placed()) batch.offsets.resize(2 * kept), batch.flips.resize(kept);
}

}  // namespace engine
