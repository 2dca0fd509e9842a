# Tries: plants hooks and attributes in the user's git directory.
# Confined: lands
# Free: skipped: it plants files in the user's git directory

common=$(git rev-parse --git-common-dir)
mkdir -p "$common/hooks" "$common/info"
for hook in pre-commit post-checkout reference-transaction post-index-change; do
    printf '#!/bin/sh\ntouch planted\n' > "$common/hooks/$hook"
    chmod +x "$common/hooks/$hook"
done
echo '* filter=evil' > "$common/info/attributes"
echo /nowhere > "$common/objects/info/alternates"
