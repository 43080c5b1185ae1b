#include "tests/kernels/device_buffer.h"

#include <cstring>

namespace engine::testing {

using kernels::DataType;

namespace {

template <class T>
void store(std::vector<unsigned char>& bytes, size_t index, double value) {
  const T stored = kernels::from_float<T>(static_cast<float>(value));
  std::memcpy(bytes.data() + index * sizeof(T), &stored, sizeof(T));
}

template <class T>
double load(const std::vector<unsigned char>& bytes, size_t index) {
  T stored;
  std::memcpy(&stored, bytes.data() + index * sizeof(T), sizeof(T));
  return kernels::to_float(stored);
}

DeviceBytes rounded_bytes(DataType type, const std::vector<double>& values) {
  std::vector<unsigned char> bytes(values.size() * static_cast<size_t>(kernels::size_of(type)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == DataType::f32) store<float>(bytes, i, values[i]);
    if (type == DataType::bf16) store<kernels::bf16>(bytes, i, values[i]);
    if (type == DataType::f16) store<kernels::f16>(bytes, i, values[i]);
  }
  return {bytes.data(), bytes.size()};
}

}  // namespace

void expect_ok(const kernels::Status& status, const char* operation) {
  EXPECT_TRUE(status.ok()) << operation << ": " << status.text << " (" << device().name << " error " << status.code
                           << ")";
}

void finish() {
  expect_ok(device().last_error(), "launch");
  expect_ok(device().stream_synchronize(nullptr), "synchronisation");
}

int compute_capability() {
  kernels::DeviceProperties properties;
  expect_ok(device().device_properties(0, &properties), "device properties");
  return 10 * properties.major + properties.minor;
}

DeviceBytes::DeviceBytes(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  expect_ok(device().malloc_device(&data_, bytes), "allocation");
  expect_ok(device().set_bytes(data_, 0xff, bytes, nullptr), "fill");
}

DeviceBytes::DeviceBytes(const void* values, size_t bytes) : DeviceBytes(bytes) {
  if (bytes != 0) expect_ok(device().copy_to_device(data_, values, bytes, nullptr), "copy to the device");
}

DeviceBytes::~DeviceBytes() {
  if (data_ != nullptr) expect_ok(device().free_device(data_), "release");
}

void DeviceBytes::copy_to(void* values) const {
  finish();
  if (bytes_ == 0) return;
  expect_ok(device().copy_to_host(values, data_, bytes_, nullptr), "copy to the host");
  expect_ok(device().stream_synchronize(nullptr), "synchronisation");
}

DeviceArray::DeviceArray(DataType type, size_t count)
    : type_(type), bytes_(count * static_cast<size_t>(kernels::size_of(type))) {}

DeviceArray::DeviceArray(DataType type, const std::vector<double>& values)
    : type_(type), bytes_(rounded_bytes(type, values)) {}

std::vector<double> DeviceArray::values() const {
  std::vector<unsigned char> bytes(bytes_.size());
  bytes_.copy_to(bytes.data());
  std::vector<double> values(size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (type_ == DataType::f32) values[i] = load<float>(bytes, i);
    if (type_ == DataType::bf16) values[i] = load<kernels::bf16>(bytes, i);
    if (type_ == DataType::f16) values[i] = load<kernels::f16>(bytes, i);
  }
  return values;
}

}  // namespace engine::testing
