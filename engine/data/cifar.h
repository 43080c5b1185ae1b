#pragma once
// CIFAR-10 and CIFAR-100 in both published forms: https://www.cs.toronto.edu/~kriz/cifar.html
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/data/dataset.h"

namespace engine {

enum class Cifar { ten, hundred };

// The records of one file.
struct CifarRecords {
  std::vector<uint8_t> pixels;  // [N, 32, 32, 3]
  std::vector<int64_t> labels;  // [N]; of CIFAR-100 the fine ones
};

// The binary form: per record one label byte (CIFAR-100: coarse, then fine) and 3072 bytes of planes R, G, B.
// Throws Error(ErrorKind::data), beginning with `name`, if the size is no whole number of records (with the
// sizes that would be) or a label is out of range (with the record's number, counted from 0).
CifarRecords parse_cifar_binary(std::span<const uint8_t> bytes, const std::string& name, Cifar which);

// The python form: a pickled dict of `data`, uint8 [N, 3072], and `labels` (CIFAR-100: `fine_labels`). Read
// without executing anything; see engine/data/pickle.h. Throws Error(ErrorKind::data) as above.
CifarRecords parse_cifar_pickle(std::span<const uint8_t> bytes, const std::string& name, Cifar which);

// The class names in the python form's `batches.meta` or `meta`.
std::vector<std::string> parse_cifar_meta_pickle(std::span<const uint8_t> bytes, const std::string& name, Cifar which);

// Opens the folder that one of the four published archives unpacks to: recognised by the files
// data_batch_1.bin (CIFAR-10 binary), data_batch_1 (CIFAR-10 python), train.bin (CIFAR-100 binary) or a file
// train beside meta (CIFAR-100 python). nullopt if it is none of them. All pictures are held in memory.
// `train` are the training files in order, `val` is the test file.
// Throws Error(ErrorKind::data) if a file is missing or broken.
std::optional<DatasetPair> open_cifar(const std::string& folder);

}  // namespace engine
