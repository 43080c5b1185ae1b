#pragma once
// The table of resnet-bench, for people: 120 columns.
#include <cstdio>
#include <vector>

#include "bench/measure_cell.h"

namespace engine::bench {

void print_table_header(std::FILE* out);
// The figures, and under them whatever has to be known about them.
void print_table_row(std::FILE* out, const CellResult& result);
// What the percentages are percentages of.
void print_table_footer(std::FILE* out, const std::vector<CellResult>& results);

void print_input_table(std::FILE* out, const std::vector<InputStage>& stages);

}  // namespace engine::bench
