#pragma once
// Where the shared libraries that are loaded only when they are needed lie. Private to engine.
#include <string>

namespace engine {

// The file `name` as the environment variable `variable` names it, or in the folder of the library or program that
// `address` belongs to, or lib/ beside that folder. Empty if it is in none; `searched` then lists them.
std::string find_module(const std::string& name, const char* variable, const void* address, std::string* searched);

}  // namespace engine
