// cuDNN where its headers were not there to compile against.
#include "kernels/cuda/libraries.h"

namespace engine::kernels::cuda {

const ConvolutionLibrary& cudnn() {
  static constexpr Status kAbsent = {Problem::unsupported, 0,
                                     "this build was compiled without cuDNN's headers; install them (cudnn_graph.h) "
                                     "and configure again"};
  static const ConvolutionLibrary table = {
      .name = "cuDNN",
      .load =
          [](const char** version) {
            *version = "";
            return kAbsent;
          },
      .create =
          [](const LibraryConvolution&, LibraryPlan** out) {
            *out = nullptr;
            return kAbsent;
          },
      .workspace = [](const LibraryPlan*) { return size_t{0}; },
      .run = [](const LibraryPlan*, const LibraryConvolutionData&, Stream) { return kAbsent; },
      .destroy = [](LibraryPlan*) {},
  };
  return table;
}

}  // namespace engine::kernels::cuda
