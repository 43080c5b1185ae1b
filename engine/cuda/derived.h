#pragma once
// What this backend keeps beside a parameter's storage until the parameter changes.
#include <array>
#include <memory>
#include <vector>

#include "engine/cuda/allocator.h"
#include "engine/dtype.h"
#include "engine/storage.h"

namespace engine::cuda {

// A parameter rounded to the type of the activations. Renewed in place: a captured graph knows its address.
struct RoundedCopy {
  DType dtype;
  uint64_t version;  // of the storage that it was made from
  Scratch data;
};

// gamma / sqrt(running_var + eps) and beta - running_mean * that, [2][C].
struct InferenceScale {
  float eps;
  std::array<std::weak_ptr<Storage>, 3> sources;  // beta, mean, variance
  std::array<uint64_t, 4> versions;               // those of the sources, and of gamma
  Scratch data;
};

struct Derived {
  std::vector<std::unique_ptr<RoundedCopy>> rounded;
  std::shared_ptr<const InferenceScale> inference_scale;

  // Of a parameter on this backend's device; made if there is none.
  static Derived& of(Storage& owner) {
    if (!owner.derived) owner.derived = std::make_shared<Derived>();
    owner.derived_version = owner.version();
    return *std::static_pointer_cast<Derived>(owner.derived);
  }
};

}  // namespace engine::cuda
