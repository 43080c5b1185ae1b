// Kernels of the filters' gradient for f32.
#include "kernels/conv/wgrad.h"

namespace engine::kernels::conv {

template bool dispatch_wgrad<float>(const BackwardWeightsParams& params, const SplitChoice& split, DataType type,
                                    Stream stream);

}  // namespace engine::kernels::conv
