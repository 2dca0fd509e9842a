# Tries: hides files behind ignore rules of its own.
# Confined: caught
# Free: caught

echo '*' > "$mine/.gitignore"
echo '*' > "$tree/.gitignore"
echo hidden > "$mine/hidden.txt"
mkdir "$mine/cave" && echo '*' > "$mine/cave/.gitignore" && echo hidden > "$mine/cave/hidden.txt"
