#include "engine/data/open_dataset.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <sstream>

#include "engine/data/cifar.h"
#include "engine/data/image_folder.h"
#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

namespace fs = std::filesystem;

bool is_folder(const std::string& path) {
  std::error_code missing;
  return fs::is_directory(path, missing);
}

// The folder itself, or the one that an archive unpacked into it.
std::optional<DatasetPair> find_cifar(const std::string& path) {
  if (auto found = open_cifar(path)) return found;
  constexpr std::array kUnpacked = {"cifar-10-batches-bin", "cifar-10-batches-py", "cifar-100-binary",
                                    "cifar-100-python"};
  for (const char* name : kUnpacked) {
    if (auto found = open_cifar(path + "/" + name)) return found;
  }
  return std::nullopt;
}

// What each picture may take so that all of them together take at most `cache_bytes`.
int64_t image_share(int64_t cache_bytes, int64_t num_images) {
  return cache_bytes / std::max<int64_t>(1, num_images);
}

std::string describe_folder(const Dataset& dataset, const std::string& path) {
  std::ostringstream text;
  text << "image folder '" << printable(path) << "' of " << dataset.size() << " pictures, " << dataset.num_classes()
       << " classes";
  return text.str();
}

DatasetPair open_folders(const OpenDatasetOptions& options) {
  const std::string& path = options.path;
  const std::string name = printable(path);
  const bool has_train = is_folder(path + "/train"), has_val = is_folder(path + "/val");
  if (!has_train && has_val) {
    fail(ErrorKind::data, "data: '", name, "' has val/ but no train/; put the training pictures into ", name,
         "/train/CLASS/");
  }
  const std::string train_path = has_train ? path + "/train" : path;
  const DatasetPtr train = open_image_folder(train_path);
  if (options.val_split != 0) {
    const auto whole = keep_in_memory(train, image_share(options.cache_bytes, train->size()));
    DatasetPair pair = split_dataset(whole, options.val_split, options.seed);
    pair.summary = describe_folder(*train, train_path) + "; " + pair.summary;
    return pair;
  }
  if (!has_val) {
    fail(ErrorKind::data, "data: '", name, "' has no validation pictures; put them into ", name,
         "/val/CLASS/, or hold some out with --val-split 0.1");
  }
  const DatasetPtr val = open_image_folder(path + "/val");
  check_same_classes(*train, "train", *val, "val");
  const int64_t share = image_share(options.cache_bytes, train->size() + val->size());
  return {.train = keep_in_memory(train, share),
          .val = keep_in_memory(val, share),
          .summary =
              describe_folder(*train, train_path) + "; " + std::to_string(val->size()) + " validation pictures in val"};
}

void check_folder(const std::string& path) {
  const std::string name = printable(path);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    fail(ErrorKind::data, "data: '", name,
         "' does not exist; give a folder with train/ and val/, a CIFAR folder, or 'shapes' for the built-in data set");
  }
  if (!fs::is_directory(status)) {
    fail(ErrorKind::data, "data: '", name, "' is not a folder; an archive must be unpacked first");
  }
}

// For the sets that have a validation part of their own.
DatasetPair hold_out(DatasetPair pair, const OpenDatasetOptions& options) {
  if (options.val_split == 0) return pair;
  DatasetPair parts = split_dataset(pair.train, options.val_split, options.seed);
  parts.summary = pair.summary + "; " + parts.summary;
  return parts;
}

}  // namespace

DatasetPair open_dataset(const OpenDatasetOptions& options) {
  if (options.path == "shapes") return hold_out(open_shapes(options.shapes), options);
  check_folder(options.path);
  if (auto cifar = find_cifar(options.path)) return hold_out(*std::move(cifar), options);
  return open_folders(options);
}

}  // namespace engine
