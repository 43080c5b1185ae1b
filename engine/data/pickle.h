#pragma once
// Reads the data in a Python pickle without executing anything.
//
// A pickle is a program for a stack machine that may import and call any Python function. This reader runs
// only the opcodes that build plain data, and knows three names, all of numpy: an array is read as its shape,
// element type and bytes. Any other name, opcode or call is refused. Opcodes: pickletools.py of CPython.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace engine {

struct PickleValue {
  enum class Kind { none, boolean, integer, real, text, list, tuple, dict, global, dtype, array };

  Kind kind = Kind::none;
  bool fortran_order = false;   // array: the first index runs fastest
  int64_t integer = 0;          // boolean, integer
  double real = 0;              // real
  std::string_view text;        // text (str or bytes); global: its name; dtype and array: as in "u1"; in the input
  std::string_view bytes;       // array: the elements; in the input
  std::vector<uint32_t> items;  // list, tuple; dict: key, value, key, value...; array: the dimensions
};

// Protocols 2 to 4. Values refer to each other by number, so a cycle or a deep nesting is harmless, and to
// the input for their text, so it must outlive the pickle. Time and memory are linear in the input and at
// most 400,000 values are made.
class Pickle {
 public:
  // Throws Error(ErrorKind::data) beginning with `name` and naming the byte if the input is cut short, goes
  // on after its end, is not a pickle, or asks for anything but data.
  Pickle(std::span<const uint8_t> bytes, const std::string& name);

  const PickleValue& root() const { return values_[root_]; }
  const PickleValue& operator[](uint32_t number) const { return values_[number]; }

  // The value of `key` in a dict (the last one, as in Python), or null if there is none or it is no dict.
  const PickleValue* find(const PickleValue& dict, std::string_view key) const;

 private:
  std::vector<PickleValue> values_;
  uint32_t root_ = 0;
};

}  // namespace engine
