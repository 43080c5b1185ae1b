#pragma once
// report.html: what a training run came to, on one page that needs nothing but itself.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace engine {

struct ReportPoint {
  double step = 0;
  double value = 0;  // points that are not finite are left out of the curve
};

using ReportCurve = std::vector<ReportPoint>;  // by ascending step

struct ReportImage {
  std::int64_t width = 0, height = 0;
  std::vector<std::uint8_t> rgb;  // [height,width,3]
};

struct ReportMistake {
  ReportImage image;
  std::int64_t label = 0, predicted = 0;  // indices into class_names
  double probability = 0;                 // 0 to 1, of the predicted class
  std::string source;                     // file or record, shown as a tooltip; may be empty
};

using ReportTable = std::vector<std::pair<std::string, std::string>>;

// Everything but `run` may be left out: what is not known is not shown. All strings are plain text and are escaped.
struct ReportData {
  std::string run;          // the name of the run, the page's title
  std::string model, data;  // "resnet20", "shapes"
  std::string outcome;      // "finished", "stopped by SIGTERM", ...
  std::string command_line;

  std::optional<double> best_val_acc1, final_val_acc1;  // percent
  std::optional<double> best_epoch;                     // at which best_val_acc1 was reached
  std::int64_t val_samples = 0;                         // gives best_val_acc1 its uncertainty
  double epochs = 0;
  std::int64_t steps = 0;
  std::int64_t parameters = 0;
  double seconds = 0;
  double train_img_per_s = 0;

  double steps_per_epoch = 0;        // the x axes count epochs if this is positive, steps otherwise
  ReportCurve train_loss, val_loss;  // nats
  ReportCurve train_acc1, val_acc1;  // percent
  ReportCurve learning_rate;
  ReportCurve img_per_s;

  std::vector<std::string> class_names;  // K
  std::vector<std::int64_t> confusion;   // [K,K]: how often label k was taken for j, at k*K + j
  std::vector<ReportMistake> mistakes;   // the worst first
  ReportTable configuration, versions;
};

// The page as UTF-8 HTML, without a script or resource from elsewhere; light or dark as the reader's system is.
// Throws Error(internal) if `confusion`, an image or a mistake's class does not fit the others.
std::string report_html(const ReportData& data);

// Writes it atomically. Throws Error(usage) if the disk fails.
void write_report(const std::filesystem::path& path, const ReportData& data);

}  // namespace engine
