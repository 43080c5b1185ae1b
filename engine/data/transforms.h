#pragma once
// From a decoded image to the pixels that a network is given: the training and evaluation pipelines of
// torchvision's reference recipes, as pure functions of (image, random stream).
#include <array>
#include <vector>

#include "engine/data/augment.h"
#include "engine/data/image.h"
#include "engine/data/resize.h"
#include "engine/random.h"

namespace engine {

// A network sees (pixel/255 - mean) / std, computed on its device.
struct Normalization {
  std::array<float, 3> mean;
  std::array<float, 3> std;
};
inline constexpr Normalization kImageNetNormalization = {{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
inline constexpr Normalization kCifar10Normalization = {{0.4914f, 0.4822f, 0.4465f}, {0.2470f, 0.2435f, 0.2616f}};
inline constexpr Normalization kCifar100Normalization = {{0.5071f, 0.4865f, 0.4409f}, {0.2673f, 0.2564f, 0.2762f}};

struct TrainTransform {
  enum class Crop {
    random_resized,  // RandomResizedCrop: a random part of the image, resized to the size
    pad_and_crop,    // RandomCrop(padding): zeros around the image, then a random window of the size
    none,            // short side resized to the size, then the centre
  };
  Crop crop = Crop::random_resized;
  int size = 224;    // width and height of the result
  bool flip = true;  // mirrored left to right with probability 1/2
  Interpolation interpolation = Interpolation::bilinear;
  bool random_interpolation = false;                     // instead: bilinear or bicubic, each with probability 1/2
  std::array<double, 2> scale = {0.08, 1.0};             // random_resized: share of the area
  std::array<double, 2> ratio = {3.0 / 4.0, 4.0 / 3.0};  // random_resized: width over height
  int padding = 4;                                       // pad_and_crop: zeros on each side
  ColourJitter jitter;                                   // what follows crop and flip: first this
  AugmentPolicy policy;                                  // then this
};

struct EvalTransform {
  int resize = 256;  // of the short side, the long one in proportion (rounded down); 0: not resized
  int size = 224;    // of the square cut from the centre, zeros where it leaves the image
  Interpolation interpolation = Interpolation::bilinear;
};

// How an image enters the network: resized to width x height, of which `window` is cut out. It may reach beyond.
struct EvalWindow {
  int width = 0;
  int height = 0;
  Region window;
};

// For an image of that size. Throws Error(ErrorKind::data) if it is too elongated to be resized.
EvalWindow eval_window(const EvalTransform& transform, int width, int height);

// What chance decides for one training image.
struct Augmentation {
  Region crop;  // in the image; with pad_and_crop it may reach beyond
  bool flip = false;
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<PixelOp> ops;  // applied to the result one after the other
};

// Throws Error(ErrorKind::data) if pad_and_crop meets an image that is too small for it.
Augmentation choose_augmentation(const TrainTransform& transform, int width, int height, RandomStream& random);

// `result` is [size, size, 3], RGB, 0 ... 255; Error(ErrorKind::usage) if it has another number of bytes.
void transform_image(const TrainTransform& transform, const ImageView& image, const Augmentation& augmentation,
                     std::span<uint8_t> result);
void transform_image(const EvalTransform& transform, const ImageView& image, std::span<uint8_t> result);

// choose_augmentation() and transform_image() in one.
void transform_image(const TrainTransform& transform, const ImageView& image, RandomStream& random,
                     std::span<uint8_t> result);

// The same bytes as transform_image() of decode_image(file), sooner: what a random resized crop leaves out of a JPEG
// is not decoded. Throws what those two throw.
void decode_and_transform(std::span<const uint8_t> file, const std::string& name, const TrainTransform& transform,
                          RandomStream& random, std::span<uint8_t> result, const DecodeLimits& limits = {});

}  // namespace engine
