#include <fmt/format.h>

#include <algorithm>

#include "engine/data/png_encode.h"
#include "engine/error.h"
#include "engine/io/utf8.h"
#include "engine/train/report_parts.h"

namespace engine::report {
namespace {

ReportImage reduced_to_fit(const ReportImage& image, std::int64_t max_side) {
  const std::int64_t longest = std::max(image.width, image.height);
  if (longest <= max_side) return image;
  ReportImage small;
  small.width = std::max<std::int64_t>(1, image.width * max_side / longest);
  small.height = std::max<std::int64_t>(1, image.height * max_side / longest);
  small.rgb.reserve(static_cast<std::size_t>(small.width * small.height * 3));
  for (std::int64_t y = 0; y < small.height; ++y) {
    const std::int64_t top = y * image.height / small.height, bottom = (y + 1) * image.height / small.height;
    for (std::int64_t x = 0; x < small.width; ++x) {
      const std::int64_t left = x * image.width / small.width, right = (x + 1) * image.width / small.width;
      for (std::int64_t channel = 0; channel < 3; ++channel) {
        std::int64_t sum = 0;
        for (std::int64_t row = top; row < bottom; ++row)
          for (std::int64_t column = left; column < right; ++column)
            sum += image.rgb[static_cast<std::size_t>((row * image.width + column) * 3 + channel)];
        const std::int64_t count = (bottom - top) * (right - left);
        small.rgb.push_back(static_cast<std::uint8_t>((sum + count / 2) / count));
      }
    }
  }
  return small;
}

}  // namespace

std::string escape(std::string_view text) {
  std::string html;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_sequence(text, i);
    const char c = text[i];
    if (length == 0)
      html += "\xef\xbf\xbd";
    else if (c == '&')
      html += "&amp;";
    else if (c == '<')
      html += "&lt;";
    else if (c == '>')
      html += "&gt;";
    else if (c == '"')
      html += "&quot;";
    else if (c == '\'')
      html += "&#39;";
    else if (length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f))
      html += ' ';
    else
      html += text.substr(i, length);
    i += std::max<std::size_t>(length, 1);
  }
  return html;
}

std::string grouped(std::int64_t number) {
  std::string text = fmt::format("{}", number);
  const std::size_t first = number < 0 ? 1 : 0;
  for (std::size_t at = text.size(); at > first + 3;) text.insert(at -= 3, ",");
  return text;
}

std::string compact(double value, int digits) {
  return fmt::format("{:.{}g}", value, digits);
}

std::string base64(std::span<const std::uint8_t> bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (k < left ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k) text += k <= left ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::string png_data_uri(const ReportImage& image, std::int64_t max_side) {
  if (image.width < 1 || image.height < 1 ||
      image.rgb.size() != static_cast<std::size_t>(image.width * image.height * 3))
    fail(ErrorKind::internal, "report: a picture of ", image.width, "x", image.height, " has ", image.rgb.size(),
         " bytes, expected width * height * 3");
  const ReportImage small = reduced_to_fit(image, max_side);
  return "data:image/png;base64," + base64(encode_png({small.rgb.data(), static_cast<int>(small.width),
                                                       static_cast<int>(small.height), small.width * 3}));
}

}  // namespace engine::report
