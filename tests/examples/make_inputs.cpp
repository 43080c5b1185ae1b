// What docs/examples/train_resnet50.cpp finds in its folder: train/CLASS/*.jpg and resnet50.safetensors.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/data/jpeg_encode.h"
#include "engine/data/shapes.h"
#include "engine/nn/weights.h"
#include "models/resnet.h"

using namespace engine;

int main() {
  const DatasetPair shapes = open_shapes({.train_size = 10, .val_size = 10});
  for (int64_t i = 0; i < 2; ++i) {
    const std::filesystem::path folder = std::filesystem::path("train") / (i == 0 ? "circle" : "square");
    std::filesystem::create_directories(folder);
    const std::vector<uint8_t> jpeg = encode_jpeg(shapes.train->load(i), 90);
    std::ofstream file(folder / (std::to_string(i) + ".jpg"), std::ios::binary);
    file.write(reinterpret_cast<const char*>(jpeg.data()), static_cast<std::streamsize>(jpeg.size()));
    if (!file.flush()) return 1;
  }
  models::ResNet net = models::resnet50();
  save_safetensors("resnet50.safetensors", net);
}
