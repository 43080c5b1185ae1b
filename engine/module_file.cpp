#include "engine/module_file.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

namespace engine {
namespace {

namespace fs = std::filesystem;

// The folders where it may lie, without those that do not exist.
std::vector<fs::path> places(const void* address) {
  std::vector<fs::path> folders;
  const auto add = [&](const fs::path& folder) {
    std::error_code error;
    const fs::path canonical = fs::canonical(folder, error);
    if (error) return;
    for (const fs::path& known : folders)
      if (known == canonical) return;
    folders.push_back(canonical);
  };
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  Dl_info self;
  const fs::path library = dladdr(address, &self) != 0 ? fs::path(self.dli_fname).parent_path() : program;
  for (const fs::path& folder : {library, program, library / "../lib", program / "../lib"}) add(folder);
  return folders;
}

}  // namespace

std::string find_module(const std::string& name, const char* variable, const void* address, std::string* searched) {
  if (const char* named = std::getenv(variable); named && *named) return named;
  for (const fs::path& folder : places(address)) {
    const fs::path file = folder / name;
    if (fs::exists(file)) return file.string();
    *searched += (searched->empty() ? "" : ", ") + folder.string();
  }
  return {};
}

}  // namespace engine
