"""bpf-refuser.py CALL=ERRNO... -- PROGRAM...: runs a program for which the kernel refuses some calls of bpf(2), as an older or a
stricter one would. CALL is the number of a command (enum bpf_cmd), ERRNO a name: 28=EINVAL. By seccomp(2)."""

import ctypes
import errno
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16
BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]

end = sys.argv.index("--")
program = [(LOAD, 0, 0, NUMBER_AT), (EQUAL, 1, 0, BPF), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, FIRST_ARGUMENT_AT)]
for rule in sys.argv[1:end]:
    command, name = rule.split("=")
    program += [(EQUAL, 0, 1, int(command)), (RETURN, 0, 0, ERRNO | getattr(errno, name))]
program.append((RETURN, 0, 0, ALLOW))
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


libc = ctypes.CDLL(None, use_errno=True)
arguments = Filter(len(program), ctypes.addressof(code))
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
    PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(arguments), 0, 0
):
    raise OSError(ctypes.get_errno(), "no seccomp")
os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])
