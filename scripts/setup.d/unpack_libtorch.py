"""Unpacks the CPU half of a torch wheel: unpack_libtorch.py WHEELS_DIR TARGET_DIR."""

import pathlib
import shutil
import sys
import zipfile

LIBRARIES = {"libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"}


def unpack(wheel: pathlib.Path, target: pathlib.Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = pathlib.PurePosixPath(name)
            if path.name in LIBRARIES and path.parent.name == "lib":
                place = target / "lib" / path.name
            elif name.startswith("torch/include/") and not name.endswith("/"):
                place = target / path.relative_to("torch")
            else:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, open(place, "wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)


wheels, target = map(pathlib.Path, sys.argv[1:])
for wheel in sorted(wheels.glob("*.whl")):
    unpack(wheel, target)
missing = LIBRARIES - {path.name for path in (target / "lib").iterdir()}
if missing:
    sys.exit(f"setup: the wheels lack {sorted(missing)}")
