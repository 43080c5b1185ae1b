#pragma once
// report.html: what a training run came to, on one page that needs nothing but itself.
#include <cstdint>
#include <filesystem>
#include <limits>
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

// One row of the table of epochs; what is not finite is left empty.
struct ReportEpoch {
  double epoch = 0, train_loss = 0, train_acc1 = 0, val_loss = 0, val_acc1 = 0;
  double ema_acc1 = std::numeric_limits<double>::quiet_NaN();  // of the averaged weights
  double lr = 0, img_per_s = 0, seconds = 0;                   // at its end; of its validation
};

// Shares of the time of all steps, 0 to 1 (engine/train/step_times.h).
struct ReportTimes {
  double data = 0, copy = 0, device = 0, comm = 0, host = 0;
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
  std::string comparable;                               // "yes", "no (why)": may it stand beside published ones
  double epochs = 0;
  std::int64_t steps = 0;
  std::int64_t parameters = 0;
  double seconds = 0;
  double train_img_per_s = 0;
  std::int64_t peak_memory = 0;  // bytes on the device

  double steps_per_epoch = 0;        // the x axes count epochs if this is positive, steps otherwise
  ReportCurve train_loss, val_loss;  // nats
  ReportCurve train_acc1, val_acc1;  // percent
  ReportCurve ema_val_acc1;          // of the averaged weights, percent
  ReportCurve learning_rate, grad_norm;
  ReportCurve img_per_s;
  std::string reference;                             // what this run is compared with
  ReportCurve reference_train_acc1, reference_acc1;  // its curves, at this run's steps of the same epochs
  ReportTimes times;                                 // all 0: not known
  std::vector<ReportEpoch> by_epoch;
  std::vector<ReportImage> filters;  // of the first layer

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
