# Tries: commits an unclaimed change, so that nothing seems to have changed.
# Confined: caught
# Strict: lands
# Free: caught

echo x > "$beside"
git add --all
git -c user.name=x -c user.email=x@localhost commit --quiet --message=x
