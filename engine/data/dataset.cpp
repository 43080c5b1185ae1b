#include "engine/data/dataset.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <sstream>
#include <utility>

#include "engine/error.h"
#include "engine/random.h"

namespace engine {
namespace {

class Subset : public Dataset {
 public:
  Subset(DatasetPtr dataset, std::vector<int64_t> indices)
      : dataset_(std::move(dataset)), indices_(std::move(indices)) {}

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  const std::vector<std::string>& class_names() const override { return dataset_->class_names(); }
  int64_t label(int64_t index) const override { return dataset_->label(whole(index)); }
  Image load(int64_t index) const override { return dataset_->load(whole(index)); }
  Picture read(int64_t index) const override { return dataset_->read(whole(index)); }
  std::string describe(int64_t index) const override { return dataset_->describe(whole(index)); }
  bool resident() const override { return dataset_->resident(); }

 private:
  int64_t whole(int64_t index) const { return indices_[static_cast<size_t>(index)]; }

  DatasetPtr dataset_;
  std::vector<int64_t> indices_;
};

class Resident : public Dataset {
 public:
  Resident(DatasetPtr dataset, int64_t bytes_per_image)
      : dataset_(std::move(dataset)),
        bytes_per_image_(static_cast<size_t>(bytes_per_image)),
        images_(static_cast<size_t>(dataset_->size())) {}
  ~Resident() override {
    for (auto& image : images_) delete image.load(std::memory_order_relaxed);
  }

  int64_t size() const override { return dataset_->size(); }
  const std::vector<std::string>& class_names() const override { return dataset_->class_names(); }
  int64_t label(int64_t index) const override { return dataset_->label(index); }
  std::string describe(int64_t index) const override { return dataset_->describe(index); }
  bool resident() const override { return true; }

  Image load(int64_t index) const override {
    if (const Image* image = kept(index)) return *image;
    return keep(index, dataset_->load(index));
  }

  // Whether a picture is decoded as a whole depends on its size alone, not on what was asked for earlier.
  Picture read(int64_t index) const override {
    if (const Image* image = kept(index)) return {.image = *image, .file = {}, .name = {}};
    Picture picture = dataset_->read(index);
    if (!picture.encoded()) return {.image = keep(index, std::move(picture.image)), .file = {}, .name = {}};
    const auto size = image_size(picture.file);
    if (!size || size_t{3} * static_cast<size_t>(size->width) * static_cast<size_t>(size->height) > bytes_per_image_)
      return picture;
    try {
      return {.image = keep(index, decode_image(picture.file, picture.name)), .file = {}, .name = {}};
    } catch (const Error&) {
      return picture;  // for whoever decodes it to meet the error, and perhaps to use a part
    }
  }

 private:
  const Image* kept(int64_t index) const { return images_[static_cast<size_t>(index)].load(std::memory_order_acquire); }

  Image keep(int64_t index, Image image) const {
    if (image.pixels.size() > bytes_per_image_) return image;
    auto copy = std::make_unique<const Image>(image);
    const Image* expected = nullptr;
    // Two threads may have decoded the same picture: the second one throws its copy away.
    if (images_[static_cast<size_t>(index)].compare_exchange_strong(expected, copy.get(), std::memory_order_acq_rel))
      (void)copy.release();
    return image;
  }

  DatasetPtr dataset_;
  size_t bytes_per_image_;
  mutable std::vector<std::atomic<const Image*>> images_;
};

// How many of each class to hold out: proportional shares, rounded down, then one more for the classes with
// the largest remainders (the lower class first among equals) until `total` is reached.
std::vector<int64_t> shares(const std::vector<std::vector<int64_t>>& classes, int64_t size, int64_t total) {
  std::vector<int64_t> share(classes.size());
  std::vector<int64_t> remainder(classes.size());
  int64_t given = 0;
  for (size_t c = 0; c < classes.size(); ++c) {
    const int64_t members = static_cast<int64_t>(classes[c].size());
    share[c] = members * total / size;
    remainder[c] = members * total % size;
    given += share[c];
  }
  std::vector<size_t> by_remainder(classes.size());
  std::iota(by_remainder.begin(), by_remainder.end(), size_t{0});
  std::stable_sort(by_remainder.begin(), by_remainder.end(),
                   [&](size_t a, size_t b) { return remainder[a] > remainder[b]; });
  // One round gives every remainder its due; more are needed only where a class cannot spare another one.
  for (bool progress = true; given < total && progress;) {
    progress = false;
    for (size_t c : by_remainder) {
      if (given == total) break;
      if (share[c] + 1 >= static_cast<int64_t>(classes[c].size())) continue;
      ++share[c];
      ++given;
      progress = true;
    }
  }
  return share;
}

}  // namespace

Image decode_picture(Picture picture) {
  return picture.encoded() ? decode_image(picture.file, picture.name) : std::move(picture.image);
}

DatasetPtr subset(DatasetPtr dataset, std::vector<int64_t> indices) {
  return std::make_shared<Subset>(std::move(dataset), std::move(indices));
}

DatasetPtr keep_in_memory(DatasetPtr dataset, int64_t bytes_per_image) {
  if (bytes_per_image <= 0 || dataset->resident()) return dataset;
  return std::make_shared<Resident>(std::move(dataset), bytes_per_image);
}

DatasetPair split_dataset(const DatasetPtr& dataset, double amount, uint64_t seed) {
  const int64_t size = dataset->size();
  check(amount > 0 && (amount < 1 || amount == std::floor(amount)), "val-split: ", amount,
        " is neither a fraction between 0 and 1 nor a whole number of samples");
  const double wanted = amount < 1 ? std::round(amount * static_cast<double>(size)) : amount;
  check(wanted < static_cast<double>(size), "val-split: ", amount, " of ", size,
        " samples would leave none to train on; hold out fewer");
  const auto total = static_cast<int64_t>(wanted);
  check(total > 0, "val-split: ", amount, " of ", size, " samples is none at all; hold out more");

  std::vector<std::vector<int64_t>> classes(dataset->class_names().size());
  for (int64_t i = 0; i < size; ++i) classes[static_cast<size_t>(dataset->label(i))].push_back(i);
  const std::vector<int64_t> share = shares(classes, size, total);
  check(std::accumulate(share.begin(), share.end(), int64_t{0}) == total, "val-split: ", amount, " of ", size,
        " samples would leave a class without a training sample; hold out fewer");

  std::vector<int64_t> train, val;
  for (size_t c = 0; c < classes.size(); ++c) {
    const auto order = random_permutation(static_cast<int64_t>(classes[c].size()), seed, c, purpose::kValSplit);
    for (size_t i = 0; i < order.size(); ++i) {
      auto& part = i < static_cast<size_t>(share[c]) ? val : train;
      part.push_back(classes[c][static_cast<size_t>(order[i])]);
    }
  }
  std::sort(train.begin(), train.end());
  std::sort(val.begin(), val.end());
  std::ostringstream summary;
  summary << val.size() << " of " << size << " samples held out for validation";
  return {.train = subset(dataset, std::move(train)), .val = subset(dataset, std::move(val)), .summary = summary.str()};
}

}  // namespace engine
