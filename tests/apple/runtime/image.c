// Linked into every shared object with Objective-C code: hands its classes and selectors over.
#define SECTION(name)                                                           \
  extern void* __start_##name[] __attribute__((weak, visibility("hidden")));    \
  extern void* __stop_##name[] __attribute__((weak, visibility("hidden")))

SECTION(objc_classlist);
SECTION(objc_selrefs);

extern void objc_register_image(void**, void**, void**, void**);

__attribute__((constructor(101))) static void register_image(void) {
  objc_register_image(__start_objc_classlist, __stop_objc_classlist, __start_objc_selrefs,
                      __stop_objc_selrefs);
}
