// What the host hands to every CUDA kernel: one structure, so that no list of arguments can disagree. Nothing is
// included here, because the run-time compiler has no headers.
#ifndef FCAM_CUDA_JOB_H_
#define FCAM_CUDA_JOB_H_

namespace fcam {
namespace cuda {

constexpr unsigned kThreads = 256;   // of every block
constexpr unsigned kTile = 1024;     // words of the bitmap that a block counts
constexpr unsigned kRun = 8;         // pixels in a row whose values one thread splats

// 32 places of an image's bitmap: which of them are vertices, and the number of the first one. Places are the addresses
// of the image's box. Where a hash table is smaller than that bitmap, they are the corners of the pixels' simplices
// instead, and a vertex is at the first corner that is there. Vertices are numbered from 1 in the order of their
// places; 0 stands for what is not there.
struct alignas(8) Cell {
  unsigned bits;
  unsigned first;
};

constexpr unsigned long long kFree = ~0ull;  // the key of a slot of the hash table that is not used

// What was seen in an image: largest values, as unsigned integers of the same order, so that zero is where all begin.
enum { kValuesPeak, kPixelsPeak, kHighest, kLowest = kHighest + 3, kFound = kLowest + 3 };

struct Job {
  // The geometry of the lattice, see geometry.h.
  float own[5];
  float previous[5];
  int lowest[5];
  unsigned long long stride[5];
  unsigned long long axis[6];
  int axes;    // of the blur: 4 or 6
  float alpha; // factor of the lattice

  int is_uint8;
  int channels;        // 1 or 3
  int width;
  int pixels;          // of an image
  int count;           // channels of the values
  int ones;            // 1 where a channel of ones follows them, else 0
  int reversed_first;  // the first direction of the blur is the reversed one
  unsigned words;      // of an image's bitmap
  unsigned tiles;      // of kTile words
  unsigned slots;      // of an image's hash table: a power of two, or 0 where the places are addresses
  unsigned rows;       // reserved for an image's vertices, row 0 among them
  unsigned blocks;     // of an image whose partial losses are added
  float bilateral_weight;  // of mean field
  float spatial_weight;
  int radius[2];           // of the spatial kernel, along x and y

  // One after the other for each image.
  const void* image;         // pixels * channels
  const float* values;       // pixels * count; null for ones
  const float* factors;      // pixels: of what is splatted and sliced, D^-1/2 of mean field; or null
  unsigned* found;           // kFound
  Cell* cells;               // words
  unsigned long long* keys;  // slots: addresses
  unsigned* holders;         // slots: first the place of the vertex, then its number
  unsigned* before;          // tiles: vertices before each
  unsigned* vertices;        // 1
  unsigned* neighbours;      // axes * 2 * rows
  long long* sums;           // rows * (count + ones): splatted values in fixed point
  float* splatted;           // rows * (count + ones)
  float* blurred;            // for each direction twice: rows * (count + ones)
  double* partial;           // blocks
  float* losses;             // 1
  float* out;                // pixels * count

  // Of mean field: the same.
  const float* unaries;      // pixels * count
  float* marginals;          // pixels * count
  const float* bilateral;    // pixels * count: messages; null without this kernel
  float* across;             // pixels * count: marginals after the spatial kernel along x
  float* spatial;            // pixels * count: messages; null without this kernel

  // One for all images.
  const float* compatibility;  // count * count, see mean_field.h; null for Potts
  const float* taps[2];        // radius + 1: of the spatial kernel along x and y, by distance
  const float* scales[2];      // of each position, which normalise it
};

}  // namespace cuda
}  // namespace fcam

#endif  // FCAM_CUDA_JOB_H_
