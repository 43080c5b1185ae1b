#pragma once
// Private to kernels. Where the slices of A and B come from. Each source walks along k by itself: load(slice)
// fills a slice with zeros outside its matrix, and moves on. kAligned: the contiguous index comes in whole 16-byte
// chunks, copied asynchronously; otherwise elements are gathered one by one.
#include "kernels/conv/tile.h"

namespace engine::kernels::conv {

// An index in mixed radix: low + low_radix * (middle + middle_radix * high).
struct Position {
  int low, middle, high;
};

// Moves positions by a fixed step without divisions.
struct Radix {
  int low, middle;
  Position step;

  GPU_DEVICE Radix(int low_radix, int middle_radix, int step_size) : low(low_radix), middle(middle_radix) {
    step = position(step_size);
  }
  GPU_DEVICE Position position(int index) const { return {index % low, index / low % middle, index / low / middle}; }
  GPU_DEVICE void advance(Position& at) const {
    at.low += step.low;
    at.middle += step.middle;
    at.high += step.high;
    carry(at);
  }
  GPU_DEVICE void increment(Position& at) const {
    at.low += 1;
    carry(at);
  }

 private:
  // Each digit is less than twice its radix.
  GPU_DEVICE void carry(Position& at) const {
    if (at.low >= low) {
      at.low -= low;
      at.middle += 1;
    }
    if (at.middle >= middle) {
      at.middle -= middle;
      at.high += 1;
    }
  }
};

GPU_DEVICE bool inside(int index, int size) {
  return static_cast<unsigned>(index) < static_cast<unsigned>(size);
}

// An implicit matrix of patches of an image [N,H,W,C]. Row (n, i, j) of [N, rows_h, rows_w] has its first tap at pixel
// (i * stride + offset_h, j * stride + offset_w); columns are (tap_h, tap_w, channel).
struct Patches {
  const void* image;
  int64_t pixel_stride;  // elements from one pixel to the next
  int height, width, channels;
  int num_rows, rows_h, rows_w;
  int stride, offset_h, offset_w;
  int taps_h, taps_w;

  GPU_DEVICE int64_t offset(int n, int h, int w) const {
    return ((static_cast<int64_t>(n) * height + h) * width + w) * pixel_stride;
  }
};

// Rows are M; k, contiguous, runs over the columns of the patches.
template <class T, class Slice, bool kAligned>
class PatchRows {
 public:
  GPU_DEVICE PatchRows(const Patches& patches, int first_row)
      : patches_(patches),
        radix_(patches.channels, max(patches.taps_w, 1), kDepth<T>),
        tap_(radix_.position(Slice::chunk_of_thread() * kVector<T>)) {
    const Radix rows(patches.rows_w, patches.rows_h, 0);
#pragma unroll
    for (int i = 0; i < Slice::kPasses; ++i) {
      const int row = first_row + Slice::row_of_thread(i);
      const Position at = rows.position(row);
      h_[i] = at.middle * patches.stride + patches.offset_h;
      w_[i] = at.low * patches.stride + patches.offset_w;
      offset_[i] = patches.offset(at.high, h_[i], w_[i]);
      if (row >= patches.num_rows) h_[i] = kNowhere;
    }
  }

  GPU_DEVICE void load(char* slice) {
    const T* image = static_cast<const T*>(patches_.image);
    if constexpr (kAligned) {
      const int64_t offset = patches_.offset(0, tap_.high, tap_.middle) + tap_.low;
#pragma unroll
      for (int i = 0; i < Slice::kPasses; ++i) {
        const bool ok = exists(i, tap_);
        gpu::cp_async16(slice + Slice::offset(Slice::row_of_thread(i), Slice::chunk_of_thread()),
                        ok ? image + offset_[i] + offset : image, ok);
      }
    } else {
      Chunk<T> chunks[Slice::kPasses];
      Position tap = tap_;
#pragma unroll
      for (int e = 0; e < kVector<T>; ++e) {
        const int64_t offset = patches_.offset(0, tap.high, tap.middle) + tap.low;
#pragma unroll
        for (int i = 0; i < Slice::kPasses; ++i)
          if (exists(i, tap)) chunks[i].set(e, image[offset_[i] + offset]);
        radix_.increment(tap);
      }
#pragma unroll
      for (int i = 0; i < Slice::kPasses; ++i)
        chunks[i].store(slice + Slice::offset(Slice::row_of_thread(i), Slice::chunk_of_thread()));
    }
    radix_.advance(tap_);
  }

