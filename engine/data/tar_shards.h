#pragma once
// Pictures in tar files, read where they lie: webdataset shards, and the tars of an image folder.
#include <string>
#include <vector>

#include "engine/data/dataset.h"

namespace engine {

// The paths that a pattern stands for: "a{000..002}.tar" is a000.tar, a001.tar, a002.tar, and "{x,y}" is x, y; braces
// may stand several times. A path without braces stands for itself. Throws Error(ErrorKind::usage) for a brace without
// its partner, a range that runs backwards, or more than 100,000 paths.
std::vector<std::string> expand_braces(const std::string& pattern);

// The pictures of uncompressed tars, in their order, by one of two rules.
//   webdataset: if any member ends in .cls, consecutive members whose names are the same up to the first dot of the
//   last component are a sample: one picture and one .cls with its label as a whole number. Classes are 0 ... the
//   largest label, at least `num_classes`; `classes.txt` beside the first tar names them, one a line.
//   image folder: otherwise the class is the first folder below what all members share; a tar in the tar counts as a
//   folder, as in ImageNet's training archive. Classes are in the order of their bytes.
// Only headers and .cls members are read; an index in memory finds each picture. Throws Error(ErrorKind::data), naming
// tar and member, for missing and damaged tars, a sample without picture or label, a label out of range, a name twice
// in a sample.
DatasetPtr open_tar_shards(const std::vector<std::string>& paths, int num_classes = 0);

}  // namespace engine
