#pragma once
// The text of progress lines.
#include <cstdint>
#include <string>

namespace engine {

struct Progress {
  int64_t epoch = 1, epochs = 1;  // counted from 1
  int64_t step = 0, total_steps = 1;
  int64_t step_in_epoch = 0, steps_per_epoch = 1;
  double loss = 0;
  double acc1 = 0;                // percent
  double grad_norm = 0;           // of the last step
  double loss_z = 0, norm_z = 0;  // the most unusual step (engine/train/unusual.h)
  double lr = 0;
  double img_per_s = 0;
  double data_wait = 0;          // share of the time, 0 to 1
  const char* bound = "device";  // bound_by(), engine/train/step_times.h
  double seconds_left = 0;
  uint64_t peak_memory = 0;  // bytes on the device
};

// "epoch 1/10  step 50/1560  loss 1.9021  acc1 30.12  grad 1.83  z 0.4 1.1  lr 0.0412  981 img/s  data 1%  bound=device
// ETA 2:41"
std::string progress_line(const Progress& progress);

// The same for a terminal of that many columns, with a bar of the epoch; what does not fit is left out from the right.
std::string progress_bar(const Progress& progress, int columns);

// "validating 1280/2000" with a bar.
std::string count_bar(const std::string& what, int64_t done, int64_t total, int columns);

std::string duration_text(double seconds);   // "0:07", "2:41", "1:02:41", "3 d 4:05:00"
std::string with_thousands(int64_t number);  // "269,722"
std::string rate_text(double per_second);    // "981", "9.6"

}  // namespace engine
