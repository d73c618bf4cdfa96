"""Builds wheels for Linux that need no compiler, and looks into them.

    python tools/wheels.py --out dist

One for each of x86_64 and aarch64, tagged manylinux_2_28 and py3-none: Zig's C++ compiler, which is
a package on PyPI, compiles for either on any machine, against an old glibc, with a C++ library of
its own inside. What a wheel holds is checked (`check`), and its size told. The compiled library
asks for nothing but glibc; TensorFlow's functions are found in the process that loads it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from absl import flags
from common import start

_OUT = flags.DEFINE_string("out", "dist", "folder of the wheels")
_ARCHITECTURES = flags.DEFINE_list("architectures", ["x86_64", "aarch64"], "what to build for")
_ROOT = Path(__file__).parents[1]
_GLIBC = (2, 28)
_LARGEST = 15_000_000  # bytes of a wheel
_LIBRARY = "fcam_tf/ops/fcam_ops.so"
_NEEDED = {"libtensorflow_framework.so.2", "libc.so.6", "libm.so.6", "libdl.so.2"}
_NEEDED |= {"libpthread.so.0", "ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2", "librt.so.1"}


def build(architecture: str, out: Path) -> Path:
    """Build the wheel for an architecture; return it, checked."""
    import ziglang  # noqa: PLC0415 - `make wheel` installs it

    with tempfile.TemporaryDirectory() as folder:
        compiler = Path(folder, "c++")
        target = f"{architecture}-linux-gnu.{'.'.join(map(str, _GLIBC))}"
        zig = Path(ziglang.__file__).with_name("zig")
        compiler.write_text(f'#!/bin/sh\nexec {zig} c++ -target {target} "$@"\n')
        compiler.chmod(0o755)
        options = {
            "cmake.define.CMAKE_CXX_COMPILER": str(compiler),
            "cmake.define.CMAKE_SYSTEM_NAME": "Linux",
            "cmake.define.CMAKE_SYSTEM_PROCESSOR": architecture,
            "install.strip": "false",  # the compiler's -s does it
            "cmake.define.CMAKE_MODULE_LINKER_FLAGS": "-s",
        }
        settings = [f"--config-setting={name}={value}" for name, value in options.items()]
        made = Path(folder, "wheels")
        command = [sys.executable, "-m", "pip", "wheel", str(_ROOT), "--no-deps", "--wheel-dir"]
        subprocess.run([*command, str(made), "--quiet", *settings], check=True)  # noqa: S603
        (wheel,) = made.glob("*.whl")
        tag = f"manylinux_{_GLIBC[0]}_{_GLIBC[1]}_{architecture}"
        retag = [sys.executable, "-m", "wheel", "tags", "--platform-tag", tag, "--remove"]
        subprocess.run([*retag, str(wheel)], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        (wheel,) = made.glob("*.whl")
        check(wheel)
        return Path(shutil.move(wheel, out / wheel.name))


def check(wheel: Path) -> None:
    """Raise a RuntimeError if a wheel is too large, or needs what another machine may not have."""
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - `make wheel` installs it

    if wheel.stat().st_size > _LARGEST:
        raise RuntimeError(f"{wheel.name} has {wheel.stat().st_size} bytes, above {_LARGEST}")
    with zipfile.ZipFile(wheel) as archive, archive.open(_LIBRARY) as file:
        elf = ELFFile(file)
        needed = {tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")}
        versions = {
            version.name
            for _, auxiliary in elf.get_section_by_name(".gnu.version_r").iter_versions()
            for version in auxiliary
        }
    numbers = [v.removeprefix("GLIBC_") for v in versions if v.startswith("GLIBC_2")]
    newest = max(tuple(map(int, number.split("."))) for number in numbers)
    if needed - _NEEDED or newest > _GLIBC or any("GLIBCXX" in v for v in versions):
        raise RuntimeError(f"{wheel.name} needs {sorted(needed - _NEEDED)} and glibc {newest}")


def main() -> None:
    """Build what is asked for."""
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    for architecture in _ARCHITECTURES.value:
        wheel = build(architecture, out)
        print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    start(main)
