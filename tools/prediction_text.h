#pragma once
// What resnet-predict prints of each picture.
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/train/metrics.h"

namespace engine::tools {

struct Prediction {
  std::string path;
  std::vector<ClassProbability> top;  // the most probable first
  std::string heat_map;               // the file, if there is one
};

// One JSON object without a line end; what is not UTF-8 is replaced.
//   {"path":"a.jpg","predictions":[{"class":"cat","index":3,"probability":0.93},...],"cam":"maps/a.png"}
std::string prediction_json(const Prediction& prediction, const std::vector<std::string>& class_names);
//   {"path":"b.jpg","error":"b.jpg: not a JPEG or PNG file"}
std::string unreadable_json(const std::string& path, const std::string& message);

// A table: the picture stands in the first line of its classes.
std::string table_head(size_t width);
std::string table_lines(const Prediction& prediction, const std::vector<std::string>& class_names, size_t width);

// Columns of the terminal that the paths take, at most so many that the table stays readable.
size_t table_width(const std::vector<std::string>& paths);

}  // namespace engine::tools
