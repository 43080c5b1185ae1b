#include "engine/io/onnx.h"

#include <iterator>
#include <protozero/pbf_writer.hpp>
#include <protozero/varint.hpp>

namespace engine {
namespace {

using Tag = protozero::pbf_tag_type;
using protozero::pbf_writer;

constexpr std::int64_t kIrVersion = 8, kOpset = 17;

// Field numbers of onnx/onnx.proto.
enum ModelField : Tag { kIr = 1, kProducer = 2, kProducerVersion = 3, kGraph = 7, kOpsetImport = 8, kMetadata = 14 };
enum OpsetField : Tag { kOpsetVersion = 2 };
enum EntryField : Tag { kKey = 1, kValue = 2 };
enum GraphField : Tag { kNode = 1, kGraphName = 2, kInitializer = 5, kGraphInput = 11, kGraphOutput = 12 };
enum NodeField : Tag { kNodeInput = 1, kNodeOutput = 2, kNodeName = 3, kOpType = 4, kAttribute = 5 };
enum AttributeField : Tag { kAttributeName = 1, kFloat = 2, kInt = 3, kInts = 8, kAttributeType = 20 };
enum ValueField : Tag { kValueName = 1, kType = 2 };
enum TypeField : Tag { kTensorType = 1 };
enum TensorTypeField : Tag { kElementType = 1, kShape = 2 };
enum ShapeField : Tag { kDimension = 1 };
enum DimensionField : Tag { kExtent = 1, kExtentName = 2 };
enum TensorField : Tag { kDims = 1, kDataType = 2, kTensorName = 8, kRawData = 9 };
// AttributeProto.AttributeType and TensorProto.DataType.
constexpr int kFloatAttribute = 1, kIntAttribute = 2, kIntsAttribute = 7;
constexpr int kFloatData = 1, kInt64Data = 7;

void write_attribute(pbf_writer& node, const OnnxAttribute& attribute) {
  pbf_writer writer(node, kAttribute);
  writer.add_string(kAttributeName, attribute.name);
  if (const auto* integer = std::get_if<std::int64_t>(&attribute.value)) {
    writer.add_int64(kInt, *integer);
    writer.add_enum(kAttributeType, kIntAttribute);
  } else if (const auto* number = std::get_if<float>(&attribute.value)) {
    writer.add_float(kFloat, *number);
    writer.add_enum(kAttributeType, kFloatAttribute);
  } else {
    for (const std::int64_t value : std::get<std::vector<std::int64_t>>(attribute.value))
      writer.add_int64(kInts, value);
    writer.add_enum(kAttributeType, kIntsAttribute);
  }
}

void write_node(pbf_writer& graph, const OnnxNode& node) {
  pbf_writer writer(graph, kNode);
  for (const std::string& input : node.inputs) writer.add_string(kNodeInput, input);
  writer.add_string(kNodeOutput, node.output);
  writer.add_string(kNodeName, node.output);
  writer.add_string(kOpType, node.op);
  for (const OnnxAttribute& attribute : node.attributes) write_attribute(writer, attribute);
}

void write_value(pbf_writer& graph, Tag tag, const OnnxValue& value) {
  pbf_writer writer(graph, tag);
  writer.add_string(kValueName, value.name);
  pbf_writer type(writer, kType), tensor(type, kTensorType);
  tensor.add_int32(kElementType, kFloatData);
  pbf_writer shape(tensor, kShape);
  for (const auto& extent : value.shape) {
    pbf_writer dimension(shape, kDimension);
    if (const auto* number = std::get_if<std::int64_t>(&extent))
      dimension.add_int64(kExtent, *number);
    else
      dimension.add_string(kExtentName, std::get<std::string>(extent));
  }
}

// Tag and length of a field of bytes that are written by themselves.
void append_length(std::string& out, Tag tag, std::uint64_t length) {
  protozero::write_varint(std::back_inserter(out),
                          (tag << 3U) | static_cast<std::uint32_t>(protozero::pbf_wire_type::length_delimited));
  protozero::write_varint(std::back_inserter(out), length);
}

// A constant as a field of the graph, up to its raw data, which follow in the file.
std::string constant_head(const TensorView& constant) {
  std::string tensor;
  pbf_writer writer(tensor);
  for (const std::int64_t extent : constant.shape) writer.add_int64(kDims, extent);
  if (constant.dtype != SafetensorsDType::f32 && constant.dtype != SafetensorsDType::i64)
    fail(ErrorKind::checkpoint, "write_onnx: constant ", constant.name, " holds ", name_of(constant.dtype),
         ", expected F32 or I64");
  writer.add_int32(kDataType, constant.dtype == SafetensorsDType::f32 ? kFloatData : kInt64Data);
  writer.add_string(kTensorName, constant.name);
  append_length(tensor, kRawData, constant.data.size());
  std::string field;
  append_length(field, kInitializer, tensor.size() + constant.data.size());
  return field + tensor;
}

}  // namespace

// Protobuf puts the length of a message before it: that of the graph is the sum of its parts, so the constants, nearly
// all of the file, go from where they lie to the disk without a copy.
FileDigest write_onnx(const std::filesystem::path& path, const OnnxModel& model, FileOps& ops) {
  std::string head;
  pbf_writer top(head);
  top.add_int64(kIr, kIrVersion);
  top.add_string(kProducer, "engine");
  top.add_string(kProducerVersion, model.producer_version);
  pbf_writer(top, kOpsetImport).add_int64(kOpsetVersion, kOpset);
  for (const auto& [key, value] : model.metadata) {
    pbf_writer entry(top, kMetadata);
    entry.add_string(kKey, key);
    entry.add_string(kValue, value);
  }

  std::string body;
  pbf_writer graph(body);
  for (const OnnxNode& node : model.nodes) write_node(graph, node);
  graph.add_string(kGraphName, model.name);
  for (const OnnxValue& value : model.inputs) write_value(graph, kGraphInput, value);
  for (const OnnxValue& value : model.outputs) write_value(graph, kGraphOutput, value);

  std::vector<std::string> heads;
  std::uint64_t bytes = body.size();
  for (const TensorView& constant : model.constants) {
    heads.push_back(constant_head(constant));
    bytes += heads.back().size() + constant.data.size();
  }
  append_length(head, kGraph, bytes);
  constexpr std::uint64_t kLimit = std::uint64_t{1} << 31;
  if (head.size() + bytes >= kLimit)
    fail(ErrorKind::checkpoint, "write_onnx: ", model.name, " takes ", human_bytes(head.size() + bytes),
         ", and protobuf ends at ", human_bytes(kLimit), "; keep the weights as safetensors");

  AtomicFile file(path, ErrorKind::checkpoint, ops);
  file.writer().write(head);
  file.writer().write(body);
  for (size_t i = 0; i < heads.size(); ++i) {
    file.writer().write(heads[i]);
    file.writer().write(model.constants[i].data);
  }
  return file.commit();
}

}  // namespace engine
