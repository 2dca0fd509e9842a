# Tries: writes into the trees and temporary folders of other tasks.
# Confined: lands
# Free: skipped: nobody could tell afterwards which agent wrote there

for folder in "$run"/*/tree-* "$run"/*/tmp-*; do
    case "$folder" in "$tree" | "$TMPDIR") continue ;; esac
    echo stolen > "$folder/stolen.txt"
    echo stolen > "$folder/README"
done
