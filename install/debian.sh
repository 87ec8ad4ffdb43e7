#!/usr/bin/env bash
# Makes everything hpcml needs on Debian 12: system packages, .venv, Horovod from its source package.
# On later Debians, which have no Psi4, PySCF computes, and torch.distributed trains.
#   install/debian.sh         to develop: tests' tools too, hpcml from this folder
#   install/debian.sh build   to use: hpcml copied into .venv
#   install/debian.sh run     the system packages alone that a .venv so built needs
#
# Safe to run again at any time, also after a failure half-way: what is finished carries a mark that
# is written last, and what carries none is made anew.  Nothing to do costs a fraction of a second.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=.venv
CACHE=.cache/wheels
HOROVOD=0.28.1
PSI4_MODULES=/usr/lib/x86_64-linux-gnu # where Debian's psi4 package puts its Python module

FOR=${1:-develop}
case $FOR in develop | build | run) ;; *) echo "usage: install/debian.sh [build | run]" >&2 && exit 2 ;; esac

DEBIAN=$(. /etc/os-release && echo "$ID-${VERSION_ID:-sid}")
# Psi4 is in Debian 12 alone; ENGINE=pyscf takes the other way there too
ENGINE=${ENGINE:-$([[ $DEBIAN == debian-12 ]] && echo psi4 || echo pyscf)}

say() { printf 'setup: %s\n' "$*" >&2; }
die() { printf 'setup: %s\n' "$@" >&2; exit 1; }

conda_way() {
    die "$1" \
        "  as root:       apt-get install $2" \
        "  without root:  conda env create -f environment.yml && conda activate hpcml && pip install --no-deps -e ." \
        "  or, with PySCF: python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[pyscf,mpi]'" \
        "                 (then run 'hpcml run jobs/quickstart.toml' instead of 'make demo', 'pytest' instead of 'make test')"
}

system_packages() {
    local missing=() name only root=()
    while read -r name only; do
        [[ $name == '#'* || -z $name ]] && continue
        [[ $ENGINE == pyscf && $name == psi4 ]] && continue
        [[ $only == *tests && $FOR != develop ]] && continue
        [[ $only == *building && $FOR == run ]] && continue
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
    done < install/packages.txt
    [[ ${#missing[@]} -eq 0 ]] && return

    if [[ $DEBIAN != debian-* ]]; then
        conda_way "this is not Debian, the one system whose packages are known here; missing: ${missing[*]}" "${missing[*]}"
    fi
    if [[ $EUID -ne 0 ]]; then
        sudo -n true 2>/dev/null || conda_way "not root, and these system packages are missing: ${missing[*]}" "${missing[*]}"
        root=(sudo -n)
    fi
    say "installing ${#missing[@]} system packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${root[@]}" dpkg --configure -a # finishes what an interrupted installation left
    "${root[@]}" apt-get update -qq || say "apt-get update failed; going on with the lists at hand"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
        die "apt-get could not install: ${missing[*]} (its words are above); run the same command again when the cause is mended"
}

pip_install() {
    # the versions are those that suit Psi4 and Python 3.11
    local constraints=(-c install/constraints.txt)
    [[ $ENGINE == pyscf ]] && constraints=()
    PYTHONWARNINGS=ignore "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
        "${constraints[@]}" "$@" ||
        die "pip could not install: $* (its words are above); run the same command again, what is done stays done"
}

horovod_wheel() { # builds the wheel once; later environments take it from $CACHE
    local wheel work python
    wheel=$(find "$CACHE" -name "horovod-$HOROVOD-*.whl" 2>/dev/null | head -n 1)
    if [[ -z $wheel ]]; then
        say "building Horovod $HOROVOD from its source package (two to four minutes, once)"
        mkdir -p "$CACHE"
        work=$(mktemp -d "$CACHE/build.XXXXXX")
        python=$(readlink -f "$VENV/bin")/python
        (
            cd "$work"
            "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation \
                --no-binary horovod "horovod==$HOROVOD"
            tar xzf "horovod-$HOROVOD.tar.gz"
            # torch's headers are C++17; Horovod 0.28.1 still asks for 14
            sed -i 's/CMAKE_CXX_STANDARD 14/CMAKE_CXX_STANDARD 17/' \
                "horovod-$HOROVOD"/{,horovod/torch/}CMakeLists.txt
            env HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 \
                HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1 MAKEFLAGS="-j$(nproc)" PATH="$(dirname "$python"):$PATH" \
                "$python" -m pip wheel --disable-pip-version-check --no-deps --no-build-isolation \
                --wheel-dir built "./horovod-$HOROVOD" > build.log 2>&1
        ) || {
            tail -n 30 "$work/build.log" >&2 2>/dev/null || true
            mv "$work/build.log" .cache/horovod-build.log 2>/dev/null || true
            rm -rf "$work"
            die "Horovod could not be built (log: .cache/horovod-build.log); run the same command again when the cause is mended"
        }
        mv "$work"/built/horovod-*.whl "$CACHE/"
        rm -rf "$work"
        wheel=$(find "$CACHE" -name "horovod-$HOROVOD-*.whl" | head -n 1)
    fi
    printf '%s\n' "$wheel"
}

environment() {
    local wanted
    local source=(-e .) extras=export,test,docs
    [[ $FOR == build ]] && source=(.) extras=export,notebook
    wanted=$(cat install/* setup.cfg pyproject.toml | sha256sum)-$(readlink -f .)-$ENGINE-$FOR
    [[ -f $VENV/ready && $(< "$VENV/ready") == "$wanted" ]] && return
    rm -rf .cache/wheels/build.*
    [[ -f $VENV/ready || ! -e $VENV ]] || say "removing an unfinished $VENV"
    [[ -f $VENV/ready ]] || rm -rf "$VENV"
    rm -f "$VENV/ready" # from here until the end it is unfinished

    say "installing Python packages into $VENV"
    /usr/bin/python3 -m venv "$VENV"
    if [[ $ENGINE == pyscf ]]; then
        pip_install pip setuptools wheel
        pip_install "$(grep '^torch==' install/constraints.txt)" # any other brings gigabytes of CUDA
        pip_install --no-build-isolation "${source[@]}[$extras,pyscf]"
        printf '%s' "$wanted" > "$VENV/ready.part" && mv "$VENV/ready.part" "$VENV/ready"
        say "done, with PySCF instead of Psi4 and without Horovod"
        return
    fi
    echo "$PSI4_MODULES" > "$(echo "$VENV"/lib/python3.*/site-packages)/debian-psi4.pth"
    pip_install pip setuptools wheel
    pip_install -r install/psi4-needs.txt torch
    pip_install --no-build-isolation "${source[@]}[$extras]"
    [[ $FOR == build ]] || pip_install --no-deps -r install/test-tools.txt
    pip_install "$(horovod_wheel)"
    printf '%s' "$wanted" > "$VENV/ready.part" && mv "$VENV/ready.part" "$VENV/ready"
    say "done"
}

system_packages
[[ $FOR == run ]] && exit
mkdir -p .cache
exec 9> .cache/setup.lock
flock 9 # two makes at once would spoil each other's environment
environment
