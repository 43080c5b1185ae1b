#include "tests/models/onnx_graph.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <protozero/pbf_reader.hpp>
#include <stdexcept>

namespace onnx_graph {
namespace {

using protozero::pbf_reader;
using Ints = std::vector<int64_t>;

[[noreturn]] void unknown(const std::string& message, uint32_t tag) {
  throw std::runtime_error(message + " has a field " + std::to_string(tag));
}

void read_attribute(pbf_reader reader, Node& node) {
  std::string name;
  Ints ints;
  float number = 0;
  int type = 0;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1:
        name = reader.get_string();
        break;
      case 2:
        number = reader.get_float();
        break;
      case 3:
      case 8:
        ints.push_back(reader.get_int64());
        break;
      case 20:
        type = reader.get_enum();
        break;
      default:
        unknown("attribute", reader.tag());
    }
  }
  if (type == 1)
    node.floats[name] = number;
  else if (type == 2 || type == 7)
    node.ints[name] = ints;
  else
    throw std::runtime_error("attribute " + name + " is of type " + std::to_string(type));
}

Node read_node(pbf_reader reader) {
  Node node;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1:
        node.inputs.push_back(reader.get_string());
        break;
      case 2:
        node.output = reader.get_string();
        break;
      case 3:
        node.name = reader.get_string();
        break;
      case 4:
        node.op = reader.get_string();
        break;
      case 5:
        read_attribute(reader.get_message(), node);
        break;
      default:
        unknown("node", reader.tag());
    }
  }
  return node;
}

template <class T>
std::vector<double> elements(const std::string& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return {values.begin(), values.end()};
}

void read_constant(pbf_reader reader, Graph& graph) {
  Array array;
  int type = 0;
  std::string name, data;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1:
        array.shape.push_back(reader.get_int64());
        break;
      case 2:
        type = reader.get_int32();
        break;
      case 8:
        name = reader.get_string();
        break;
      case 9:
        data = reader.get_bytes();
        break;
      default:
        unknown("tensor", reader.tag());
    }
  }
  if (type != 1 && type != 7) throw std::runtime_error(name + " is of type " + std::to_string(type));
  array.values = type == 1 ? elements<float>(data) : elements<int64_t>(data);
  int64_t count = 1;
  for (const int64_t extent : array.shape) count *= extent;
  if (count != static_cast<int64_t>(array.values.size())) throw std::runtime_error(name + " has another shape");
  if (!graph.constants.emplace(name, std::move(array)).second) throw std::runtime_error(name + " occurs twice");
}

std::string read_value(pbf_reader reader) {
  std::string name, text;
  while (reader.next()) {
    if (reader.tag() == 1) {
      name = reader.get_string();
      continue;
    }
    pbf_reader type = reader.get_message();
    while (type.next(1)) {
      pbf_reader tensor = type.get_message();
      while (tensor.next()) {
        if (tensor.tag() == 1) {
          text = std::to_string(tensor.get_int32()) + " [";
          continue;
        }
        pbf_reader shape = tensor.get_message();
        while (shape.next(1)) {
          pbf_reader dimension = shape.get_message();
          while (dimension.next())
            text += (dimension.tag() == 1 ? std::to_string(dimension.get_int64()) : dimension.get_string()) + ",";
        }
        text.back() = ']';
      }
    }
  }
  return name + ": " + text;
}

void read_graph(pbf_reader reader, Graph& graph) {
  while (reader.next()) {
    switch (reader.tag()) {
      case 1:
        graph.nodes.push_back(read_node(reader.get_message()));
        break;
      case 2:
        graph.name = reader.get_string();
        break;
      case 5:
        read_constant(reader.get_message(), graph);
        break;
      case 11:
        graph.inputs.push_back(read_value(reader.get_message()));
        break;
      case 12:
        graph.outputs.push_back(read_value(reader.get_message()));
        break;
      default:
        unknown("graph", reader.tag());
    }
  }
}

// Sums over windows of [N,C,H,W]: f(accumulator, n, channel, y, x) for each place inside the image.
struct Window {
  int64_t kernel, stride, padding;
  int64_t extent(int64_t size) const { return (size + 2 * padding - kernel) / stride + 1; }
};

