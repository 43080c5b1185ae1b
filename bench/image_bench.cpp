// Decoding, resizing and augmenting real photos on one core, in photos per second of processor time:
//
//   taskset -c 0 image_bench FOLDER [SECONDS_PER_CASE]
//
// bench/peers/pillow_images.py runs it side by side with Pillow.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <vector>

#include "engine/data/image.h"
#include "engine/data/transforms.h"
#include "engine/error.h"

using namespace engine;

namespace {

using Bytes = std::vector<uint8_t>;

std::vector<Bytes> read_folder(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> files;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    files.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return files;
}

// Whole rounds over the `count` photos until `seconds` are over. Processor time, so that whatever else runs on
// the machine disturbs little.
double photos_per_second(size_t count, double seconds, const std::function<void(size_t)>& work) {
  for (size_t i = 0; i < count; ++i) work(i);
  const std::clock_t start = std::clock();
  double elapsed = 0;
  size_t rounds = 0;
  while (elapsed < seconds) {
    for (size_t i = 0; i < count; ++i) work(i);
    ++rounds;
    elapsed = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  }
  return static_cast<double>(rounds * count) / elapsed;
}

int run(const std::filesystem::path& folder, double seconds) {
  const std::vector<Bytes> files = read_folder(folder);
  std::vector<Image> images;
  for (const Bytes& file : files) images.push_back(decode_image(file, folder.string()));
  Bytes result(size_t{224} * 224 * 3);
  uint64_t draws = 0;
  const auto stream = [&draws] { return RandomStream(0, 0, draws++, purpose::kAugmentation); };

  const auto report = [&](const char* name, const std::function<void(size_t)>& work) {
    draws = 0;
    std::printf("%s\t%.1f\n", name, photos_per_second(files.size(), seconds, work));
    std::fflush(stdout);
  };
  report("decode", [&](size_t i) { decode_image(files[i], "photo"); });
  for (const auto method : {Interpolation::bilinear, Interpolation::bicubic}) {
    const bool cubic = method == Interpolation::bicubic;
    report(cubic ? "resize_256_crop_224_bicubic" : "resize_256_crop_224_bilinear",
           [&](size_t i) { transform_image(EvalTransform{.interpolation = method}, images[i], result); });
    report(cubic ? "random_resized_crop_bicubic" : "random_resized_crop_bilinear", [&](size_t i) {
      RandomStream random = stream();
      transform_image(TrainTransform{.interpolation = method}, images[i], random, result);
    });
  }
  report("decode_and_random_resized_crop", [&](size_t i) {
    RandomStream random = stream();
    transform_image(TrainTransform{}, decode_image(files[i], "photo"), random, result);
  });
  report("decode_and_random_resized_crop_in_part", [&](size_t i) {
    RandomStream random = stream();
    decode_and_transform(files[i], "photo", TrainTransform{}, random, result);
  });
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: image_bench FOLDER [SECONDS_PER_CASE]\n");
    return static_cast<int>(ErrorKind::usage);
  }
  try {
    return run(argv[1], argc > 2 ? std::atof(argv[2]) : 2.0);
  } catch (const Error& error) {
    std::fprintf(stderr, "image_bench: %s\n", error.what());
    return static_cast<int>(error.kind());
  }
}
