#include "engine/ops/images.h"

#include "engine/backend.h"
#include "engine/error.h"
#include "kernels/images.h"

namespace engine {
namespace {

void check_choice(const char* what, const Tensor& choice, const Shape& expected, DType dtype, Device device) {
  check(!choice.defined() || (choice.shape() == expected && choice.dtype() == dtype && choice.device() == device),
        "normalize_images: the ", what, " are ", choice.defined() ? choice.shape() : Shape{}, " of ",
        choice.defined() ? choice.dtype() : dtype, " on ", choice.defined() ? choice.device() : device, ", expected ",
        expected, " of ", dtype, " on ", device);
}

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
  const Device device = images.device();
  const int64_t n = choices.indices.defined() ? choices.indices.numel() : images.size(0);
  check_choice("indices", choices.indices, {n}, DType::i64, device);
  check_choice("offsets", choices.offsets, {n, 2}, DType::i64, device);
  check_choice("flips", choices.flips, {n}, DType::u8, device);
  check_choice("erased boxes", choices.erased, {n, 4}, DType::i64, device);
  check(choices.offsets.defined() || (choices.height == 0 && choices.width == 0),
        "normalize_images: a result of another size needs offsets");
  const int64_t height = choices.height > 0 ? choices.height : images.size(1);
  const int64_t width = choices.width > 0 ? choices.width : images.size(2);
  Tensor y = make_tensor({n, height, width, images.size(3)}, dtype, device);
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
