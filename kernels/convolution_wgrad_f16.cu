// Kernels of the filters' gradient for f16.
#include "kernels/conv/wgrad.h"

namespace engine::kernels::conv {

template bool dispatch_wgrad<f16>(const BackwardWeightsParams& params, const SplitChoice& split, DataType type,
                                  Stream stream);

}  // namespace engine::kernels::conv
