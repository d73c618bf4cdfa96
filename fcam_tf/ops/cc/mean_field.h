// Mean field in a fully connected CRF (Kraehenbuehl and Koltun, 2011) over the pixels of an image.
#ifndef FCAM_MEAN_FIELD_H_
#define FCAM_MEAN_FIELD_H_

#include "permutohedral.h"

namespace fcam {

// Each kernel is normalised symmetrically, D^-1/2 W D^-1/2 with D = W 1. The bilateral one has the sigmas of the image.
struct Crf {
  float bilateral_weight;
  float spatial_weight;
  float spatial_sigma;         // in pixels; the Gaussian ends at five of them
  const float* compatibility;  // classes x classes: of class l (row) beside class m. Null for Potts.
  int iterations;
};

constexpr int kMostStrips = 8;

// A large image is worked on in strips of rows, at the same time where there are threads. How many depends on its size
// alone, and so does the result.
int Strips(const Image& image);

// marginals = the classes' probabilities, height x width x classes, after `iterations` updates of softmax(-unaries).
// Takes Strips(image) + 1 workspaces.
Status MeanField(Workspace* const* workspaces, const Image& image, const float* unaries, int classes, const Crf& crf,
                 float* marginals);

}  // namespace fcam

#endif  // FCAM_MEAN_FIELD_H_
