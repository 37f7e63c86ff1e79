// Message sends: save the argument registers, find the method, jump to it. nil answers zero.
#if defined(__x86_64__)
.text
.macro SAVE
  push %rbp
  mov %rsp,%rbp
  sub $0xd0,%rsp
  mov %rdi,-0x08(%rbp)
  mov %rsi,-0x10(%rbp)
  mov %rdx,-0x18(%rbp)
  mov %rcx,-0x20(%rbp)
  mov %r8,-0x28(%rbp)
  mov %r9,-0x30(%rbp)
  mov %rax,-0x38(%rbp)
  movups %xmm0,-0x50(%rbp)
  movups %xmm1,-0x60(%rbp)
  movups %xmm2,-0x70(%rbp)
  movups %xmm3,-0x80(%rbp)
  movups %xmm4,-0x90(%rbp)
  movups %xmm5,-0xa0(%rbp)
  movups %xmm6,-0xb0(%rbp)
  movups %xmm7,-0xc0(%rbp)
.endm
.macro RESTORE
  mov %rax,%r11
  mov -0x08(%rbp),%rdi
  mov -0x10(%rbp),%rsi
  mov -0x18(%rbp),%rdx
  mov -0x20(%rbp),%rcx
  mov -0x28(%rbp),%r8
  mov -0x30(%rbp),%r9
  mov -0x38(%rbp),%rax
  movups -0x50(%rbp),%xmm0
  movups -0x60(%rbp),%xmm1
  movups -0x70(%rbp),%xmm2
  movups -0x80(%rbp),%xmm3
  movups -0x90(%rbp),%xmm4
  movups -0xa0(%rbp),%xmm5
  movups -0xb0(%rbp),%xmm6
  movups -0xc0(%rbp),%xmm7
  leave
.endm
.macro ENTRY n
.globl \n
.type \n,@function
\n:
.endm
ENTRY objc_msgSend
ENTRY objc_msgSend_fpret
  .cfi_startproc
  test %rdi,%rdi
  jz 1f
  SAVE
  .cfi_def_cfa %rbp,16
  .cfi_offset %rbp,-16
  call objc_find_method@PLT
  RESTORE
  .cfi_def_cfa %rsp,8
  jmp *%r11
1: xor %eax,%eax
  xor %edx,%edx
  xorps %xmm0,%xmm0
  xorps %xmm1,%xmm1
  ret
  .cfi_endproc
ENTRY objc_msgSend_stret
  .cfi_startproc
  test %rsi,%rsi
  jz 1f
  SAVE
  .cfi_def_cfa %rbp,16
  .cfi_offset %rbp,-16
  mov %rsi,%rdi
  mov %rdx,%rsi
  call objc_find_method@PLT
  RESTORE
  .cfi_def_cfa %rsp,8
  jmp *%r11
1: mov %rdi,%rax
  ret
  .cfi_endproc
ENTRY objc_msgSendSuper2
  .cfi_startproc
  SAVE
  .cfi_def_cfa %rbp,16
  .cfi_offset %rbp,-16
  call objc_find_super_method@PLT
  RESTORE
  .cfi_def_cfa %rsp,8
  mov (%rdi),%rdi
  jmp *%r11
  .cfi_endproc
ENTRY objc_msgSendSuper2_stret
  .cfi_startproc
  SAVE
  .cfi_def_cfa %rbp,16
  .cfi_offset %rbp,-16
  mov %rsi,%rdi
  mov %rdx,%rsi
  call objc_find_super_method@PLT
  RESTORE
  .cfi_def_cfa %rsp,8
  mov (%rsi),%rsi
  jmp *%r11
  .cfi_endproc
#elif defined(__aarch64__)
.text
.macro SAVE
  stp x29,x30,[sp,#-16]!
  mov x29,sp
  sub sp,sp,#0xe0
  stp x0,x1,[sp,#0x00]
  stp x2,x3,[sp,#0x10]
  stp x4,x5,[sp,#0x20]
  stp x6,x7,[sp,#0x30]
  str x8,[sp,#0x40]
  stp q0,q1,[sp,#0x50]
  stp q2,q3,[sp,#0x70]
  stp q4,q5,[sp,#0x90]
  stp q6,q7,[sp,#0xb0]
.endm
.macro RESTORE
  mov x16,x0
  ldp x0,x1,[sp,#0x00]
  ldp x2,x3,[sp,#0x10]
  ldp x4,x5,[sp,#0x20]
  ldp x6,x7,[sp,#0x30]
  ldr x8,[sp,#0x40]
  ldp q0,q1,[sp,#0x50]
  ldp q2,q3,[sp,#0x70]
  ldp q4,q5,[sp,#0x90]
  ldp q6,q7,[sp,#0xb0]
  mov sp,x29
  ldp x29,x30,[sp],#16
.endm
.globl objc_msgSend
.type objc_msgSend,@function
objc_msgSend:
  cbz x0,1f
  SAVE
  bl objc_find_method
  RESTORE
  br x16
1: mov x1,#0
  movi d0,#0
  movi d1,#0
  movi d2,#0
  movi d3,#0
  ret
.globl objc_msgSendSuper2
.type objc_msgSendSuper2,@function
objc_msgSendSuper2:
  SAVE
  bl objc_find_super_method
  RESTORE
  ldr x0,[x0]
  br x16
#endif
.section .note.GNU-stack,"",@progbits
