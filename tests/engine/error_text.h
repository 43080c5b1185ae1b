#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "engine/error.h"

namespace engine::testing {

// The message of the Error(kind) that `action` throws; a test failure and "" when it throws none or one of another
// kind.
inline std::string error_text(const std::function<void()>& action, ErrorKind kind = ErrorKind::usage) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "expected an error";
  return "";
}

}  // namespace engine::testing
