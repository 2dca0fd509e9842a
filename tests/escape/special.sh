# Tries: leaves a pipe where a reader would wait for ever, and a socket.
# Confined: caught
# Free: caught

mkfifo "$mine/dir/pipe" "$mine/pipe"
unlink "$beside" && mkfifo "$beside"
mknod "$mine/dir/null" c 1 3
