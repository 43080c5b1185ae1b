#include "kernels/emulator/origin.h"

#include <dlfcn.h>
#include <elf.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

// Where the module that this file is linked into begins; the linker defines it.
extern "C" __attribute__((visibility("hidden"))) const Elf64_Ehdr __ehdr_start;  // NOLINT(bugprone-reserved-identifier)

namespace engine::kernels::emulator {
namespace {

struct SiteTable {
  std::mutex mutex;
  std::vector<Site> sites{Site{}};
};
SiteTable& site_table() {
  static SiteTable table;
  return table;
}

bool same(const Site& a, const Site& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

uint32_t number_of(const Site& site) {
  struct Entry {
    Site site;
    uint32_t number = 0;
  };
  // Not in the thread's own block: a shared library with that much of it cannot be loaded late, into Python say.
  thread_local const auto kept = std::make_unique<std::array<Entry, 256>>();
  std::array<Entry, 256>& cache = *kept;
  const size_t hash = (reinterpret_cast<uintptr_t>(site.file) >> 3) * 31 + static_cast<size_t>(site.line);
  Entry& entry = cache[hash % cache.size()];
  if (entry.number != 0 && entry.site.file == site.file && entry.site.line == site.line) return entry.number;
  SiteTable& table = site_table();
  const std::lock_guard lock(table.mutex);
  uint32_t number = 1;
  while (number < table.sites.size() && !same(table.sites[number], site)) ++number;
  if (number == table.sites.size()) table.sites.push_back(site);
  entry = {site, number};
  return number;
}

bool part_of_the_emulator(const std::string& file) {
  return file.starts_with("kernels/emulator/") || file.starts_with("kernels/gpu") || file.starts_with("kernels/types");
}

// "file:line" of each function that was inlined at the address, innermost first.
std::vector<std::string> inlined_lines(const void* code) {
  Dl_info module;
  if (dladdr(code, &module) == 0) return {};
  uintptr_t address = reinterpret_cast<uintptr_t>(code);
  if (__ehdr_start.e_type != ET_EXEC) address -= reinterpret_cast<uintptr_t>(module.dli_fbase);
  std::ostringstream command;
  command << "addr2line -i -e '" << module.dli_fname << "' 0x" << std::hex << address << " 2>/dev/null";
  FILE* pipe = popen(command.str().c_str(), "r");
  if (pipe == nullptr) return {};
  std::vector<std::string> lines;
  char buffer[1024];
  while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) {
    const std::string_view line = buffer;
    lines.push_back(short_path(std::string(line.substr(0, line.find_first_of(" \n")))));  // drops "(discriminator 2)"
  }
  pclose(pipe);
  return lines;
}

}  // namespace

std::string short_path(const std::string& file) {
  static const std::string root = [] {
    const std::string here = __FILE__;
    return here.substr(0, here.rfind("kernels/emulator/"));
  }();
  // A compiler cache may have made the paths relative, in debug information behind the folder of the build.
  const bool relative = root.starts_with("..");
  const size_t at = root.empty() ? std::string::npos : file.rfind(root);
  if (at == 0 || (relative && at != std::string::npos)) return file.substr(at + root.size());
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? file : file.substr(slash + 1);
}

Origin::Origin(Site site) {
  if (site.file != nullptr) bits_ = number_of(site) * 2 + 1;
}

Origin Origin::from_code(const void* return_address) {
  Origin result;
  const char* start = reinterpret_cast<const char*>(&__ehdr_start);
  result.bits_ = static_cast<uint32_t>(static_cast<const char*>(return_address) - start) * 2;
  return result;
}

std::string Origin::text() const {
  if (bits_ == 0) return "?";
  if (bits_ % 2 == 1) {
    SiteTable& table = site_table();
    const std::lock_guard lock(table.mutex);
    const Site& site = table.sites[bits_ / 2];
    return short_path(site.file) + ":" + std::to_string(site.line);
  }
  static std::mutex mutex;
  static std::unordered_map<uint32_t, std::string> known;
  const std::lock_guard lock(mutex);
  std::string& text = known[bits_];
  if (!text.empty()) return text;
  // The call ends one byte before the address that it returns to.
  const char* code = reinterpret_cast<const char*>(&__ehdr_start) + bits_ / 2 - 1;
  const std::vector<std::string> lines = inlined_lines(code);
  const auto outside = std::find_if_not(lines.begin(), lines.end(), part_of_the_emulator);
  text = outside != lines.end() ? *outside : lines.empty() ? "?" : lines.back();
  return text;
}

}  // namespace engine::kernels::emulator