 private:
  static constexpr int kNowhere = -(1 << 30);

  GPU_DEVICE bool exists(int i, const Position& tap) const {
    return tap.high < patches_.taps_h && inside(h_[i] + tap.high, patches_.height) &&
           inside(w_[i] + tap.middle, patches_.width);
  }

  const Patches& patches_;
  Radix radix_;
  Position tap_;                               // of this thread's first element: channel, tap_w, tap_h
  int h_[Slice::kPasses], w_[Slice::kPasses];  // pixel of the first tap of its rows
  int64_t offset_[Slice::kPasses];
};

// The same patches with k running over the rows, from `first` on to the last; N, contiguous, is the column.
template <class T, class Slice, bool kAligned>
class PatchColumns {
 public:
  GPU_DEVICE PatchColumns(const Patches& patches, int first, int first_column)
      : patches_(patches),
        rows_(patches.rows_w, patches.rows_h, kDepth<T>),
        taps_(patches.channels, patches.taps_w, 0),
        tap_(taps_.position(first_column + Slice::chunk_of_thread() * kVector<T>)),
        row_(first + Slice::row_of_thread(0)) {
#pragma unroll
    for (int i = 0; i < Slice::kPasses; ++i) at_[i] = rows_.position(first + Slice::row_of_thread(i));
  }

  GPU_DEVICE void load(char* slice) {
    const T* image = static_cast<const T*>(patches_.image);
#pragma unroll
    for (int i = 0; i < Slice::kPasses; ++i) {
      const int h = at_[i].middle * patches_.stride + patches_.offset_h;
      const int w = at_[i].low * patches_.stride + patches_.offset_w;
      const bool row_exists = row_ + i * Slice::kRowsPerPass < patches_.num_rows;
      char* address = slice + Slice::offset(Slice::row_of_thread(i), Slice::chunk_of_thread());
      if constexpr (kAligned) {
        const bool ok = row_exists && exists(h, w, tap_);
        gpu::cp_async16(address, ok ? image + offset(at_[i].high, h, w, tap_) : image, ok);
      } else {
        Chunk<T> chunk;
        Position tap = tap_;
#pragma unroll
        for (int e = 0; e < kVector<T>; ++e) {
          if (row_exists && exists(h, w, tap)) chunk.set(e, image[offset(at_[i].high, h, w, tap)]);
          taps_.increment(tap);
        }
        chunk.store(address);
      }
      rows_.advance(at_[i]);
    }
    row_ += kDepth<T>;
  }

 private:
  GPU_DEVICE bool exists(int h, int w, const Position& tap) const {
    return tap.high < patches_.taps_h && inside(h + tap.high, patches_.height) &&
           inside(w + tap.middle, patches_.width);
  }
  GPU_DEVICE int64_t offset(int n, int h, int w, const Position& tap) const {
    return patches_.offset(n, h + tap.high, w + tap.middle) + tap.low;
  }

  const Patches& patches_;
  Radix rows_, taps_;
  Position tap_;                 // of this thread's first column: channel, tap_w, tap_h
  Position at_[Slice::kPasses];  // its rows: j, i, n
  int row_;
};

// A matrix with rows `stride` elements apart; `columns` of them are used.
struct Matrix {
  const void* data;
  int64_t stride;
  int rows, columns;
};

// Copies one chunk of a row from `column` on; nothing if not `row_exists`.
template <class T, bool kAligned>
GPU_DEVICE void copy_chunk(void* shared, const T* row, int column, int columns, bool row_exists, const T* readable) {
  if constexpr (kAligned) {
    const bool ok = row_exists && column < columns;
    gpu::cp_async16(shared, ok ? row + column : readable, ok);
  } else {
    Chunk<T> chunk;
#pragma unroll
    for (int e = 0; e < kVector<T>; ++e)
      if (row_exists && column + e < columns) chunk.set(e, row[column + e]);
    chunk.store(shared);
  }
}

// Rows are M or N; k, contiguous, is the column.
template <class T, class Slice, bool kAligned>
class MatrixRows {
 public:
  GPU_DEVICE MatrixRows(const Matrix& matrix, int first_row)
      : matrix_(matrix),
        row_(first_row + Slice::row_of_thread(0)),
        column_(Slice::chunk_of_thread() * kVector<T>),
        data_(static_cast<const T*>(matrix.data) + row_ * matrix.stride) {}