Window window_of(const Node& node) {
  const auto pads = node.ints.find("pads");
  return {node.ints.at("kernel_shape").at(0), node.ints.at("strides").at(0),
          pads == node.ints.end() ? 0 : pads->second.at(0)};
}

Array conv(const Node& node, const Array& x, const Array& w, const Array* bias) {
  const Window window = window_of(node);
  const auto found = node.ints.find("group");
  const int64_t groups = found == node.ints.end() ? 1 : found->second.at(0);
  const int64_t n = x.shape[0], h = x.shape[2], width = x.shape[3], k = w.shape[0], c = w.shape[1];
  const int64_t p = window.extent(h), q = window.extent(width);
  Array y{{n, k, p, q}, std::vector<double>(static_cast<size_t>(n * k * p * q))};
  for (int64_t i = 0; i < n * k; ++i) {
    double* out = y.values.data() + i * p * q;
    std::fill_n(out, p * q, bias != nullptr ? bias->values[static_cast<size_t>(i % k)] : 0);
    const int64_t first = i / k * x.shape[1] + i % k / (k / groups) * c;  // channel of the group
    for (int64_t j = 0; j < c * window.kernel * window.kernel; ++j) {
      const int64_t r = j / window.kernel % window.kernel - window.padding, s = j % window.kernel - window.padding;
      const double factor = w.values[static_cast<size_t>(i % k * c * window.kernel * window.kernel + j)];
      const double* in = x.values.data() + (first + j / (window.kernel * window.kernel)) * h * width;
      for (int64_t a = 0; a < p; ++a) {
        const int64_t row = a * window.stride + r;
        if (row < 0 || row >= h) continue;
        const int64_t begin = s < 0 ? (-s + window.stride - 1) / window.stride : 0;
        const int64_t end = std::min(q, (width - s + window.stride - 1) / window.stride);
        for (int64_t b = begin; b < end; ++b) out[a * q + b] += factor * in[row * width + b * window.stride + s];
      }
    }
  }
  return y;
}

Array pool(const Window& window, const Array& x, bool max) {
  const int64_t h = x.shape[2], w = x.shape[3], p = window.extent(h), q = window.extent(w);
  Array y{{x.shape[0], x.shape[1], p, q}, {}};
  for (int64_t i = 0; i < x.shape[0] * x.shape[1] * p * q; ++i) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < window.kernel * window.kernel; ++j) {
      const int64_t row = i / q % p * window.stride + j / window.kernel - window.padding,
                    column = i % q * window.stride + j % window.kernel - window.padding;
      if (row < 0 || row >= h || column < 0 || column >= w) continue;
      const double value = x.values[static_cast<size_t>((i / (p * q) * h + row) * w + column)];
      largest = std::max(largest, value);
      sum += value;
    }
    y.values.push_back(max ? largest : sum / static_cast<double>(window.kernel * window.kernel));
  }
  return y;
}

Array batch_norm(const Node& node, const Array& x, const std::vector<const Array*>& in) {
  Array y = x;
  const int64_t area = x.shape[2] * x.shape[3];
  for (size_t i = 0; i < y.values.size(); ++i) {
    const size_t c = i / static_cast<size_t>(area) % static_cast<size_t>(x.shape[1]);
    const auto at = [&](size_t input) { return in[input]->values[c]; };
    y.values[i] = (x.values[i] - at(3)) / std::sqrt(at(4) + double{node.floats.at("epsilon")}) * at(1) + at(2);
  }
  return y;
}

Array gemm(const Node& node, const Array& x, const Array& w, const Array& bias) {
  if (node.ints.at("transB").at(0) != 1) throw std::runtime_error("Gemm without transB");
  const int64_t n = x.shape[0], c = x.shape[1], k = w.shape[0];
  Array y{{n, k}, {}};
  for (int64_t i = 0; i < n * k; ++i) {
    double sum = bias.values[static_cast<size_t>(i % k)];
    for (int64_t j = 0; j < c; ++j)
      sum += x.values[static_cast<size_t>(i / k * c + j)] * w.values[static_cast<size_t>(i % k * c + j)];
    y.values.push_back(sum);
  }
  return y;
}

