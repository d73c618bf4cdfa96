#!/usr/bin/env bash
# Writes OUT/sbom.json, the packages of an environment that the package is installed in, and OUT/SHA256SUMS of what is in
# OUT; then asks PyPI for known vulnerabilities of them. BIN has cyclonedx-py and pip-audit.
set -euo pipefail
bin=$1 python=$2 out=$3
mkdir -p "$out"
"$bin/cyclonedx-py" environment "$python" --pyproject pyproject.toml --output-reproducible --of JSON -o "$out/sbom.json"
(
  cd "$out"
  rm -f SHA256SUMS
  find . -maxdepth 1 -type f ! -name .sums -printf '%P\0' | sort -z | xargs -0 sha256sum >.sums
  mv .sums SHA256SUMS
  cat SHA256SUMS
)
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$bin/pip-audit" --path "$packages" --progress-spinner off --desc off
