#pragma once
// The one exception of the library, and the check that throws it.
//
// Form of a message: operation, actual shapes or values, expectation, remedy, as one sentence:
//   conv2d: x [8,56,56,64] has C=64, but w [128,3,3,32] expects 32
#include <sstream>
#include <stdexcept>
#include <string>

namespace engine {

// What went wrong, and at the same time the exit code of a command that ends because of it.
enum class ErrorKind : int {
  internal = 1,    // a fault of this library
  usage = 2,       // wrong argument, flag, configuration or shape
  data = 3,        // data set or image
  checkpoint = 4,  // weights or training state
  device = 5,      // device, driver or missing instruction set
  memory = 6,      // out of memory
  diverged = 7,    // non-finite loss or gradient
  peer = 8,        // another rank was lost
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Throws Error(kind) with the concatenated parts.
template <class... Parts>
[[noreturn]] void fail(ErrorKind kind, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(kind, message.str());
}

// Throws Error(ErrorKind::usage) with the concatenated parts unless `condition` holds.
template <class... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) fail(ErrorKind::usage, parts...);
}

}  // namespace engine
