// resnet-bench: how fast a ResNet trains and infers, and how far that is from what the device could do.
#include <cstdio>

#include "bench/bench_case.h"

int main() {
  std::fputs("resnet-bench: no cells\n", stderr);
  return 2;
}
