#pragma once
// Private to engine/train: engine/train/recipes/*.json as recipe_texts.cmake compiles them in.
#include <string_view>
#include <utility>
#include <vector>

namespace engine {

std::vector<std::pair<std::string_view, std::string_view>> recipe_texts();  // name and JSON

}  // namespace engine
