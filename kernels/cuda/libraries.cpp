#include "kernels/cuda/libraries.h"

namespace engine::kernels::cuda {

const Libraries& libraries() {
  static const Libraries table = {.cudnn = &cudnn(), .cublaslt = &cublaslt(), .nccl = &nccl()};
  return table;
}

}  // namespace engine::kernels::cuda
