#include "engine/data/open_dataset.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "engine/data/cifar.h"
#include "engine/data/image_folder.h"
#include "engine/data/packed.h"
#include "engine/data/tar_shards.h"
#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

namespace fs = std::filesystem;

bool is_folder(const std::string& path) {
  std::error_code missing;
  return fs::is_directory(path, missing);
}

bool is_file(const std::string& path) {
  std::error_code missing;
  return fs::is_regular_file(path, missing);
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

// The tars in `folder` whose names begin with `beginning`, in the order of their bytes.
std::vector<std::string> shards_in(const std::string& folder, const std::string& beginning) {
  std::vector<std::string> shards;
  std::error_code error;
  for (fs::directory_iterator entries(folder, error); !error && entries != fs::directory_iterator();
       entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (name.starts_with(beginning) && name.ends_with(".tar")) shards.push_back(folder + "/" + name);
  }
  std::sort(shards.begin(), shards.end());
  return shards;
}

// Pictures that all belong to one part, and what they are: "image folder 'x' of 5 pictures, 2 classes".
struct Part {
  DatasetPtr dataset;
  std::string summary;
};

Part part_of(DatasetPtr dataset, const std::string& kind, const std::string& path, const std::string& more = "") {
  std::ostringstream text;
  text << kind << " '" << printable(path) << "'" << more << " of " << dataset->size() << " pictures, "
       << dataset->num_classes() << " classes";
  return {std::move(dataset), text.str()};
}

Part open_shards(const std::vector<std::string>& paths, int num_classes) {
  const std::string more = paths.size() > 1 ? " and " + std::to_string(paths.size() - 1) + " more" : "";
  return part_of(open_tar_shards(paths, num_classes), "tar", paths.front(), more);
}

// Files as one part, or a packed file with both.
std::optional<DatasetPair> open_file(const std::string& path, int num_classes) {
  std::error_code missing;
  const bool exists = fs::exists(path, missing);
  const bool is_pattern = !exists && path.find('{') != std::string::npos;
  if (is_pattern || (is_file(path) && path.ends_with(".tar"))) {
    Part part = open_shards(is_pattern ? expand_braces(path) : std::vector{path}, num_classes);
    return DatasetPair{.train = part.dataset, .val = nullptr, .summary = part.summary};
  }
  if (is_file(path) && is_packed(path)) return open_packed(path);
  return std::nullopt;
}

// A folder with train/ and val/, each with class folders or tars; with tars named train* and val*; or with class
// folders. `val` stays empty if there is none.
DatasetPair open_folder(const std::string& path, bool wants_val) {
  const std::string name = printable(path);
  const auto find = [&](const std::string& part, int num_classes) -> std::optional<Part> {
    if (auto shards = shards_in(path, part); !shards.empty()) return open_shards(shards, num_classes);
    const std::string folder = path + "/" + part;
    if (!is_folder(folder)) return std::nullopt;
    if (auto shards = shards_in(folder, ""); !shards.empty()) return open_shards(shards, num_classes);
    return part_of(open_image_folder(folder), "image folder", folder);
  };
  std::optional<Part> train = find("train", 0);
  if (!train && is_folder(path + "/val")) {
    fail(ErrorKind::data, "data: '", name, "' has val/ but no train/; put the training pictures into ", name,
         "/train/CLASS/");
  }
  const bool in_parts = train.has_value();
  if (!train) {
    const std::vector<std::string> shards = shards_in(path, "");
    train = shards.empty() ? part_of(open_image_folder(path), "image folder", path) : open_shards(shards, 0);
  }
  DatasetPair pair{.train = train->dataset, .val = nullptr, .summary = train->summary};
  if (!in_parts || !wants_val) return pair;
  if (std::optional<Part> val = find("val", pair.train->num_classes())) {
    check_same_classes(*pair.train, "train", *val->dataset, "val");
    pair.val = val->dataset;
    pair.summary += "; " + std::to_string(pair.val->size()) + " validation pictures in val";
  }
  return pair;
}

void check_exists(const std::string& path) {
  const std::string name = printable(path);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    fail(ErrorKind::data, "data: '", name,
         "' does not exist; give a folder with train/ and val/, a CIFAR folder, a packed file, tars as "
         "'train-{000..012}.tar', or 'shapes' for the built-in data set");
  }
  if (!fs::is_directory(status)) {
    fail(ErrorKind::data, "data: '", name,
         "' is neither a folder nor a packed data set nor a tar; a compressed archive must be unpacked first");
  }
}

// Whatever lies at `path`. `num_classes`: what numbered labels are known to reach, 0 if unknown.
DatasetPair open_path(const std::string& path, bool wants_val, int num_classes) {
  if (auto found = open_file(path, num_classes)) return *std::move(found);
  check_exists(path);
  if (auto cifar = find_cifar(path)) return *std::move(cifar);
  return open_folder(path, wants_val);
}

// The decoded pictures of both parts may take `cache_bytes` together.
void keep_small_pictures(DatasetPair& pair, int64_t cache_bytes) {
  const int64_t pictures = pair.train->size() + (pair.val ? pair.val->size() : 0);
  const int64_t share = cache_bytes / std::max<int64_t>(1, pictures);
  pair.train = keep_in_memory(pair.train, share);
  if (pair.val) pair.val = keep_in_memory(pair.val, share);
}

void open_val_path(DatasetPair& pair, const OpenDatasetOptions& options) {
  DatasetPair other = open_path(options.val_path, /*wants_val=*/true, pair.train->num_classes());
  // A folder or file with both parts has its validation pictures in `val`.
  pair.val = other.val ? other.val : other.train;
  check_same_classes(*pair.train, printable(options.path), *pair.val, printable(options.val_path));
  pair.summary += "; " + std::to_string(pair.val->size()) + " validation pictures in " + printable(options.val_path);
}

}  // namespace

DatasetPair open_dataset(const OpenDatasetOptions& options) {
  check(options.val_path.empty() || options.val_split == 0,
        "--val-path and --val-split both say what is validated on; give one of them");
  const bool splits = options.val_split != 0;
  DatasetPair pair;
  if (options.path == "shapes") {
    pair = open_shapes(options.shapes);
  } else {
    pair = open_path(options.path, !splits && options.val_path.empty(), 0);
  }
  if (!options.val_path.empty()) open_val_path(pair, options);
  if (splits) pair.val = nullptr;
  keep_small_pictures(pair, options.cache_bytes);
  if (splits) {
    const std::string found = pair.summary;
    pair = split_dataset(pair.train, options.val_split, options.seed);
    pair.summary = found + "; " + pair.summary;
  }
  if (!pair.val && options.needs_val) {
    const std::string name = printable(options.path);
    fail(ErrorKind::data, "data: '", name, "' has no validation pictures; ",
         is_folder(options.path) ? "put them into " + name + "/val/CLASS/, name" : "name",
         " their place with --val-path, or hold some out with --val-split 0.1");
  }
  return pair;
}

}  // namespace engine
