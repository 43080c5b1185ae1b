#pragma once
// The layout of a packed data set, for its reader and its writer. Private to engine/data.
//
// All numbers are little-endian.
//
//   header   kHeaderMagic, u32 version, u32 0
//   records  in the order of the index: a JPEG or PNG file each, or width*height*3 bytes of RGB
//   index    u32 parts, for each: u32 bytes of the name, the name, u64 records
//            u32 classes, for each: u32 bytes of the name, the name
//            for each record kEntryBytes: u64 offset, u32 bytes, u32 CRC-32C, u32 label, u16 width, u16 height
//            (0 and 0: the record holds a file)
//            for each record: u16 bytes of its name, the name
//   footer   u64 offset of the index, u64 its bytes, u64 records, u32 CRC-32C of the index, u32 CRC-32C of the footer
//            up to here, kFooterMagic
//
// The parts follow one another: the records of `train` come before those of `val`. The footer comes last, so a file
// that was cut off has none.
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace engine::packed {

inline constexpr std::string_view kHeaderMagic = "ENGPACK\n";
inline constexpr std::string_view kFooterMagic = "ENGPEND\n";
inline constexpr uint32_t kVersion = 1;
inline constexpr size_t kHeaderBytes = 16;
inline constexpr size_t kFooterBytes = 40;
inline constexpr size_t kEntryBytes = 24;
inline constexpr size_t kMaxNameBytes = 4096;

}  // namespace engine::packed
