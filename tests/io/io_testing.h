#pragma once
// What several tests of engine/io share.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/error.h"

namespace engine::test {

// A directory that exists as long as the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "engine-io-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp failed for " + pattern);
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// Message of the Error that `action` throws; a test failure and "" when it throws none or one of another kind.
inline std::string error_of(ErrorKind kind, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "expected an error";
  return "";
}

// The interpreter named by ENGINE_TEST_PYTHON, or null.
inline const char* test_python() {
  return std::getenv("ENGINE_TEST_PYTHON");
}

// Standard output of a Python script that is given `argument` as sys.argv[1].
inline std::string run_python(const std::string& script, const std::filesystem::path& argument) {
  TemporaryDirectory directory;
  const auto script_path = directory.path() / "script.py", output_path = directory.path() / "output";
  std::FILE* file = std::fopen(script_path.c_str(), "w");
  if (!file) throw std::runtime_error("cannot write " + script_path.string());
  std::fputs(script.c_str(), file);
  std::fclose(file);
  const std::string command = std::string("'") + test_python() + "' '" + script_path.string() + "' '" +
                              argument.string() + "' > '" + output_path.string() + "' 2>&1";
  const int status = std::system(command.c_str());
  std::string output;
  if (std::FILE* result = std::fopen(output_path.c_str(), "r")) {
    char piece[4096];
    while (const std::size_t got = std::fread(piece, 1, sizeof piece, result)) output.append(piece, got);
    std::fclose(result);
  }
  EXPECT_EQ(status, 0) << output;
  return output;
}

}  // namespace engine::test
