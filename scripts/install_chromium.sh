#!/bin/sh
# The browser in which the inspector is tested: Debian's Chromium. It is installed where that may be done without a
# question: by root, with apt-get. Elsewhere those tests are skipped, and say why. Nothing here makes the set-up fail.
for name in "${NEURONWISE_TEST_CHROMIUM:-}" chromium chromium-browser; do
    [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Chromium for the tests of the inspector (a minute or two) ..."
    export DEBIAN_FRONTEND=noninteractive
    install="timeout 300 apt-get install --yes --quiet --quiet --no-install-recommends chromium"
    { $install || { timeout 120 apt-get update --quiet --quiet && $install; }; } >/dev/null 2>&1
    command -v chromium >/dev/null 2>&1 && exit 0
fi
echo "Chromium is not installed here: tests of the inspector in a browser will be skipped (Debian: apt install chromium)."
exit 0
