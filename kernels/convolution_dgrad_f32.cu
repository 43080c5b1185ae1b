// Kernels of the input's gradient for f32.
#include "kernels/conv/dgrad.h"

namespace engine::kernels::conv {

template bool dispatch_dgrad<float>(const BackwardDataParams& params, DataType type, Stream stream);

}  // namespace engine::kernels::conv
