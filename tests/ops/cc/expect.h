// Counting what a test program finds wrong.
#ifndef FCAM_EXPECT_H_
#define FCAM_EXPECT_H_

#include <cstdio>

inline int failures = 0;

inline void Expect(bool condition, const char* what, double got = 0) {
  if (condition) return;
  std::printf("FAILED: %s (%g)\n", what, got);
  ++failures;
}

#endif  // FCAM_EXPECT_H_
