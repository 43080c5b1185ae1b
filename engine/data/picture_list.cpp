#include "engine/data/picture_list.h"

#include <filesystem>
#include <utility>

#include "engine/data/image_folder.h"
#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

class PictureList : public Dataset {
 public:
  explicit PictureList(std::vector<FoundPicture> pictures) : pictures_(std::move(pictures)) {}

  int64_t size() const override { return static_cast<int64_t>(pictures_.size()); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t label(int64_t) const override { return 0; }
  Image load(int64_t index) const override { return decode_picture(read(index)); }
  Picture read(int64_t index) const override { return read_picture(path(index)); }
  std::string describe(int64_t index) const override { return printable(path(index)); }

 private:
  const std::string& path(int64_t index) const { return pictures_[static_cast<size_t>(index)].path; }

  std::vector<FoundPicture> pictures_;
  std::vector<std::string> class_names_ = {""};
};

}  // namespace

std::vector<FoundPicture> find_pictures(const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<FoundPicture> found;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      if (error || !fs::exists(path, error)) {
        fail(ErrorKind::data, "finding pictures: '", printable(path),
             "' does not exist, expected a picture or a folder of pictures; see that the path is right");
      }
      found.push_back({path, fs::path(path).filename().string()});
      continue;
    }
    const std::vector<std::string> inside = list_pictures(path);
    if (inside.empty()) {
      fail(ErrorKind::data, "finding pictures: folder '", printable(path),
           "' holds no picture, expected names ending in .jpg, .jpeg, .png and so on; give others by their names");
    }
    for (const std::string& name : inside) found.push_back({(fs::path(path) / name).string(), name});
  }
  return found;
}

DatasetPtr open_pictures(std::vector<FoundPicture> pictures) {
  return std::make_shared<PictureList>(std::move(pictures));
}

}  // namespace engine
