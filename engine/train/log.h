#pragma once
// What a run says while it goes: lines for people on stderr with one transient status line below them on a terminal, or
// JSON objects on stdout. Writing never fails and never ends a training: a closed terminal is ignored.
#include <string>
#include <string_view>

namespace engine {

enum class LogFormat { text, jsonl };
enum class ColorMode { automatic, always, never };

struct LogOptions {
  LogFormat format = LogFormat::text;
  ColorMode color = ColorMode::automatic;  // NO_COLOR, CLICOLOR_FORCE and FORCE_COLOR are honoured
};

// Called once, before anything is logged; without it the defaults hold.
void start_log(const LogOptions& options);

// This process is one of several ranks: from now on only warnings of the others than rank 0 are said, each with its
// rank.
void log_rank(int rank);

// Text: the message as it is, or behind "warning: ". jsonl: {"event":"message"|"warning","message":...,"ts":...}.
void log_info(std::string_view message);
void log_warning(std::string_view message);

// jsonl only: an object of the caller's.
void log_event(std::string_view json);

// The line at the bottom of the terminal, rewritten in place; "" removes it. Does nothing where has_status_line() is
// false.
void set_status_line(std::string_view text);
bool has_status_line();  // stderr is a terminal that can move its cursor, and the format is text
int terminal_width();    // columns of stderr's terminal, 80 if unknown

// `text` in a terminal colour if colours are on.
enum class Style { bold, dim, green, yellow, red };
std::string styled(Style style, std::string_view text);

// Whether to colour, from the choice, the environment and whether the stream is a terminal (https://no-color.org,
// https://bixense.com/clicolors).
struct ColorFacts {
  ColorMode mode = ColorMode::automatic;
  const char* no_color = nullptr;
  const char* clicolor_force = nullptr;
  const char* force_color = nullptr;
  const char* term = nullptr;
  bool terminal = false;
};
bool use_color(const ColorFacts& facts);

// Seconds since 1970 with milliseconds, for "ts".
double unix_time();

}  // namespace engine
