"""Opcodes of LLVM IR that share a form."""

BINARY = frozenset(
    "add sub mul udiv sdiv urem srem shl lshr ashr and or xor fadd fsub fmul fdiv frem".split()
)
CASTS = frozenset(
    "trunc zext sext fptrunc fpext fptosi fptoui sitofp uitofp "
    "bitcast ptrtoint ptrtoaddr inttoptr addrspacecast".split()
)
