# Tries: leaves more files than anybody looks at.
# Confined: caught
# Free: caught

mkdir "$mine/many" && cd "$mine/many" && seq 1 6000 | xargs touch
