// Kernels of the forward convolution for f16.
#include "kernels/conv/fprop.h"

namespace engine::kernels::conv {

template bool dispatch_fprop<f16>(const ForwardParams& params, DataType type, Stream stream);

}  // namespace engine::kernels::conv