// Every `step`-th row and column, all of them: what starts, ends, axes and steps have to say.
Array slice(const Array& x, const std::vector<const Array*>& in) {
  const int64_t step = static_cast<int64_t>(in[4]->values.at(0));
  if (in[1]->values != std::vector<double>{0, 0} || in[3]->values != std::vector<double>{2, 3} ||
      in[4]->values.at(1) != in[4]->values[0] || in[2]->values.at(0) < static_cast<double>(x.shape[2]) ||
      in[2]->values.at(1) < static_cast<double>(x.shape[3]))
    throw std::runtime_error("another Slice");
  const Window window{1, step, 0};
  return pool(window, x, true);
}

Array pad(const Array& x, const Array& pads) {
  const auto at = [&](size_t i) { return static_cast<int64_t>(pads.values.at(i)); };
  for (const size_t i : {0, 2, 3, 4, 6, 7})
    if (at(i) != 0) throw std::runtime_error("Pad of another axis than channels");
  const int64_t n = x.shape[0], c = x.shape[1], area = x.shape[2] * x.shape[3], all = at(1) + c + at(5);
  Array y{{n, all, x.shape[2], x.shape[3]}, std::vector<double>(static_cast<size_t>(n * all * area))};
  for (int64_t i = 0; i < n; ++i)
    std::copy_n(x.values.begin() + i * c * area, c * area, y.values.begin() + (i * all + at(1)) * area);
  return y;
}

Array compute(const Node& node, const std::vector<const Array*>& in) {
  const Array& x = *in.at(0);
  if (node.op == "Conv") return conv(node, x, *in.at(1), in.size() > 2 ? in[2] : nullptr);
  if (node.op == "BatchNormalization") return batch_norm(node, x, in);
  if (node.op == "MaxPool") return pool(window_of(node), x, true);
  if (node.op == "AveragePool") return pool(window_of(node), x, false);
  if (node.op == "GlobalAveragePool") return pool({x.shape[2], 1, 0}, x, false);
  if (node.op == "Gemm") return gemm(node, x, *in.at(1), *in.at(2));
  if (node.op == "Slice") return slice(x, in);
  if (node.op == "Pad") return pad(x, *in.at(1));
  Array y = x;
  if (node.op == "Relu") {
    for (double& value : y.values) value = std::max(value, 0.0);
  } else if (node.op == "Add") {
    if (in.at(1)->shape != x.shape) throw std::runtime_error(node.name + " adds other shapes");
    for (size_t i = 0; i < y.values.size(); ++i) y.values[i] += in[1]->values[i];
  } else if (node.op == "Flatten") {
    y.shape = {x.shape[0], x.shape[1] * x.shape[2] * x.shape[3]};
  } else {
    throw std::runtime_error("operator " + node.op);
  }
  return y;
}

}  // namespace

std::map<std::string, int> Graph::census() const {
  std::map<std::string, int> count;
  for (const Node& node : nodes) ++count[node.op];
  return count;
}

Graph read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  Graph graph;
  pbf_reader reader(bytes);
  while (reader.next()) {
    switch (reader.tag()) {
      case 1:
        graph.ir_version = reader.get_int64();
        break;
      case 2:
        graph.producer = reader.get_string();
        break;
      case 3:
        graph.producer_version = reader.get_string();
        break;
      case 7:
        read_graph(reader.get_message(), graph);
        break;
      case 8:
        for (pbf_reader opset = reader.get_message(); opset.next(2);) graph.opset = opset.get_int64();
        break;
      case 14: {
        std::string key, value;
        for (pbf_reader entry = reader.get_message(); entry.next();) {
          std::string& part = entry.tag() == 1 ? key : value;  // before the field is read, which forgets the tag
          part = entry.get_string();
        }
        graph.metadata[key] = value;
        break;
      }
      default:
        unknown("model", reader.tag());
    }
  }
  return graph;
}

Array run(const Graph& graph, const Array& images) {
  std::map<std::string, Array> values = {{"input", images}};
  for (const Node& node : graph.nodes) {
    std::vector<const Array*> inputs;
    for (const std::string& name : node.inputs) {
      const auto constant = graph.constants.find(name);
      inputs.push_back(constant != graph.constants.end() ? &constant->second : &values.at(name));
    }
    if (!values.emplace(node.output, compute(node, inputs)).second)
      throw std::runtime_error(node.output + " is computed twice");
  }
  return values.at("output");
}

}  // namespace onnx_graph
