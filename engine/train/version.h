#pragma once
#include <string>

namespace engine {

const char* version();            // of this library: "0.1.0"
std::string build_description();  // "g++ 12.2.0, Release"

}  // namespace engine
