#!/usr/bin/env bash
# A job of continuous integration: export, patch, prove, and compare with the last release. Stops at the first step that
# fails; BUILD/*.xml and BUILD/*.md are what a CI server and a pull request show.
#
#     bash ci.sh BUILD [RELEASED.onnx]
set -euo pipefail
build=$1 released=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$build"

(cd "$here" && graphkit export network:exportable "$build/exported.onnx")
graphkit apply "$here/patch.toml" "$build/exported.onnx" --out "$build/patched.onnx" --prove \
    --junit "$build/patch.xml" --markdown "$build/patch.md"
graphkit check "$build/patched.onnx"
if [ -n "$released" ]; then
    graphkit diff "$released" "$build/patched.onnx" > "$build/diff.txt" || [ $? = 1 ] # for people: what changed
    graphkit validate "$build/patched.onnx" --against "$released" --html "$build/against-release.html"
fi
