"""Installs the CPU half of PyPI's torch: cpu_torch.py SITE_PACKAGES TORCH_WHEEL CUDA_WHEEL...

torch/lib/libtorch_python.so names GPU libraries, and Python loads it with every symbol bound at once. Here they are
stand-ins: each symbol that nothing else defines leads to one trap instruction, so that a call into the GPU half, which
does not happen where there is no CUDA device, ends the process and never goes on with a made-up result.
"""

import pathlib
import subprocess
import sys
import zipfile

LEFT_OUT = {"libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so", "libcaffe2_nvrtc.so"}
STAND_INS = ["libtorch_cuda.so", "libcudnn.so.9", "libcufile.so.0", "libnccl.so.2"]
# What is called while the module loads, and so needs an answer:
# - a function whose returned reference a pointer is stored behind;
# - the constructor of the default options of the NCCL process group, kept as the default value of an argument.
ANSWERED = {"_ZN4c10d15get_gil_checkerEv": "gil_checker", "_ZN4c10d16ProcessGroupNCCL7OptionsC1Eb": "nccl_options"}
PREAMBLE = """
.text
trap: ud2
nothing: ret
gil_checker: lea place(%rip), %rax
ret
nccl_options: lea options_methods(%rip), %rax
mov %rax, (%rdi)
movq $0, 8(%rdi)
ret
.data
.balign 64
place: .zero 4096
.quad 0, options_type
options_methods: .quad nothing, nothing, nothing, nothing, nothing, nothing
options_type: .quad _ZTVN10__cxxabiv117__class_type_infoE+16, options_name
options_name: .asciz "N4c10d16ProcessGroupNCCL7OptionsE"
.balign 8
"""


def unpack(wheels: list[str], site: pathlib.Path) -> None:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                path = pathlib.PurePosixPath(name)
                if name.startswith("nvidia/"):
                    if path.name in {"libcudart.so.13", "libcupti.so.13"}:
                        (site / "torch/lib" / path.name).write_bytes(archive.read(name))
                elif path.name not in LEFT_OUT and not name.startswith(("torch/include/", "torch/bin/protoc", "nvidia_")):
                    place = pathlib.Path(archive.extract(name, site))
                    if path.name == "torch_shm_manager":
                        place.chmod(0o755)


def symbols(libraries: list[str], kind: str) -> set[str]:
    """Dynamic symbols, as `name` or `name@version`."""
    listing = subprocess.run(["nm", "-D", "-P", kind, *libraries], check=True, capture_output=True, text=True).stdout
    fields = (line.split() for line in listing.splitlines())
    return {f[0].replace("@@", "@") for f in fields if len(f) > 1 and (f[1] in "Uw") == (kind == "--undefined-only") and f[1] != "w"}


def system_libraries(library: pathlib.Path) -> list[str]:
    """The libraries outside torch/lib that `library` is loaded with."""
    listing = subprocess.run(["ldd", str(library)], check=True, capture_output=True, text=True).stdout
    return [word for line in listing.splitlines() for word in line.split() if word.startswith("/")]


def build_stand_ins(lib: pathlib.Path) -> None:
    kept = [str(path) for path in lib.glob("*.so*")]
    wanted = symbols(kept, "--undefined-only")
    known = symbols(kept + system_libraries(lib / "libtorch_cpu.so"), "--defined-only")
    known |= {name.split("@")[0] for name in known}
    missing = {s for s in wanted if s not in known and s.split("@")[0] not in known and not s.lstrip("_").startswith("Py")}
    for soname in STAND_INS:
        mine = {s for s in missing if s.partition("@")[2] == soname or (soname == STAND_INS[0] and "@" not in s)}
        source = [PREAMBLE]
        for name in sorted(s.split("@")[0] for s in mine):
            source.append(f".globl {name}")
            if name.startswith("_ZTI"):  # run-time type information: pybind11 reads the type's name
                source += [f"{name}: .quad _ZTVN10__cxxabiv117__class_type_infoE+16, {name}.name"]
                source += [f'{name}.name: .asciz "{name[4:]}"', ".balign 8"]
            else:
                source.append(f".set {name}, {ANSWERED.get(name, 'place' if name.startswith('_ZTV') else 'trap')}")
        source += ['.section .note.GNU-stack,"",@progbits', ""]
        command = ["gcc", "-shared", "-nostdlib", "-x", "assembler", "-", "-o", str(lib / soname), f"-Wl,-soname,{soname}"]
        versions = lib / "versions.map"
        if any("@" in s for s in mine):
            versions.write_text(f"{soname} {{ *; }};\n")
            command.append(f"-Wl,--version-script={versions}")
        subprocess.run(command, input="\n".join(source), text=True, check=True)
        versions.unlink(missing_ok=True)


site, wheels = pathlib.Path(sys.argv[1]), sys.argv[2:]
unpack(wheels, site)
build_stand_ins(site / "torch/lib")
