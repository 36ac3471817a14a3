#!/usr/bin/env bash
# Installs what Kiln needs from apt, after saying what that is. Quick and silent on a machine that has it all.
#
#   scripts/setup-llvm.sh            what building and running needs
#   scripts/setup-llvm.sh --tests    also what the tests and benchmarks compare with
#   scripts/setup-llvm.sh --print    only say what is missing; exit 1 if anything is
set -euo pipefail

llvm=22
need=(
  "llvm-$llvm-dev"     # headers and libraries of the optimizer
  "libpolly-$llvm-dev" # llvm-config --link-static names it
  "clang-$llvm"        # bitcode of C and C++
  "lld-$llvm"
  libzstd-dev zlib1g-dev
  g++                  # the optimizer's C++ shim; libstdc++ headers for clang
)
# What tests and benchmarks compare with. A distribution may lack some of these; what needs them then says so.
compare=(csmith libcsmith-dev gdb mold libpython3.11-dev libexpat1-dev)

print_only=false with_tests=false
for option in "$@"; do
  case $option in
    --tests) with_tests=true ;;
    --print) print_only=true ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "setup-llvm: unknown option $option" >&2; exit 2 ;;
  esac
done

has() { # PACKAGE
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}
offered() { # PACKAGE: do apt's lists have a candidate?
  # Not through a pipe into `grep -q`: that ends early, and pipefail would make it a failure.
  [[ $(apt-cache policy "$1" 2>/dev/null) == *$'\n  Candidate: '[!\(]* ]]
}
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  missing=()
  for tool in "llvm-config-$llvm" "clang-$llvm" "ld.lld-$llvm" g++; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  [ ${#missing[@]} = 0 ] && exit 0
  echo "setup-llvm: this machine has no apt, and these commands are missing: ${missing[*]}" >&2
  echo "Install LLVM $llvm (development files, clang, lld, under names that end in -$llvm) and try again." >&2
  exit 1
fi

missing=()
for package in "${need[@]}"; do has "$package" || missing+=("$package"); done
extra=()
if $with_tests; then
  for package in "${compare[@]}"; do has "$package" || extra+=("$package"); done
fi
[ $((${#missing[@]} + ${#extra[@]})) = 0 ] && exit 0

if $print_only; then
  echo "setup-llvm: not installed: ${missing[*]} ${extra[*]}"
  exit 1
fi

unknown() {
  for package in "${missing[@]}"; do offered "$package" || echo "$package"; done
}
if [ -n "$(unknown)" ]; then
  echo "setup-llvm: apt's lists do not offer $(unknown | tr '\n' ' ')yet; running: apt-get update"
  as_root apt-get update -qq
fi
if [ -n "$(unknown)" ]; then
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  {
    echo "setup-llvm: no source of apt on this machine offers $(unknown | tr '\n' ' ')"
    echo "Debian 12 and later have LLVM $llvm in their security updates. Elsewhere add LLVM's own packages and try again:"
    echo "  curl -fsSL https://apt.llvm.org/llvm-snapshot.gpg.key | sudo tee /etc/apt/keyrings/apt.llvm.org.asc >/dev/null"
    echo "  echo 'deb [signed-by=/etc/apt/keyrings/apt.llvm.org.asc] http://apt.llvm.org/${codename:-CODENAME}/ llvm-toolchain-${codename:-CODENAME}-$llvm main' | sudo tee /etc/apt/sources.list.d/llvm-$llvm.list"
    echo "  sudo apt-get update"
  } >&2
  exit 1
fi

wanted=("${missing[@]}")
for package in "${extra[@]}"; do
  if offered "$package"; then
    wanted+=("$package")
  else
    echo "setup-llvm: $package is not offered here; the comparisons that use it will be left out"
  fi
done
[ ${#wanted[@]} = 0 ] && exit 0

echo "setup-llvm: about to install with apt (and what they depend on): ${wanted[*]}"
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${wanted[@]}"
