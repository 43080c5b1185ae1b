#pragma once
// The pieces of report.html. Private to engine/train.
#include <span>
#include <string>
#include <string_view>

#include "engine/train/report.h"

namespace engine::report {

// Text for element content and quoted attributes; invalid UTF-8 becomes U+FFFD, control characters a space.
std::string escape(std::string_view text);

// "1,234,567"
std::string grouped(std::int64_t number);
// Up to `digits` significant digits without trailing zeros: "0.1", "2.5e-05".
std::string compact(double value, int digits = 4);

// data:image/png;base64,... of the image, reduced by box averaging until neither side exceeds `max_side`.
std::string png_data_uri(const ReportImage& image, std::int64_t max_side);
std::string base64(std::span<const std::uint8_t> bytes);

struct ChartSeries {
  std::string name;
  std::string
      style;  // CSS classes that set the colour: "train", "val", "other", "shallow", "deep"; and "thin", "dashed"
  const ReportCurve* curve;
};

struct ChartOptions {
  std::string title, unit;  // of the y axis
  double steps_per_epoch = 0;
  bool from_zero = false;                                        // the y axis includes 0
  double reach = 0;                                              // and this, if it is above 0
  double upper_limit = 0;                                        // the y axis ends here at the latest; 0: no limit
  enum class Mark { none, minimum, maximum } mark = Mark::none;  // of the last series
  int decimals = -1;                                             // of values; -1: four significant digits
};

// A <figure> with an inline SVG line chart; "" when no series has a finite point.
std::string line_chart(std::span<const ChartSeries> series, const ChartOptions& options);

// Confusion matrix (up to 20 classes) or the most confused pairs, and accuracy by class.
std::string class_sections(const ReportData& data);

// A bar of what the time of the steps went to.
std::string time_shares(const ReportTimes& times);
std::string epoch_table(const std::vector<ReportEpoch>& epochs);
std::string filter_pictures(const std::vector<ReportImage>& filters);

// A page around sections. The title is plain text, the subtitle HTML.
std::string page_begin(const std::string& title, const std::string& subtitle);
std::string page_end();

extern const std::string_view kStyle;   // CSS
extern const std::string_view kScript;  // reads values under the pointer; the page is complete without it

}  // namespace engine::report
