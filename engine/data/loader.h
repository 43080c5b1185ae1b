#pragma once
// Batches of transformed pictures, prepared ahead by worker threads.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/data/mix.h"
#include "engine/data/sample_transform.h"
#include "engine/data/sampler.h"
#include "engine/random.h"

namespace engine {

struct Batch {
  int64_t number = 0;  // in its epoch, from 0
  int64_t count = 0;
  int64_t height = 0;
  int64_t width = 0;
  std::vector<uint8_t> images;   // [count, height, width, 3]; empty if the samples are placed
  std::vector<int64_t> labels;   // [count]
  std::vector<int64_t> indices;  // [count]: which sample each one is
  std::vector<int64_t> erased;   // [count, 4]: an ErasedBox each; empty without random erasing
  ImageMix mix;                  // for normalize_images() and mixed_targets()
  std::vector<int64_t> offsets;  // [count, 2] and [count]: a Placement each; empty unless LoaderOptions::place
  std::vector<uint8_t> flips;

  bool placed() const { return !offsets.empty(); }
};

// What becomes of a picture that lies on the device: the part of it that begins at (row, column), zeros outside.
struct Placement {
  int64_t row = 0, column = 0;
  bool flip = false;
};
// As a SampleTransform, for pictures of one size.
using PlaceSample = std::function<Placement(RandomStream&)>;

enum class LoaderMode {
  train,     // a new order each epoch
  evaluate,  // 0, 1, 2, ...: every sample exactly once
};

enum class BadImages {
  fail,  // the first picture that cannot be read ends the run
  // Training puts another sample in its place, drawn by the generator for (seed, epoch, bad sample): the rest
  // of the order stays as it was. Evaluation leaves it out of its batch.
  skip,
  use_partial,  // a JPEG that breaks off is used as far as it goes; what gives no picture at all is skipped
};

struct LoaderOptions {
  LoaderMode mode = LoaderMode::train;
  int64_t batch_size = 32;
  int64_t height = 224;
  int64_t width = 224;
  bool drop_last = false;  // training only
  int64_t repeats = 1;     // training only: SamplerOptions::repeats
  ErasingOptions erasing;  // training only, as is mix
  MixOptions mix;
  PlaceSample place = nullptr;   // training only: the samples are placed instead of read and transformed
  int workers = 2;               // 0: next() does the work itself
  int64_t prefetch_batches = 3;  // finished or in work at any time: what bounds the memory
  uint64_t seed = 0;
  BadImages bad_images = BadImages::fail;
  double max_bad_fraction = 0.5;  // a data set with more bad pictures than this is refused even by skip
  int64_t rank = 0, ranks = 1;    // which of the batches are this process's: engine/data/sampler.h

  // A file system that hangs: seconds that a worker may spend on one picture while next() waits for it, before on_stall
  // hears of it, once a picture, and before next() throws. 0: never.
  double stall_warning = 60;
  double data_timeout = 0;
  std::function<void(const std::string& message)> on_stall = nullptr;
};

struct BadImage {
  int64_t index;
  std::string message;  // names the file or record
};

// A batch is a function of the data set, the transform, the seed, the epoch and its number: the number of
// workers, prefetching, and where the run was resumed change no bit of it.
class Loader {
 public:
  // Throws Error(ErrorKind::usage) for options that cannot be met.
  Loader(DatasetPtr dataset, SampleTransform transform, const LoaderOptions& options);
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  // Waits for the samples in work (one per worker), never for whole batches; a worker that does not come back within
  // seconds is left to itself, with what it uses.
  ~Loader();

  int64_t batches_per_epoch() const;

  // Goes to a batch of an epoch, from wherever the loader is. first_batch == batches_per_epoch() is its end.
  void start(int64_t epoch, int64_t first_batch = 0);

  // Waits for the next batch and puts it into `batch`, whose memory is used again for a later one: pass the
  // same object each time. Returns false, leaving `batch` alone, at the end of the epoch. A batch of which
  // skip has left nothing is passed over.
  // Throws what a sample threw, as soon as it has thrown: Error(ErrorKind::data) naming the file or record; the same
  // after data_timeout.
  // After that every call throws until start().
  bool next(Batch& batch);

  // What next() has spent waiting for data since the loader was made.
  double wait_seconds() const { return wait_seconds_; }

  // The pictures that skip has met so far, by index.
  std::vector<BadImage> bad_images() const;

 private:
  struct Core;  // what the workers share; outlives a worker that is left to itself

  std::shared_ptr<Core> core_;
  std::vector<std::thread> workers_;
  double wait_seconds_ = 0;
};

}  // namespace engine
