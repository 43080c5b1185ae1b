#include "engine/ops/images.h"

#include "engine/backend.h"
#include "engine/error.h"
#include "kernels/images.h"

namespace engine {
namespace {

void check_mix(const char* op, const Tensor& mix, Device device) {
  const Shape expected = {static_cast<int64_t>(sizeof(kernels::ImageMix))};
  check(mix.shape() == expected && mix.dtype() == DType::u8 && mix.device() == device, op, ": the mix is ", mix.shape(),
        " of ", mix.dtype(), " on ", mix.device(), ", expected a mix_tensor() on ", device);
}

}  // namespace

Tensor mix_tensor(Device device) {
  return Tensor::empty({static_cast<int64_t>(sizeof(kernels::ImageMix))}, {DType::u8, device});
}

Tensor normalize_images(const Tensor& images, std::span<const float> mean, std::span<const float> std, DType dtype,
                        const ImageChoices& choices) {
  check(images.shape().rank() == 4 && images.dtype() == DType::u8, "normalize_images: the images are ", images.shape(),
        " of ", images.dtype(), ", expected [N,H,W,C] of u8");
  const auto channels = static_cast<size_t>(images.size(3));
  check(mean.size() == channels && std.size() == channels, "normalize_images: ", mean.size(), " means and ", std.size(),
        " deviations given for ", channels, " channels");
  if (choices.mix.defined()) check_mix("normalize_images", choices.mix, images.device());
  if (choices.erased.defined()) {
    const Tensor& erased = choices.erased;
    const Shape expected = {images.size(0), 4};
    check(erased.shape() == expected && erased.dtype() == DType::i64 && erased.device() == images.device(),
          "normalize_images: the erased boxes are ", erased.shape(), " of ", erased.dtype(), " on ", erased.device(),
          ", expected ", expected, " of i64 on ", images.device());
  }
  Tensor y = make_tensor(images.shape(), dtype, images.device());
  backend(images.device()).normalize_images(images, mean, std, choices, y);
  return y;
}

Tensor mixed_targets(const Tensor& labels, const Tensor& mix, int64_t num_classes) {
  check(labels.shape().rank() == 1 && labels.dtype() == DType::i64, "mixed_targets: the labels are ", labels.shape(),
        " of ", labels.dtype(), ", expected [N] of i64");
  check(num_classes > 0, "mixed_targets: ", num_classes, " classes, expected 1 or more");
  check_mix("mixed_targets", mix, labels.device());
  const Tensor targets = make_tensor({labels.size(0), num_classes}, DType::f32, labels.device());
  backend(labels.device()).mixed_targets(labels, mix, targets);
  return targets;
}

}  // namespace engine
