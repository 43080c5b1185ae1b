#include "engine/text.h"

#include <gtest/gtest.h>

namespace engine {
namespace {

TEST(Printable, LeavesUtf8Alone) {
  EXPECT_EQ(printable("data/K\xC3\xA4tzchen \xE7\x8C\xAB \xF0\x9F\x90\x88.jpg"),
            "data/K\xC3\xA4tzchen \xE7\x8C\xAB \xF0\x9F\x90\x88.jpg");
}

TEST(Printable, EscapesWhatControlsATerminal) {
  EXPECT_EQ(printable("a\nb\tc\x1B[31m\x7F"), "a\\x0ab\\x09c\\x1b[31m\\x7f");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\xc2\\x9b31m");  // the one-character form of ESC [
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(printable("a\\nb"), "a\\x5cnb");
}

TEST(Printable, EscapesEachByteThatIsNotUtf8) {
  EXPECT_EQ(printable("\xFF"), "\\xff");
  EXPECT_EQ(printable("\xC3"), "\\xc3");           // cut short
  EXPECT_EQ(printable("\xC0\xAF"), "\\xc0\\xaf");  // a slash written too long
  EXPECT_EQ(printable("\xE0\x80\xAF"), "\\xe0\\x80\\xaf");
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xF4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(printable("\xE7\x8C"
                      "x"),
            "\\xe7\\x8cx");
}

}  // namespace
}  // namespace engine
