// Kernels of the filters' gradient for bf16.
#include "kernels/conv/wgrad.h"

namespace engine::kernels::conv {

template bool dispatch_wgrad<bf16>(const BackwardWeightsParams& params, const SplitChoice& split, DataType type,
                                   Stream stream);

}  // namespace engine::kernels::conv
