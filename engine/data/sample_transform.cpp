#include "engine/data/sample_transform.h"

namespace engine {

SampleTransform sample_transform(const TrainTransform& transform) {
  return [transform](const Picture& picture, RandomStream& random, std::span<uint8_t> out) {
    if (picture.encoded()) return decode_and_transform(picture.file, picture.name, transform, random, out);
    transform_image(transform, picture.image, random, out);
  };
}

SampleTransform sample_transform(const EvalTransform& transform) {
  return [transform](const Picture& picture, RandomStream&, std::span<uint8_t> out) {
    if (picture.encoded()) return transform_image(transform, decode_image(picture.file, picture.name), out);
    transform_image(transform, picture.image, out);
  };
}

}  // namespace engine
