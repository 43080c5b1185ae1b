#pragma once
// ImageFolder: one folder per class, as torchvision.datasets.ImageFolder reads it.
#include <string>
#include <vector>

#include "engine/data/dataset.h"

namespace engine {

// Whether a file of that name counts as a picture: torchvision's list of extensions, in any case.
bool has_picture_extension(const std::string& name);

// The pictures in `folder` at any depth, in torchvision's order (by folder, then by name), as paths below it. Throws
// Error(ErrorKind::data) for a folder that cannot be read.
std::vector<std::string> list_pictures(const std::string& folder);

// The bytes of one file. Throws Error(ErrorKind::data) naming it if it cannot be read, or is empty.
Picture read_picture(const std::string& path);

// The pictures under `path`/CLASS/..., at any depth. Classes are the folders in `path` in the order of their
// bytes; within a class the order is torchvision's (by folder, then by name), so indices agree. A file counts
// if its name ends, in any case, in .jpg .jpeg .png .ppm .bmp .pgm .tif .tiff or .webp; what it really holds
// is found when it is decoded. Names that begin with a dot (.ipynb_checkpoints, ._x.jpg) are ignored. Links
// are followed, each folder once per class, so a loop of links ends.
// Throws Error(ErrorKind::data) if there are fewer than two classes, a class without a picture, or a folder
// that cannot be read. load() throws it for a file that cannot be read or decoded.
DatasetPtr open_image_folder(const std::string& path);

// Throws Error(ErrorKind::data), naming the first class that only one of the two has.
void check_same_classes(const Dataset& train, const std::string& train_name, const Dataset& val,
                        const std::string& val_name);

}  // namespace engine
