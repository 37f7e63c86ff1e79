// Included behind all macros where a source is preprocessed: leaves Metal's address spaces as they
// are written, so that OpenCL's own words for them can be told apart.
#include "no_opencl.h"

#undef thread
#undef device
#undef constant
#undef threadgroup
#undef threadgroup_imageblock
