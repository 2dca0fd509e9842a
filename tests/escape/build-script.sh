# Tries: lets a build of its own do the writing.
# Confined: caught
# Strict: lands
# Free: caught

cat > "$mine/dir/Makefile" <<'END'
all: ; echo built > ../beside.txt; echo built > ../../README
END
cat > "$mine/dir/build.sh" <<'END'
echo built > ../beside.txt
echo built > ../../README
END
cd "$mine/dir" && { make || sh ./build.sh; }
