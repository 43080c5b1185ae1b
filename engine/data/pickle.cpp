#include "engine/data/pickle.h"

#include <bit>
#include <limits>
#include <unordered_map>
#include <utility>

#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

using Kind = PickleValue::Kind;

// CIFAR-100's training file has 150,000; 400,000 take 100 MB at worst.
constexpr size_t kMaxValues = 400'000;

enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyTuple = ')',
  kEmptyList = ']',
  kEmptyDict = '}',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

bool is_reconstruct(std::string_view name) {
  return name == "numpy.core.multiarray._reconstruct" || name == "numpy._core.multiarray._reconstruct";
}

class Machine {
 public:
  Machine(std::span<const uint8_t> bytes, const std::string& name, std::vector<PickleValue>& values)
      : bytes_(bytes), name_(name), values_(values) {}

  uint32_t run() {
    if (bytes_.size() < 2 || bytes_[0] != kProto) refuse("is not a pickle of protocol 2 to 4");
    for (;;) {
      opcode_at_ = at_;
      const uint8_t opcode = take(1)[0];
      if (opcode == kStop) break;
      step(opcode);
    }
    const uint32_t root = pop();
    if (!stack_.empty() || !marks_.empty()) refuse("leaves values on the stack");
    if (at_ != bytes_.size()) refuse("ends before the file does");
    return root;
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(ErrorKind::data, name_, ": the pickle ", parts..., " (byte ", opcode_at_, " of ", bytes_.size(), ")");
  }

  void step(uint8_t opcode) {
    switch (opcode) {
      case kProto:
        if (const uint64_t version = unsigned_number(1); version < 2 || version > 4) {
          refuse("has protocol ", version, ", but 2 to 4 are read");
        }
        return;
      case kFrame:
        take(8);  // a hint for reading ahead
        return;
      case kNone:
        push(Kind::none);
        return;
      case kNewTrue:
      case kNewFalse:
        push(Kind::boolean).integer = opcode == kNewTrue;
        return;
      case kBinInt1:
        push(Kind::integer).integer = static_cast<int64_t>(unsigned_number(1));
        return;
      case kBinInt2:
        push(Kind::integer).integer = static_cast<int64_t>(unsigned_number(2));
        return;
      case kBinInt:
        push(Kind::integer).integer = static_cast<int32_t>(unsigned_number(4));
        return;
      case kLong1:
        return push_long();
      case kBinFloat:
        return push_real();
      case kShortBinString:
      case kShortBinBytes:
      case kShortBinUnicode:
        return push_text(unsigned_number(1));
      case kBinString:
      case kBinBytes:
      case kBinUnicode:
        return push_text(unsigned_number(4));
      case kBinBytes8:
      case kBinUnicode8:
        return push_text(unsigned_number(8));
      case kEmptyList:
        push(Kind::list);
        return;
      case kEmptyDict:
        push(Kind::dict);
        return;
      case kEmptyTuple:
        push(Kind::tuple);
        return;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return push_tuple(opcode - kTuple1 + 1u);
      case kMark:
        count_push();
        marks_.push_back(stack_.size());
        return;
      case kTuple:
        return push_tuple(above_mark());
      case kAppend:
        return extend(Kind::list, 1);
      case kAppends:
        return extend(Kind::list, above_mark());
      case kSetItem:
        return extend(Kind::dict, 2);
      case kSetItems:
        return extend(Kind::dict, above_mark());
      case kBinPut:
        return store(unsigned_number(1));
      case kLongBinPut:
        return store(unsigned_number(4));
      case kMemoize:
        return store(memo_.size());
      case kBinGet:
        return recall(unsigned_number(1));
      case kLongBinGet:
        return recall(unsigned_number(4));
      case kGlobal: {
        const std::string_view module = line();
        return push_global(module, line());
      }
      case kStackGlobal: {
        const std::string_view name = pop(Kind::text, "a name").text;
        return push_global(pop(Kind::text, "a module").text, name);
      }
      case kReduce:
        return reduce();
      case kBuild:
        return build();
      default:
        refuse("has opcode ", int{opcode}, ", which plain data and numpy arrays do not need");
    }
  }

