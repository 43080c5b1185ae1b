#include "engine/data/batch_tensors.h"

#include "engine/ops/images.h"

namespace engine {

Tensor image_tensor(const Batch& batch, const Normalization& normalization, TensorOptions options) {
  const Tensor bytes = Tensor::from(batch.images, {batch.count, batch.height, batch.width, 3}, options.device);
  return normalize_images(bytes, normalization.mean, normalization.std, options.dtype);
}

Tensor label_tensor(const Batch& batch, Device device) {
  return Tensor::from(batch.labels, {batch.count}, device);
}

}  // namespace engine
