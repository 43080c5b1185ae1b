#include "engine/data/image_batches.h"

#include <cmath>
#include <utility>

#include "engine/data/batch_tensors.h"
#include "engine/data/image_folder.h"

namespace engine {
namespace {

SampleTransform transform_of(const ImageBatchOptions& options) {
  if (options.transform) return options.transform;
  if (options.mode == LoaderMode::train) return sample_transform(TrainTransform{.size = options.size});
  const auto resize = static_cast<int>(std::lround(options.size * 256.0 / 224));
  return sample_transform(EvalTransform{.resize = resize, .size = options.size});
}

}  // namespace

ImageBatches::ImageBatches(DatasetPtr dataset, const ImageBatchOptions& options)
    : dataset_(std::move(dataset)),
      to_{options.dtype, options.device},
      normalization_(options.normalization),
      loader_(dataset_, transform_of(options),
              {.mode = options.mode,
               .batch_size = options.batch_size,
               .height = options.size,
               .width = options.size,
               .workers = options.workers,
               .seed = options.seed}) {}

ImageBatches::Iterator ImageBatches::begin() {
  loader_.start(epoch_++);
  done_ = false;
  advance();
  return Iterator(*this);
}

void ImageBatches::advance() {
  batch_ = {};  // its memory first: the next images go there
  done_ = !loader_.next(host_);
  if (!done_) batch_ = {image_tensor(host_, normalization_, to_), label_tensor(host_, to_.device)};
}

ImageFolder::ImageFolder(const std::string& path, const ImageBatchOptions& options)
    : ImageBatches(open_image_folder(path), options) {}

}  // namespace engine
