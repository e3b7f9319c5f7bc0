# .state/python: the environment of tests, benches and model authors (tests/python/requirements.txt), for CPU use.
#
# PyPI's torch for Linux wants 5 GB of CUDA packages. Only its CPU half is unpacked here, and stand-ins take the
# place of the GPU libraries that its Python module is linked against (cpu_torch.py).

requirements="$ROOT/tests/python/requirements.txt"
python_key="$(cat "$requirements" "$ROOT"/scripts/setup.d/{python.sh,cpu_torch.py} | sha256sum | cut -d' ' -f1) $CUDA_RUNTIME_SHA256 $CUDA_CUPTI_SHA256 $(python3 -V)"

if ! stamped python "$python_key"; then
    rm -f "$STATE/stamps/python"
    linux_x86_64 || die "the Python environment is pinned for Linux on x86-64 only" \
        "make a virtual environment at .state/python yourself, with the packages of tests/python/requirements.txt"
    python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
        || die "$(python3 -V) has no pinned packages" "put CPython 3.11 to 3.14 first in PATH as python3"
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv "python3 cannot make virtual environments"

    say "making the Python environment (PyTorch, ONNX Runtime; 1.1 GB)"
    work="$STATE/python.tmp"
    rm -rf "$work" "$STATE/python"
    mkdir -p "$work"
    python3 -m venv "$STATE/python"
    pip=("$STATE/python/bin/python" -m pip --disable-pip-version-check)
    "${pip[@]}" download -q --no-deps --only-binary=:all: --require-hashes -r "$requirements" -d "$work/wheels" \
        || die "pip could not fetch the packages of tests/python/requirements.txt" "check the network and pip's index setting"
    "${pip[@]}" download -q --no-deps --only-binary=:all: -d "$work/cuda" \
        "nvidia-cuda-runtime==$CUDA_RUNTIME_VERSION" "nvidia-cuda-cupti==$CUDA_CUPTI_VERSION" \
        || die "pip could not fetch the CUDA runtime" "check the network and pip's index setting"
    check_digest "$work"/cuda/nvidia_cuda_runtime-*.whl "$CUDA_RUNTIME_SHA256"
    check_digest "$work"/cuda/nvidia_cuda_cupti-*.whl "$CUDA_CUPTI_SHA256"
    mkdir "$work/torch"
    mv "$work"/wheels/torch-*.whl "$work/torch"
    "${pip[@]}" install -q --no-deps --no-index "$work"/wheels/*.whl
    site=$("$STATE/python/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    "$STATE/python/bin/python" "$ROOT/scripts/setup.d/cpu_torch.py" "$site" "$work"/torch/*.whl "$work"/cuda/*.whl
    "$STATE/python/bin/python" -c 'import torch, onnx, onnxscript, onnxruntime, sklearn; torch.ones(2) @ torch.ones(2)' \
        >"$STATE/logs/python.log" 2>&1 \
        || die "the Python environment does not work (see .state/logs/python.log)" "run make clean and try again"
    rm -rf "$work"
    stamp python "$python_key"
fi
