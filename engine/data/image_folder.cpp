#include "engine/data/image_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/data/read_file.h"
#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 9> kExtensions = {".jpg", ".jpeg", ".png",  ".ppm", ".bmp",
                                                         ".pgm", ".tif",  ".tiff", ".webp"};
// Ten times the largest file of ImageNet.
constexpr int64_t kMaxFileBytes = int64_t{256} << 20;

struct Listing {
  std::vector<std::string> folders;
  std::vector<std::string> files;
};

// The visible names in a folder, in the order of their bytes. Only folders and links cost a stat: the
// directory itself says what the rest is.
Listing list_folder(const std::string& path) {
  Listing listing;
  std::error_code error;
  fs::directory_iterator entries(path, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    std::string name = entries->path().filename().string();
    if (name.front() == '.') continue;
    // A link that leads nowhere is listed as a file: reading it fails by name instead of losing a sample.
    std::error_code missing;
    (entries->is_directory(missing) ? listing.folders : listing.files).push_back(std::move(name));
  }
  if (error) fail(ErrorKind::data, "image folder: cannot list '", printable(path), "': ", error.message());
  std::sort(listing.folders.begin(), listing.folders.end());
  std::sort(listing.files.begin(), listing.files.end());
  return listing;
}

// Appends the pictures in and below `root`/`folder`, as paths relative to `root`.
class Walk {
 public:
  Walk(const std::string& root, std::vector<std::string>& pictures) : root_(root), pictures_(pictures) {}

  // torchvision sorts the folders of the whole tree by path ("a b" before "a/b"), so they are collected first.
  void add(const std::string& folder) {
    collect(folder);
    std::sort(folders_.begin(), folders_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [path, files] : folders_) {
      for (const std::string& file : files) pictures_.push_back(path + "/" + file);
    }
  }

 private:
  void collect(const std::string& top) {
    std::vector<std::string> pending = {top};
    while (!pending.empty()) {
      const std::string folder = std::move(pending.back());
      pending.pop_back();
      const std::string path = root_ + "/" + folder;
      struct stat status {};
      if (::stat(path.c_str(), &status) == 0 && !seen_.emplace(status.st_dev, status.st_ino).second) continue;
      Listing listing = list_folder(path);
      std::erase_if(listing.files, [](const std::string& name) { return !has_picture_extension(name); });
      for (auto name = listing.folders.rbegin(); name != listing.folders.rend(); ++name) {
        pending.push_back(folder + "/" + *name);
      }
      folders_.emplace_back(folder, std::move(listing.files));
    }
  }

  const std::string& root_;
  std::vector<std::string>& pictures_;
  std::vector<std::pair<std::string, std::vector<std::string>>> folders_;
  std::set<std::pair<dev_t, ino_t>> seen_;
};

class ClassFolders : public Dataset {
 public:
  explicit ClassFolders(std::string root) : root_(std::move(root)) {
    while (root_.size() > 1 && root_.back() == '/') root_.pop_back();
    class_names_ = list_folder(root_).folders;
    const std::string name = printable(root_);
    if (class_names_.size() < 2) {
      fail(ErrorKind::data, "image folder: '", name, "' has ", class_names_.size(),
           " class folders, but a classifier needs 2 or more; put the pictures of each class into a folder of "
           "their own, as in ",
           name, "/cat/1.jpg");
    }
    for (const std::string& folder : class_names_) {
      std::vector<std::string> pictures;
      Walk(root_, pictures).add(folder);
      if (pictures.empty()) {
        fail(ErrorKind::data, "image folder: class folder '", name, "/", printable(folder),
             "' holds no picture (a name ending in .jpg, .jpeg, .png and so on); fill it or remove it");
      }
      for (const std::string& picture : pictures) append(picture);
      class_ends_.push_back(static_cast<int64_t>(begins_.size()));
    }
    paths_.shrink_to_fit();
    begins_.shrink_to_fit();
    for (std::string& folder : class_names_) folder = printable(folder);
  }

  int64_t size() const override { return class_ends_.back(); }
  const std::vector<std::string>& class_names() const override { return class_names_; }

  int64_t label(int64_t index) const override {
    return std::upper_bound(class_ends_.begin(), class_ends_.end(), index) - class_ends_.begin();
  }

  Image load(int64_t index) const override { return decode_picture(read(index)); }

  Picture read(int64_t index) const override { return read_picture(full_path(index)); }

  std::string describe(int64_t index) const override { return printable(full_path(index)); }

 private:
  // One string for all paths: 1.28 million of ImageNet's take 50 MB this way and 120 MB as strings.
  void append(const std::string& path) {
    begins_.push_back(paths_.size());
    paths_ += path;
    paths_ += '\0';
  }

  std::string full_path(int64_t index) const {
    return root_ + "/" + (paths_.data() + begins_[static_cast<size_t>(index)]);
  }

  std::string root_;
  std::vector<std::string> class_names_;
  std::vector<int64_t> class_ends_;  // sample numbers
  std::string paths_;                // relative to root_, each ended by a zero
  std::vector<size_t> begins_;
};

}  // namespace

bool has_picture_extension(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return false;
  std::string extension = name.substr(dot);
  for (char& c : extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

std::vector<std::string> list_pictures(const std::string& folder) {
  std::vector<std::string> pictures;
  Walk(folder, pictures).add("");
  for (std::string& picture : pictures) picture.erase(0, 1);
  return pictures;
}

Picture read_picture(const std::string& path) {
  std::string name = printable(path);
  std::vector<uint8_t> file = read_file(path, name, kMaxFileBytes);
  check_not_empty(file, name);
  return {.image = {}, .file = std::move(file), .name = std::move(name)};
}

DatasetPtr open_image_folder(const std::string& path) {
  return std::make_shared<ClassFolders>(path);
}

void check_same_classes(const Dataset& train, const std::string& train_name, const Dataset& val,
                        const std::string& val_name) {
  const auto require = [](const Dataset& inside, const std::string& has, const Dataset& outside,
                          const std::string& lacks) {
    for (const std::string& name : inside.class_names()) {
      const auto& others = outside.class_names();
      if (std::find(others.begin(), others.end(), name) != others.end()) continue;
      fail(ErrorKind::data, "image folder: class '", name, "' is in ", has, " but not in ", lacks,
           "; both must have the same class folders, or labels would not mean the same");
    }
  };
  require(val, val_name, train, train_name);
  require(train, train_name, val, val_name);
}

}  // namespace engine
