#define FCAM_ISA baseline
#include "lattice.inc"
#include "mean_field.inc"
