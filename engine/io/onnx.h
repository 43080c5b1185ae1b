#pragma once
// Writes ONNX files: opset 17, IR version 8 (github.com/onnx/onnx, onnx/onnx.proto), which every runtime since 2022
// reads. This is the file format; what a net looks like in it is in models/onnx.h.
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/safetensors.h"

namespace engine {

struct OnnxAttribute {
  std::string name;
  std::variant<std::int64_t, float, std::vector<std::int64_t>> value;
};

// output = op(inputs). Names of values are chosen by the caller; a node is named after its output.
struct OnnxNode {
  std::string op;  // "Conv"
  std::vector<std::string> inputs;
  std::string output;
  std::vector<OnnxAttribute> attributes = {};
};

// An f32 input or output of the model.
struct OnnxValue {
  std::string name;
  std::vector<std::variant<std::int64_t, std::string>> shape;  // a name stands for an extent that each call may choose
};

struct OnnxModel {
  std::string name;
  std::string producer_version;  // of this library
  std::vector<OnnxNode> nodes;   // each behind those that it reads from
  std::vector<OnnxValue> inputs, outputs;
  std::vector<TensorView> constants;  // of type f32 or i64; the bytes are somebody else's
  std::map<std::string, std::string> metadata;
};

// Writes the file, which appears atomically. Throws Error(checkpoint), writing nothing, for a model of 2 GiB or more,
// protobuf's limit, and for constants of another type.
FileDigest write_onnx(const std::filesystem::path& path, const OnnxModel& model, FileOps& ops = FileOps::real());

}  // namespace engine
