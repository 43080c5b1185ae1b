#pragma once
// Pictures without labels: files, and folders of any form.
#include <string>
#include <vector>

#include "engine/data/dataset.h"

namespace engine {

struct FoundPicture {
  std::string path;
  std::string name;  // below the folder that it was found in: "a/1.jpg"; of a file that was named itself its last part
};

// The files that `paths` name, as they are, and the pictures in the folders that they name, at any depth and in the
// order of open_image_folder(). Throws Error(data) for a path that does not exist, a folder that holds no picture or
// cannot be read.
std::vector<FoundPicture> find_pictures(const std::vector<std::string>& paths);

// As a data set of one class without a name.
DatasetPtr open_pictures(std::vector<FoundPicture> pictures);

}  // namespace engine
