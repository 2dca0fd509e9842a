# Tries: puts a link to the user's checkout in the place of its own tree.
# Confined: lands
# Free: caught

cd / && mv "$tree" "$tree-moved" && ln -s "$repo" "$tree"
