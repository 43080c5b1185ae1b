#pragma once
// Where in a picture a network sees a class: Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep
// networks via gradient-based localization", section 3).
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/data/image.h"
#include "engine/data/transforms.h"
#include "engine/tensor.h"

namespace engine {

// One value for each place of the last stage's activations, 0 and up: how much of the class is there.
struct HeatMap {
  int64_t height = 0, width = 0;
  std::vector<float> values;  // [height,width]
};

// relu(sum_c a_c A_c) with a_c the mean over all places of d(logit)/d(A_c): eqs. 1 and 2. `features` are the
// activations [N,h,w,C] of a float type that `head` maps to logits [N,K]; row i is asked for class classes[i].
// Gradients of the head's own parameters are computed, too, unless they do not require any. Throws Error(usage) for a
// class beyond K.
std::vector<HeatMap> grad_cam(const Tensor& features, const std::function<Tensor(const Tensor&)>& head,
                              std::span<const int64_t> classes);

// `picture` with the heat over it, from black over red to yellow and the more opaque the hotter, relative to the map's
// maximum; what the network did not see is darkened. `seen` is the window that it saw of the picture, whose values are
// interpolated linearly between the map's places.
Image draw_heat(const ImageView& picture, const EvalWindow& seen, const HeatMap& map);

}  // namespace engine
