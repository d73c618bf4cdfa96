// Growing buffers that are kept between calls. C functions only: see lattice.inc.
#ifndef FCAM_MEMORY_H_
#define FCAM_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "permutohedral.h"

namespace fcam {

class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  template <typename T>
  T* as() const { return static_cast<T*>(data_); }
  size_t size() const { return size_; }

  // Makes room for `bytes`, and keeps the first `kept` of what is there.
  bool Grow(size_t bytes, size_t kept) {
    if (bytes <= size_) return true;
    void* data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (data == nullptr) return false;
    if (kept > 0) std::memcpy(data, data_, kept);
    std::free(data_);
    data_ = data;
    size_ = bytes;
    return true;
  }

  // Makes room for `bytes` of zeros. Pages are taken when they are first touched.
  bool GrowZeroed(size_t bytes) {
    if (bytes <= size_) return true;
    std::free(data_);
    data_ = std::calloc(bytes, 1);
    size_ = data_ == nullptr ? 0 : bytes;
    return data_ != nullptr;
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

struct Workspace::Memory {
  Buffer table;      // address -> vertex, zero between images
  Buffer buckets;    // hashed address -> vertex
  Buffer addresses;  // of each vertex
  Buffer ids;        // of the corners of each pixel's simplex
  Buffer weights;    // barycentric, beside them
  Buffer splatted;   // values at each vertex
  Buffer blurred;
  Buffer other;
  Buffer scratch;
  Buffer next;  // neighbour along each axis
  Buffer last;
  // Of mean field, see mean_field.inc: for a strip of an image,
  Buffer runs;        // of sorted pixels in one simplex,
  Buffer first_runs;  // of each block,
  Buffer order;       // which pixel is where,
  Buffer simplices;   // what they are sorted by, a segment at a time,
  Buffer simplex_table;
  Buffer unsorted;
  Buffer to_whole;    // the vertex of the whole image for each of the strip,
  Buffer block;       // scores of a few pixels,
  Buffer lines;       // a few thinned rows between zeros,
  Buffer taps;        // of them,
  Buffer scales;      // of the spatial kernel, and
  Buffer segment;     // what belongs to a few rows; for the whole image,
  Buffer starts;      // the reverse: where the list of each vertex begins,
  Buffer parts;       // and the lists, of vertices of the strips,
  Buffer thinned;     // rows of marginals, by strips,
  Buffer kept_of_row; // which they are,
  Buffer rows;        // the same blurred, of all strips,
  Buffer gaussians;   // what blurs them,
  Buffer costs;       // and the compatibility, transposed.
  int64_t vertices = 0;

  // Without the table, of which most is never touched.
  size_t bytes() const {
    const Buffer* all[] = {&buckets,    &addresses,     &ids,      &weights, &splatted,  &blurred, &other,
                           &scratch,    &next,          &last,     &runs,    &first_runs, &order,  &simplices,
                           &simplex_table, &unsorted,   &to_whole, &block,   &lines,     &taps,    &scales,
                           &segment,    &starts,        &parts,    &thinned, &kept_of_row, &rows,  &gaussians,
                           &costs};
    size_t total = 0;
    for (const Buffer* buffer : all) total += buffer->size();
    return total;
  }
};

using Memory = Workspace::Memory;

}  // namespace fcam

#endif  // FCAM_MEMORY_H_
