#pragma once
#include <cstdint>
#include <string>

#include "engine/data/dataset.h"
#include "engine/data/shapes.h"

namespace engine {

struct OpenDatasetOptions {
  std::string path;                        // a folder, or "shapes" for the built-in data set ("./shapes" is a folder)
  double val_split = 0;                    // see split_dataset; 0: the data set's own validation part is used
  uint64_t seed = 0;                       // of the split
  ShapesOptions shapes;                    // used if path is "shapes"
  int64_t cache_bytes = int64_t{1} << 30;  // for decoded pictures of an image folder that fit as a whole
};

// Recognises, in this order:
//   shapes                             engine/data/shapes.h
//   a CIFAR-10 or CIFAR-100 folder     the four published forms; also the folder that holds theirs
//   DIR/train/CLASS/*, DIR/val/CLASS/* two image folders with the same classes
//   DIR/CLASS/*                        one image folder; needs val_split
// With val_split, the validation part is held out of the training part and a DIR/val or test file is left
// untouched. Throws Error(ErrorKind::data) if the path is missing or nothing of the above, Error(usage) for a
// val_split that cannot be.
DatasetPair open_dataset(const OpenDatasetOptions& options);

}  // namespace engine
