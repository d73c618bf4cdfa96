#define FCAM_ISA baseline
#include "lattice.inc"
