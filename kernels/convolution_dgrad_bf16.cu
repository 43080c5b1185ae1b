// Kernels of the input's gradient for bf16.
#include "kernels/conv/dgrad.h"

namespace engine::kernels::conv {

template bool dispatch_dgrad<bf16>(const BackwardDataParams& params, DataType type, Stream stream);

}  // namespace engine::kernels::conv
