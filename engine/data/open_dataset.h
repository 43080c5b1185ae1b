#pragma once
#include <cstdint>
#include <string>

#include "engine/data/dataset.h"
#include "engine/data/shapes.h"

namespace engine {

struct OpenDatasetOptions {
  std::string path;                        // see below; "shapes": the built-in data set ("./shapes" is a folder)
  std::string val_path;                    // validation pictures that lie elsewhere
  double val_split = 0;                    // see split_dataset; 0: the data set's own validation part is used
  uint64_t seed = 0;                       // of the split
  ShapesOptions shapes;                    // used if path is "shapes"
  int64_t cache_bytes = int64_t{1} << 30;  // for decoded pictures of files that fit as a whole
  bool needs_val = true;                   // false: `val` may be null in the result
};

// Recognises, in this order:
//   shapes                             engine/data/shapes.h
//   FILE                               a packed data set (engine/data/packed.h)
//   FILE.tar, NAME-{000..012}.tar      tars (engine/data/tar_shards.h); needs val_path or val_split
//   a CIFAR-10 or CIFAR-100 folder     the four published forms; also the folder that holds theirs
//   DIR/train*.tar, DIR/val*.tar       tars; also DIR/train/*.tar, DIR/val/*.tar
//   DIR/train/CLASS/*, DIR/val/CLASS/* two image folders with the same classes
//   DIR/CLASS/*, DIR/*.tar             one image folder, or tars; needs val_path or val_split
// With val_split, the validation part is held out of the training part and a DIR/val or test file is left
// untouched. Throws Error(ErrorKind::data) if the path is missing or nothing of the above, Error(usage) for a
// val_split that cannot be.
DatasetPair open_dataset(const OpenDatasetOptions& options);

}  // namespace engine
