// Kernels of the forward convolution for f32.
#include "kernels/conv/fprop.h"

namespace engine::kernels::conv {

template bool dispatch_fprop<float>(const ForwardParams& params, DataType type, Stream stream);

}  // namespace engine::kernels::conv
