#pragma once
// What a network says of pictures, on one page that needs nothing but itself.
#include <optional>
#include <string>
#include <vector>

#include "engine/data/image.h"
#include "engine/train/metrics.h"

namespace engine {

struct PredictedPicture {
  std::string source;                                     // plain text, as all strings here
  Image image;                                            // reduced to fit the page
  std::optional<Image> heat;                              // the same with a heat map (engine/train/grad_cam.h)
  std::vector<ClassProbability> top;                      // the most probable first
  const std::vector<std::string>* class_names = nullptr;  // of all classes
};

// Pictures are kept in the form that they have on the page, about 20 kB each.
class PredictionPage {
 public:
  void add(const PredictedPicture& picture);
  void add_unreadable(const std::string& message);

  // UTF-8 HTML. `facts` stand below the title: the model, its weights, the device.
  std::string html(const std::vector<std::string>& facts) const;

 private:
  std::string figures_, unreadable_;
};

}  // namespace engine
