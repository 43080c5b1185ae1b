#pragma once
// What a loader does to each picture.
#include <cstdint>
#include <functional>
#include <span>

#include "engine/data/dataset.h"
#include "engine/data/transforms.h"
#include "engine/random.h"

namespace engine {

// Turns a picture into height x width x 3 bytes, decoding it if it comes as a file. Called by several threads at once;
// the stream is the only randomness it may use.
using SampleTransform = std::function<void(const Picture&, RandomStream&, std::span<uint8_t> out)>;

// Of a JPEG only what a random resized crop keeps is decoded. They throw what transform_image() and decode_image() do.
SampleTransform sample_transform(const TrainTransform& transform);
SampleTransform sample_transform(const EvalTransform& transform);

}  // namespace engine
