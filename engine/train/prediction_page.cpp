#include "engine/train/prediction_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/data/jpeg_encode.h"
#include "engine/data/png_encode.h"
#include "engine/data/resize.h"
#include "engine/train/report_parts.h"

namespace engine {
namespace {

using report::escape;

constexpr int kLargestSide = 320;
constexpr int kPixelArtSide = 96;  // smaller ones are enlarged without blurring, and not compressed with losses
constexpr int kQuality = 85;

std::string view(const Image& image, const char* what) {
  const int longest = std::max(image.width, image.height);
  if (longest < kPixelArtSide) {
    return fmt::format("<img class=pixels src=\"data:image/png;base64,{}\" alt=\"{}\">",
                       report::base64(encode_png(image)), what);
  }
  const auto shrunk = [&](int side) {
    return std::max(1, static_cast<int>(static_cast<int64_t>(side) * kLargestSide / longest));
  };
  const bool large = longest > kLargestSide;
  const Image small = large ? resize(image, {.width = shrunk(image.width), .height = shrunk(image.height)}) : Image{};
  return fmt::format("<img src=\"data:image/jpeg;base64,{}\" alt=\"{}\">",
                     report::base64(encode_jpeg(large ? small : image, kQuality)), what);
}

}  // namespace

void PredictionPage::add(const PredictedPicture& picture) {
  figures_ += "<figure class=\"picture prediction\"><div class=views>" + view(picture.image, "picture");
  if (picture.heat) figures_ += view(*picture.heat, "heat map");
  figures_ += "</div><figcaption><p>" + escape(picture.source) + "</p>\n";
  for (const ClassProbability& one : picture.top) {
    figures_ += fmt::format(
        "<div class=bar><span class=name>{}</span><span class=track><span class=fill style=\"width:{:.1f}%\"></span>"
        "</span><span class=value>{:.1f} %</span></div>\n",
        escape((*picture.class_names)[static_cast<size_t>(one.label)]), 100 * one.probability, 100 * one.probability);
  }
  figures_ += "</figcaption></figure>\n";
}

void PredictionPage::add_unreadable(const std::string& message) {
  unreadable_ += "<li>" + escape(message) + "</li>\n";
}

std::string PredictionPage::html(const std::vector<std::string>& facts) const {
  std::string subtitle;
  for (const std::string& fact : facts) subtitle += "<span>" + escape(fact) + "</span>";
  std::string page = report::page_begin("Predictions", subtitle);
  page += "<section><div class=predictions>\n" + figures_ + "</div></section>\n";
  if (!unreadable_.empty()) page += "<section><h2>Not readable</h2>\n<ul>" + unreadable_ + "</ul></section>\n";
  return page + report::page_end();
}

}  // namespace engine
