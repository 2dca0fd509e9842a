# Tries: moves the user's branch, the job's tip and other refs.
# Confined: lands
# Free: skipped: it moves the user's own branch

tree_id=$(git write-tree)
commit=$(git -c user.name=x -c user.email=x@localhost commit-tree -m x "$tree_id")
for ref in refs/heads/main refs/heads/planted "refs/numerus/${run##*/}/tip" HEAD; do
    git update-ref "$ref" "${commit:-$(git rev-parse other)}"
done
git branch --force main other
git tag planted
