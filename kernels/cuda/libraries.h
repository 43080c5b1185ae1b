#pragma once
#include "kernels/libraries.h"

namespace engine::kernels::cuda {

const ConvolutionLibrary& cudnn();
const MatmulLibrary& cublaslt();
const RankLibrary& nccl();
const Libraries& libraries();

}  // namespace engine::kernels::cuda
