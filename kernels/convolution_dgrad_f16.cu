// Kernels of the input's gradient for f16.
#include "kernels/conv/dgrad.h"

namespace engine::kernels::conv {

template bool dispatch_dgrad<f16>(const BackwardDataParams& params, DataType type, Stream stream);

}  // namespace engine::kernels::conv
