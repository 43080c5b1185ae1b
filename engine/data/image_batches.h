#pragma once
// A data set as a network takes it: batches of normalised images and their labels on a device, in a range-for.
//
//   ImageFolder data("train", {.batch_size = 256, .device = best_device(), .dtype = DType::bf16});
//   for (auto& [images, labels] : data) ...   // one epoch
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/data/loader.h"
#include "engine/data/sample_transform.h"
#include "engine/data/transforms.h"
#include "engine/tensor.h"

namespace engine {

struct ImageBatch {
  Tensor images;  // [N,H,W,3]: (pixel/255 - mean) / std
  Tensor labels;  // [N] i64
};

struct ImageBatchOptions {
  int64_t batch_size = 32;
  LoaderMode mode = LoaderMode::train;  // evaluate: every picture once and in order
  int size = 224;                       // H and W
  Device device = {};
  // Of the images, hence of all activations of the net: its parameters, statistics and gradients stay f32.
  DType dtype = DType::f32;
  Normalization normalization = kImageNetNormalization;
  // What becomes of a picture; by default torchvision's: for training a random resized crop and a flip, else the centre
  // of the picture, whose short side was resized to 256/224 of the size.
  SampleTransform transform = nullptr;
  int workers = 2;  // threads that read and decode ahead
  uint64_t seed = 0;
};

// Each begin() starts the next epoch, whose order and augmentation follow from the seed and its number. A picture that
// cannot be read throws Error(data). For mixup, erasing, several ranks and what to do about bad pictures: Loader.
class ImageBatches {
 public:
  ImageBatches(DatasetPtr dataset, const ImageBatchOptions& options = {});

  class Iterator {
   public:
    ImageBatch& operator*() { return batches_->batch_; }
    Iterator& operator++() {
      batches_->advance();
      return *this;
    }
    bool operator==(std::default_sentinel_t) const { return batches_->done_; }

   private:
    friend class ImageBatches;
    explicit Iterator(ImageBatches& batches) : batches_(&batches) {}
    ImageBatches* batches_;
  };
  Iterator begin();
  std::default_sentinel_t end() const { return {}; }

  const Dataset& dataset() const { return *dataset_; }
  int64_t size() const { return dataset_->size(); }  // pictures
  int num_classes() const { return dataset_->num_classes(); }
  int64_t batches_per_epoch() const { return loader_.batches_per_epoch(); }
  // The next begin() starts this epoch: to go on with a run. They count from 0.
  void set_epoch(int64_t epoch) { epoch_ = epoch; }

 private:
  void advance();

  const DatasetPtr dataset_;
  const TensorOptions to_;
  const Normalization normalization_;
  Loader loader_;
  int64_t epoch_ = 0;
  Batch host_;
  ImageBatch batch_;
  bool done_ = false;
};

// The same of a folder with a sub-folder for each class (engine/data/image_folder.h).
class ImageFolder : public ImageBatches {
 public:
  explicit ImageFolder(const std::string& path, const ImageBatchOptions& options = {});
};

}  // namespace engine
