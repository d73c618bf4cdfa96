#define FCAM_ISA avx512
#include "lattice.inc"
#include "lattice_runs.inc"
#include "gaussian.inc"
#include "softmax.inc"
#include "vectors.inc"
#include "mean_field.inc"
#include "mean_field_scores.inc"
#include "mean_field_space.inc"
