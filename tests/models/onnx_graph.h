#pragma once
// An ONNX file read back and computed in plain loops, for tests of the writer: what it knows of the format it knows
// from onnx/onnx.proto and docs/Operators.md, not from the writer.
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace onnx_graph {

struct Array {
  std::vector<int64_t> shape;
  std::vector<double> values;
};

struct Node {
  std::string op, name, output;
  std::vector<std::string> inputs;
  std::map<std::string, std::vector<int64_t>> ints;  // a single integer is a vector of one
  std::map<std::string, float> floats;
};

struct Graph {
  int64_t ir_version = 0, opset = 0;
  std::string producer, producer_version, name;
  std::map<std::string, std::string> metadata;
  std::vector<Node> nodes;
  std::map<std::string, Array> constants;
  std::vector<std::string> inputs, outputs;  // "input: 1 [batch,3,32,32]", 1 for f32

  // How often each operator occurs.
  std::map<std::string, int> census() const;
};

// Throws std::runtime_error for a field that is not known here.
Graph read(const std::filesystem::path& path);

// The value "output" for "input" = images [N,3,H,W].
Array run(const Graph& graph, const Array& images);

}  // namespace onnx_graph
