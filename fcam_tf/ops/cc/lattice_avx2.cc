#define FCAM_ISA avx2
#include "lattice.inc"
#include "mean_field.inc"
