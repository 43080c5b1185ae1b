#include "engine/io/safetensors_header.h"

#include <fmt/format.h>

#include <limits>

#include "engine/io/utf8.h"
#include "engine/text.h"

namespace engine {
namespace {

// A reader of exactly the JSON that a header may contain. There is no general value and so no recursion: what does not
// fit the fixed three levels is refused at its first byte.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& origin) : text_(text), origin_(origin) {}

  SafetensorsHeader parse() {
    if (!is_utf8(text_)) refuse("the header is not valid UTF-8");
    if (peek() != '{') refuse("the header must start with '{'");
    SafetensorsHeader header;
    bool has_metadata = false;
    object([&](std::string key) {
      if (key == "__metadata__") {
        if (has_metadata) refuse("duplicate key __metadata__");
        has_metadata = true;
        parse_metadata(header.metadata);
      } else {
        header.entries.push_back(parse_entry(std::move(key)));
      }
    });
    skip_space();
    if (at_ != text_.size()) refuse("unexpected text after the header's '}'");
    return header;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorKind::checkpoint, "safetensors ", origin_, ": ", what, " (header byte ", at_, ")");
  }
  [[noreturn]] void expected(std::string_view what) const {
    if (at_ >= text_.size()) refuse(fmt::format("expected {}, found the end of the header", what));
    refuse(fmt::format("expected {}, found '{}'", what, shown_name(text_.substr(at_, 1))));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  void require(char c, std::string_view what) {
    if (!accept(c)) expected(what);
  }

  template <class OnKey>
  void object(const OnKey& on_key) {
    require('{', "'{'");
    if (accept('}')) return;
    do {
      std::string key = string();
      require(':', "':'");
      on_key(std::move(key));
    } while (accept(','));
    require('}', "',' or '}'");
  }

  template <class OnElement>
  void array(const OnElement& on_element) {
    require('[', "'['");
    if (accept(']')) return;
    do on_element();
    while (accept(','));
    require(']', "',' or ']'");
  }

  std::string string() {
    require('"', "a string");
    std::string value;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return value;
      }
      if (static_cast<unsigned char>(c) < 0x20) refuse("control character in a string");
      ++at_;
      if (c == '\\')
        escape(value);
      else
        value += c;
    }
    expected("'\"'");
  }

  void escape(std::string& value) {
    const char c = peek();
    ++at_;
    switch (c) {
      case '"':
      case '\\':
      case '/':
        value += c;
        return;
      case 'b':
        value += '\b';
        return;
      case 'f':
        value += '\f';
        return;
      case 'n':
        value += '\n';
        return;
      case 'r':
        value += '\r';
        return;
      case 't':
        value += '\t';
        return;
      case 'u': {
        std::uint32_t code = hex4();
        if (code >= 0xdc00 && code < 0xe000) refuse("unpaired surrogate in a string");
        if (code >= 0xd800 && code < 0xdc00) {
          if (text_.substr(at_, 2) != "\\u") refuse("unpaired surrogate in a string");
          at_ += 2;
          const std::uint32_t low = hex4();
          if (low < 0xdc00 || low >= 0xe000) refuse("unpaired surrogate in a string");
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        append_utf8(value, code);
        return;
      }
      default:
        --at_;
        refuse("unknown escape in a string");
    }
  }

  std::uint32_t hex4() {
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      std::uint32_t digit;
      if (c >= '0' && c <= '9')
        digit = static_cast<std::uint32_t>(c - '0');
      else if (c >= 'a' && c <= 'f')
        digit = static_cast<std::uint32_t>(c - 'a' + 10);
      else if (c >= 'A' && c <= 'F')
        digit = static_cast<std::uint32_t>(c - 'A' + 10);
      else
        expected("four hexadecimal digits");
      code = code * 16 + digit;
    }
    return code;
  }

  static void append_utf8(std::string& value, std::uint32_t code) {
    const auto put = [&](std::uint32_t byte) { value += static_cast<char>(byte); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xc0 | code >> 6);
      put(0x80 | (code & 63));
    } else if (code < 0x10000) {
      put(0xe0 | code >> 12);
      put(0x80 | (code >> 6 & 63));
      put(0x80 | (code & 63));
    } else {
      put(0xf0 | code >> 18);
      put(0x80 | (code >> 12 & 63));
      put(0x80 | (code >> 6 & 63));
      put(0x80 | (code & 63));
    }
  }

  std::uint64_t integer() {
    skip_space();
    if (peek() == '-') refuse("negative number where sizes and offsets stand");
    if (peek() < '0' || peek() > '9') expected("a non-negative integer");
    if (peek() == '0' && at_ + 1 < text_.size() && text_[at_ + 1] >= '0' && text_[at_ + 1] <= '9')
      refuse("number with a leading zero");
    std::uint64_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      const auto digit = static_cast<std::uint64_t>(peek() - '0');
      if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) refuse("number beyond 64 bits");
      value = value * 10 + digit;
    }
    if (peek() == '.' || peek() == 'e' || peek() == 'E') refuse("fractional number where an integer is expected");
    return value;
  }

  void parse_metadata(SafetensorsMetadata& metadata) {
    object([&](std::string key) {
      std::string value = string();
      if (!metadata.emplace(std::move(key), std::move(value)).second) refuse("duplicate key in __metadata__");
    });
  }

  SafetensorsHeaderEntry parse_entry(std::string name) {
    SafetensorsHeaderEntry entry{std::move(name), {}, {}, {}};
    bool has_dtype = false, has_shape = false, has_offsets = false;
    const auto once = [&](bool& seen, std::string_view field) {
      if (seen) refuse(fmt::format("tensor {}: {} is given twice", shown_name(entry.name), field));
      seen = true;
    };
    object([&](const std::string& field) {
      if (field == "dtype") {
        once(has_dtype, field);
        const std::string dtype = string();
        const auto known = safetensors_dtype(dtype);
        if (!known) refuse(fmt::format("tensor {}: unknown dtype {}", shown_name(entry.name), shown_name(dtype)));
        entry.dtype = *known;
      } else if (field == "shape") {
        once(has_shape, field);
        array([&] {
          const std::uint64_t dim = integer();
          if (dim > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
            refuse(fmt::format("tensor {}: dimension {} is beyond 63 bits", shown_name(entry.name), dim));
          entry.shape.push_back(static_cast<std::int64_t>(dim));
        });
      } else if (field == "data_offsets") {
        once(has_offsets, field);
        std::size_t count = 0;
        array([&] {
          const std::uint64_t offset = integer();
          if (count == 2) refuse(fmt::format("tensor {}: more than two data_offsets", shown_name(entry.name)));
          entry.offsets[count++] = offset;
        });
        if (count != 2)
          refuse(fmt::format("tensor {}: expected two data_offsets, found {}", shown_name(entry.name), count));
      } else {
        refuse(fmt::format("tensor {}: unknown field {}", shown_name(entry.name), shown_name(field)));
      }
    });
    if (!has_dtype || !has_shape || !has_offsets)
      refuse(fmt::format("tensor {}: {} is missing", shown_name(entry.name),
                         !has_dtype   ? "dtype"
                         : !has_shape ? "shape"
                                      : "data_offsets"));
    return entry;
  }

  std::string_view text_;
  const std::string& origin_;
  std::size_t at_ = 0;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& origin) {
  return HeaderParser(text, origin).parse();
}

std::string json_string(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      (json += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      json += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      json += c;
  }
  return json += '"';
}

std::string shown_name(std::string_view name) {
  constexpr std::size_t kMaxBytes = 80;
  return printable(name.substr(0, kMaxBytes)) + (name.size() > kMaxBytes ? "..." : "");
}

}  // namespace engine
