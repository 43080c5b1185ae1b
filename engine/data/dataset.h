#pragma once
// A labelled set of pictures, and the ways to cut one in two and to keep it in memory.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/data/image.h"

namespace engine {

// A picture as its data set has it: pixels or, if `file` is not empty, the bytes of a JPEG or PNG file, so that only
// what is wanted of it need be decoded.
struct Picture {
  Image image;
  std::vector<uint8_t> file;
  std::string name;  // of the file, for messages

  bool encoded() const { return !file.empty(); }
};

// The whole picture. Throws Error(ErrorKind::data) if the file cannot be decoded.
Image decode_picture(Picture picture);

// Samples are numbered 0 ... size()-1. All members may be called from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;
  virtual const std::vector<std::string>& class_names() const = 0;
  int num_classes() const { return static_cast<int>(class_names().size()); }

  // In 0 ... num_classes()-1; needs no file.
  virtual int64_t label(int64_t index) const = 0;

  // RGB, [height, width, 3]. Throws Error(ErrorKind::data) naming the file or record.
  virtual Image load(int64_t index) const = 0;

  // The same picture, not yet decoded where it lies in a file. Throws Error(ErrorKind::data) if that cannot be read.
  virtual Picture read(int64_t index) const { return {.image = load(index), .file = {}, .name = {}}; }

  // The sample's path, or file and record, safe to print: control characters and bad UTF-8 are escaped.
  virtual std::string describe(int64_t index) const = 0;

  // load() is a copy from memory, so keeping the pictures a second time would gain nothing.
  virtual bool resident() const { return false; }
};

using DatasetPtr = std::shared_ptr<const Dataset>;

struct DatasetPair {
  DatasetPtr train;
  DatasetPtr val;
  std::string summary;  // one line for a person: what was recognised and how it was divided
};

// The samples `indices` of `dataset`, in that order.
DatasetPtr subset(DatasetPtr dataset, std::vector<int64_t> indices);

// Holds out a part of `dataset` for validation. `amount` in (0, 1) is a fraction, a whole number from 1 up is
// a count. Each class gives its share (rounded so that the total is exact) and keeps at least one training
// sample; which samples is a function of `seed`. Both parts keep the order of `dataset`.
// Throws Error(ErrorKind::usage) if `amount` is neither, or leaves one side empty.
DatasetPair split_dataset(const DatasetPtr& dataset, double amount, uint64_t seed);

// `dataset`, with every decoded picture of at most `bytes_per_image` bytes kept after its first load. The
// memory is thus bounded by size() * bytes_per_image, and a set of large photos costs none at all.
DatasetPtr keep_in_memory(DatasetPtr dataset, int64_t bytes_per_image);

}  // namespace engine
