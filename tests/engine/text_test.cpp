#include "engine/text.h"

#include <gtest/gtest.h>

namespace {

using engine::nearest;
using engine::printable;

TEST(Nearest, TakesTheFewestEdits) {
  EXPECT_EQ(nearest("resnet5", {"resnet18", "resnet50", "plain20"}), "resnet50");
  EXPECT_EQ(nearest("bacth", {"epochs", "batch", "bias"}), "batch");
  EXPECT_EQ(nearest("", {"long", "ab"}), "ab");
}

TEST(Nearest, TakesTheFirstOfEquals) {
  EXPECT_EQ(nearest("b", {"a", "c"}), "a");
}

TEST(Nearest, OfNothingIsNothing) {
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Printable, KeepsTextAsItIs) {
  EXPECT_EQ(printable("a photo.jpg"), "a photo.jpg");
  EXPECT_EQ(printable("K\xc3\xa4the \xe7\x8c\xab \xf0\x9f\x90\xb1"), "K\xc3\xa4the \xe7\x8c\xab \xf0\x9f\x90\xb1");
}

TEST(Printable, EscapesWhatDrivesATerminal) {
  EXPECT_EQ(printable("a\nb\t\x1b[31m\x7f"), "a\\x0ab\\x09\\x1b[31m\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");  // U+009B, the one-character form of ESC [
}

TEST(Printable, EscapesBackslashesSoThatNothingIsAmbiguous) {
  EXPECT_EQ(printable("a\\x0a"), "a\\x5cx0a");
}

TEST(Printable, EscapesBytesThatAreNotUtf8) {
  EXPECT_EQ(printable("\xff"), "\\xff");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong '/'
  EXPECT_EQ(printable("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");           // overlong '/'
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
  EXPECT_EQ(printable("a\xe7\x8c"), "a\\xe7\\x8c");                  // cut off
}

}  // namespace
