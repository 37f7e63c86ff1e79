// Takes away the macros by which a source could tell that clang reads it as OpenCL.

#undef __OPENCL_CPP_VERSION__
#undef __OPENCL_MEMORY_SCOPE_ALL_SVM_DEVICES
#undef __OPENCL_MEMORY_SCOPE_DEVICE
#undef __OPENCL_MEMORY_SCOPE_SUB_GROUP
#undef __OPENCL_MEMORY_SCOPE_WORK_GROUP
#undef __OPENCL_MEMORY_SCOPE_WORK_ITEM
#undef __CL_CPP_VERSION_1_0__
#undef __CL_CPP_VERSION_2021__
#undef CL_VERSION_1_0
#undef CL_VERSION_1_1
#undef CL_VERSION_1_2
#undef CL_VERSION_2_0
#undef CL_VERSION_3_0
#undef __SPIR
#undef __SPIR__
#undef __SPIR64
#undef __SPIR64__
