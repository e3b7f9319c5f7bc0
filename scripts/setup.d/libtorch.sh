# .state/libtorch: the user's own (LIBTORCH), or the CPU half of the PyPI wheel.

if [ -n "${LIBTORCH:-}" ] && [ "$(readlink -f "$LIBTORCH")" != "$(readlink -f "$STATE/libtorch")" ]; then
    libtorch_key="user $(readlink -f "$LIBTORCH")"
else
    libtorch_key="wheel $TORCH_WHEEL_SHA256 $CUDA_RUNTIME_SHA256 $CUDA_CUPTI_SHA256"
    # An earlier run linked a LIBTORCH that is exported to this run too: keep it.
    [ -z "${LIBTORCH:-}" ] || libtorch_key=$(cat "$STATE/stamps/libtorch" 2>/dev/null || printf '%s' "$libtorch_key")
fi

link_users_libtorch() {
    local header="$LIBTORCH/include/torch/headeronly/version.h" found
    [ -f "$header" ] || die "LIBTORCH=$LIBTORCH has no include/torch/headeronly/version.h" \
        "point LIBTORCH at a libtorch $TORCH_VERSION folder with include/ and lib/, or unset it"
    found=$(sed -n 's/^#define TORCH_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' "$header" | paste -sd.)
    [ "$found" = "$TORCH_VERSION" ] || die "LIBTORCH=$LIBTORCH is version $found, tch wants $TORCH_VERSION" \
        "point LIBTORCH at libtorch $TORCH_VERSION, or unset it"
    ln -sfn "$(readlink -f "$LIBTORCH")" "$STATE/libtorch"
}

extract_libtorch() {
    linux_x86_64 || die "libtorch is fetched for Linux on x86-64 only" \
        "set LIBTORCH to your own libtorch $TORCH_VERSION and run this again"
    local work="$STATE/libtorch.tmp"
    rm -rf "$work"
    mkdir -p "$work/wheels"
    say "fetching libtorch $TORCH_VERSION (a 527 MB wheel from PyPI; 490 MB stay)"
    python3 -m pip download -q --no-deps --only-binary=:all: -d "$work/wheels" \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 \
        --python-version "$TORCH_WHEEL_PYTHON" --implementation cp --abi "cp$TORCH_WHEEL_PYTHON" --abi none \
        "torch==$TORCH_VERSION" "nvidia-cuda-runtime==$CUDA_RUNTIME_VERSION" "nvidia-cuda-cupti==$CUDA_CUPTI_VERSION" \
        || die "pip could not fetch libtorch" "check the network, or set LIBTORCH to your own libtorch $TORCH_VERSION"
    check_digest "$work"/wheels/torch-*.whl "$TORCH_WHEEL_SHA256"
    check_digest "$work"/wheels/nvidia_cuda_runtime-*.whl "$CUDA_RUNTIME_SHA256"
    check_digest "$work"/wheels/nvidia_cuda_cupti-*.whl "$CUDA_CUPTI_SHA256"
    python3 "$ROOT/scripts/setup.d/unpack_libtorch.py" "$work/wheels" "$work/libtorch"
    # The wheel's libtorch.so pulls in libtorch_cuda.so; an empty one over the CPU half takes its place.
    gcc -shared -o "$work/libtorch/lib/libtorch.so" -L"$work/libtorch/lib" \
        -Wl,--no-as-needed -Wl,-rpath,'$ORIGIN' -ltorch_cpu -lc10 -Wl,--allow-shlib-undefined \
        || die "gcc could not link libtorch.so" "install gcc (Debian: apt-get install g++)"
    printf '%s\n' "$TORCH_VERSION" >"$work/libtorch/build-version"
    rm -rf "$STATE/libtorch"
    mv "$work/libtorch" "$STATE/libtorch"
    rm -rf "$work"
}

if ! stamped libtorch "$libtorch_key"; then
    rm -f "$STATE/stamps/libtorch"
    case "$libtorch_key" in
        user*)
            [ -L "$STATE/libtorch" ] || rm -rf "$STATE/libtorch"
            link_users_libtorch
            ;;
        *) extract_libtorch ;;
    esac
    stamp libtorch "$libtorch_key"
fi
