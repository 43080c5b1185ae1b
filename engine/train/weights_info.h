#pragma once
// What weights need beside them to be of use to somebody else: written into the metadata of each model.safetensors, so
// that the one file suffices. Other readers ignore it.
//
//   "engine.model"          "resnet18"
//   "engine.classes"        a JSON array of names, in the order of the outputs
//   "engine.mean", ".std"   "0.485,0.456,0.406": of an RGB picture with values from 0 to 1
//   "engine.resize"         pixels of the short side, "0": not resized; and then of the square
//   "engine.crop"             that is cut from the centre
//   "engine.interpolation"  "bilinear" or "bicubic"
#include <string>
#include <vector>

#include "engine/data/transforms.h"
#include "engine/io/safetensors.h"

namespace engine {

struct WeightsInfo {
  std::string model;                     // empty: unknown, as is all else; the file is another program's
  std::vector<std::string> class_names;  // outputs beyond them have no name
  EvalTransform transform;
  Normalization normalization = kImageNetNormalization;
};

SafetensorsMetadata to_metadata(const WeightsInfo& info);

// Throws Error(checkpoint) with the key and its value for metadata that have our names but not our form. `origin` is
// the file's name.
WeightsInfo weights_info(const SafetensorsMetadata& metadata, const std::string& origin);

}  // namespace engine