  GPU_DEVICE void load(char* slice) {
#pragma unroll
    for (int i = 0; i < Slice::kPasses; ++i)
      copy_chunk<T, kAligned>(slice + Slice::offset(Slice::row_of_thread(i), Slice::chunk_of_thread()),
                              data_ + i * Slice::kRowsPerPass * matrix_.stride, column_, matrix_.columns,
                              row_ + i * Slice::kRowsPerPass < matrix_.rows, static_cast<const T*>(matrix_.data));
    column_ += kDepth<T>;
  }

 private:
  const Matrix& matrix_;
  int row_, column_;
  const T* data_;  // its first row
};

// k runs over the rows, from `first` on to the matrix's end; M or N, contiguous, is the column.
template <class T, class Slice, bool kAligned>
class MatrixColumns {
 public:
  GPU_DEVICE MatrixColumns(const Matrix& matrix, int first, int first_column)
      : matrix_(matrix),
        row_(first + Slice::row_of_thread(0)),
        column_(first_column + Slice::chunk_of_thread() * kVector<T>),
        data_(static_cast<const T*>(matrix.data) + row_ * matrix.stride) {}

  GPU_DEVICE void load(char* slice) {
#pragma unroll
    for (int i = 0; i < Slice::kPasses; ++i)
      copy_chunk<T, kAligned>(slice + Slice::offset(Slice::row_of_thread(i), Slice::chunk_of_thread()),
                              data_ + i * Slice::kRowsPerPass * matrix_.stride, column_, matrix_.columns,
                              row_ + i * Slice::kRowsPerPass < matrix_.rows, static_cast<const T*>(matrix_.data));
    row_ += kDepth<T>;
    data_ += kDepth<T> * matrix_.stride;
  }

 private:
  const Matrix& matrix_;
  int row_, column_;
  const T* data_;  // its first row
};

// Those taps of a filter [K,R,S,C] that meet one class of pixels: r = first_h + stride * j, j < taps_h, s alike, walked
// from the last to the first, so that dy is read in ascending order.
struct FilterTaps {
  const void* filter;
  int r, s, channels, num_filters;
  int stride, first_h, first_w, taps_h, taps_w;
};

// k runs over (tap_h, tap_w, filter); N, contiguous, is the channel.
template <class T, class Slice, bool kAligned>
class FilterColumns {
 public:
  GPU_DEVICE FilterColumns(const FilterTaps& taps, int first_channel)
      : taps_(taps),
        radix_(taps.num_filters, max(taps.taps_w, 1), kDepth<T>),
        channel_(first_channel + Slice::chunk_of_thread() * kVector<T>) {
#pragma unroll
    for (int i = 0; i < Slice::kPasses; ++i) at_[i] = radix_.position(Slice::row_of_thread(i));
  }

  GPU_DEVICE void load(char* slice) {
    const T* filter = static_cast<const T*>(taps_.filter);
#pragma unroll
    for (int i = 0; i < Slice::kPasses; ++i) {
      const int r = taps_.first_h + taps_.stride * (taps_.taps_h - 1 - at_[i].high);
      const int s = taps_.first_w + taps_.stride * (taps_.taps_w - 1 - at_[i].middle);
      const T* row = filter + ((static_cast<int64_t>(at_[i].low) * taps_.r + r) * taps_.s + s) * taps_.channels;
      copy_chunk<T, kAligned>(slice + Slice::offset(Slice::row_of_thread(i), Slice::chunk_of_thread()), row, channel_,
                              taps_.channels, at_[i].high < taps_.taps_h, filter);
      radix_.advance(at_[i]);
    }
  }

 private:
  const FilterTaps& taps_;
  Radix radix_;
  Position at_[Slice::kPasses];  // filter, tap_w, tap_h of this thread's rows
  int channel_;
};

}  // namespace engine::kernels::conv