  std::span<const uint8_t> take(uint64_t count) {
    if (count > bytes_.size() - at_) {
      refuse("is cut short: ", count, " more bytes were expected, ", bytes_.size() - at_, " are left");
    }
    const auto taken = bytes_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  std::string_view take_text(uint64_t count) {
    const auto taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

  std::string_view line() {
    size_t end = at_;
    while (end < bytes_.size() && bytes_[end] != '\n') ++end;
    const std::string_view text = take_text(end - at_);
    take(1);
    return text;
  }

  uint64_t unsigned_number(int width) {  // little endian
    uint64_t number = 0;
    const auto bytes = take(static_cast<uint64_t>(width));
    for (size_t i = bytes.size(); i-- > 0;) number = number << 8 | bytes[i];
    return number;
  }

  void push_long() {
    const uint64_t width = unsigned_number(1);
    if (width > 8) refuse("holds an integer of ", width, " bytes, but 8 are read");
    const uint64_t bits = unsigned_number(static_cast<int>(width));
    const int unused = 64 - 8 * static_cast<int>(width);
    push(Kind::integer).integer = width == 0 ? 0 : static_cast<int64_t>(bits << unused) >> unused;
  }

  void push_real() {
    uint64_t bits = 0;
    for (uint8_t byte : take(8)) bits = bits << 8 | byte;  // big endian, unlike the integers
    push(Kind::real).real = std::bit_cast<double>(bits);
  }

  void push_text(uint64_t length) {
    const std::string_view text = take_text(length);
    push(Kind::text).text = text;
  }

  void push_global(std::string_view module, std::string_view name) {
    const bool known =
        (module == "numpy" && (name == "ndarray" || name == "dtype")) ||
        (name == "_reconstruct" && (module == "numpy.core.multiarray" || module == "numpy._core.multiarray"));
    if (!known) {
      refuse("names ", printable(module), ".", printable(name),
             "; only numpy arrays are read and nothing is ever executed");
    }
    global_names_.push_back(std::string(module) + "." + std::string(name));
    push(Kind::global).integer = static_cast<int64_t>(global_names_.size() - 1);
  }

  // The last `count` values on the stack become one.
  void push_tuple(size_t count) {
    std::vector<uint32_t> items = pop_items(count);
    push(Kind::tuple).items = std::move(items);
  }

  void extend(Kind kind, size_t count) {
    if (kind == Kind::dict && count % 2 != 0) refuse("gives a dict a key without a value");
    const std::vector<uint32_t> added = pop_items(count);
    PickleValue& value = values_[top()];
    if (value.kind != kind) refuse("adds to something that is not a ", kind == Kind::list ? "list" : "dict");
    value.items.insert(value.items.end(), added.begin(), added.end());
  }

  void store(uint64_t slot) {
    if (memo_.size() == kMaxValues) refuse("stores more than ", kMaxValues, " values");
    memo_[slot] = top();
  }

  void recall(uint64_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) refuse("recalls value ", slot, ", which it never stored");
    stack_.push_back(found->second);
    count_push();
  }

  // Calls nothing: the two known calls make an array or an element type, filled in by build().
  void reduce() {
    const PickleValue& arguments = pop(Kind::tuple, "arguments");
    const std::string& callee = global_names_[static_cast<size_t>(pop(Kind::global, "a function").integer)];
    if (is_reconstruct(callee)) {
      push(Kind::array);
    } else if (callee == "numpy.dtype" && !arguments.items.empty() && values_[arguments.items[0]].kind == Kind::text) {
      const std::string_view type = values_[arguments.items[0]].text;
      push(Kind::dtype).text = type;
    } else {
      refuse("calls ", callee, " in a way that numpy arrays do not need");
    }
  }

  // A numpy array's state is (version, shape, dtype, is_fortran, bytes). A dtype's says byte order and
  // fields, which an element type of one byte does not have.
  void build() {
    const PickleValue& state = pop(Kind::tuple, "a state");
    PickleValue& value = values_[top()];
    if (value.kind == Kind::dtype) return;
    if (value.kind != Kind::array || state.items.size() != 5) refuse("sets the state of something unknown");
    const auto item = [&](size_t i) -> const PickleValue& { return values_[state.items[i]]; };
    if (item(1).kind != Kind::tuple || item(2).kind != Kind::dtype || item(3).kind != Kind::boolean ||
        item(4).kind != Kind::text) {
      refuse("gives an array a state that numpy does not write");
    }
    value.items = item(1).items;
    value.text = item(2).text;
    value.fortran_order = item(3).integer != 0;
    value.bytes = item(4).text;
  }

  PickleValue& push(Kind kind) {
    if (values_.size() == kMaxValues) refuse("has more than ", kMaxValues, " values");
    stack_.push_back(static_cast<uint32_t>(values_.size()));
    count_push();
    values_.emplace_back().kind = kind;
    return values_.back();
  }

  void count_push() {
    if (++pushes_ > 2 * kMaxValues) refuse("has more than ", 2 * kMaxValues, " values, marks and references");
  }

  // Values below a mark belong to what is built above it and are out of reach until the mark is used.
  void require(size_t count) const {
    if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) < count) refuse("takes more values than it made");
  }

  uint32_t top() const {
    require(1);
    return stack_.back();
  }

  uint32_t pop() {
    const uint32_t number = top();
    stack_.pop_back();
    return number;
  }

  const PickleValue& pop(Kind kind, const char* what) {
    const PickleValue& value = values_[pop()];
    if (value.kind != kind) refuse("has something else where ", what, " must be");
    return value;
  }

  std::vector<uint32_t> pop_items(size_t count) {
    require(count);
    std::vector<uint32_t> items(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }

  size_t above_mark() {
    if (marks_.empty()) refuse("uses a mark that it never set");
    const size_t mark = marks_.back();
    marks_.pop_back();
    return stack_.size() - mark;
  }

  std::span<const uint8_t> bytes_;
  const std::string& name_;
  std::vector<PickleValue>& values_;
  size_t at_ = 0;
  size_t opcode_at_ = 0;
  size_t pushes_ = 0;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, uint32_t> memo_;
  std::vector<std::string> global_names_;
};

}  // namespace

Pickle::Pickle(std::span<const uint8_t> bytes, const std::string& name) {
  root_ = Machine(bytes, name, values_).run();
}

const PickleValue* Pickle::find(const PickleValue& dict, std::string_view key) const {
  if (dict.kind != Kind::dict) return nullptr;
  for (size_t i = dict.items.size(); i >= 2; i -= 2) {
    const PickleValue& candidate = values_[dict.items[i - 2]];
    if (candidate.kind == Kind::text && candidate.text == key) return &values_[dict.items[i - 1]];
  }
  return nullptr;
}

}  // namespace engine
